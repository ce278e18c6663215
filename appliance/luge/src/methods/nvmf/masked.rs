//! Optional commands that an operator masks, by the names that SPDK gives them.

use luge_nvme_target::MaskedCommands;
use luge_rpc::RpcError;
use luge_spec::nvme::oncs as bit;

/// Name of a bit.
struct Named {
    name: &'static str,
    bit: u16,
}

const ONCS: [Named; 5] = [
    Named { name: "nvmcmps", bit: bit::COMPARE },
    Named { name: "nvmdsmsv", bit: bit::DATASET_MANAGEMENT },
    Named { name: "nvmwzsv", bit: bit::WRITE_ZEROES },
    Named { name: "reservs", bit: bit::RESERVATIONS },
    Named { name: "nvmcpys", bit: bit::COPY },
];

const FUSES: [Named; 1] = [Named { name: "fcws", bit: MaskedCommands::COMPARE_AND_WRITE }];

/// Commands that `disable_compare` masks.
const COMPARISONS: MaskedCommands =
    MaskedCommands { oncs: bit::COMPARE, fuses: MaskedCommands::COMPARE_AND_WRITE };

/// Bits of ONCS that `masked_oncs` names.
///
/// # Errors
/// -32602, with the option and the name that it does not have.
pub fn oncs(masked: Option<&[String]>) -> Result<u16, RpcError> {
    bits("masked_oncs", masked, &ONCS)
}

/// Bits of FUSES that `masked_fuses` names.
///
/// # Errors
/// As of [`oncs`].
pub fn fuses(masked: Option<&[String]>) -> Result<u16, RpcError> {
    bits("masked_fuses", masked, &FUSES)
}

/// Commands that `disable_compare` masks, if it is set.
pub fn comparisons(disabled: Option<bool>) -> MaskedCommands {
    if disabled.unwrap_or(false) { COMPARISONS } else { MaskedCommands::default() }
}

/// Whether comparisons of both kinds are masked.
pub fn disables_compare(masked: MaskedCommands) -> bool {
    masked.oncs & COMPARISONS.oncs != 0 && masked.fuses & COMPARISONS.fuses != 0
}

/// Names of the bits of ONCS that are masked.
pub fn oncs_names(masked: MaskedCommands) -> Vec<&'static str> {
    names(masked.oncs, &ONCS)
}

/// Names of the bits of FUSES that are masked.
pub fn fuses_names(masked: MaskedCommands) -> Vec<&'static str> {
    names(masked.fuses, &FUSES)
}

fn names(bits: u16, all: &[Named]) -> Vec<&'static str> {
    all.iter().filter(|named| bits & named.bit != 0).map(|named| named.name).collect()
}

fn bits(option: &str, masked: Option<&[String]>, all: &[Named]) -> Result<u16, RpcError> {
    masked.unwrap_or_default().iter().try_fold(0, |bits, name| {
        let named = all.iter().find(|named| named.name == name).ok_or_else(|| {
            let known = names(u16::MAX, all).join(", ");
            RpcError::invalid_params(format_args!(
                "parameter `{option}`: {name} cannot be masked: it takes {known}"
            ))
        })?;
        Ok(bits | named.bit)
    })
}
