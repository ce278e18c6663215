//! Optional commands that an operator masks, by the names that SPDK gives them.

use super::options::Create;
use luge_nvme_target::MaskedCommands;
use luge_rpc::RpcError;
use luge_spec::nvme::oncs;

/// Name of a bit.
struct Named {
    name: &'static str,
    bit: u16,
}

const ONCS: [Named; 5] = [
    Named { name: "nvmcmps", bit: oncs::COMPARE },
    Named { name: "nvmdsmsv", bit: oncs::DATASET_MANAGEMENT },
    Named { name: "nvmwzsv", bit: oncs::WRITE_ZEROES },
    Named { name: "reservs", bit: oncs::RESERVATIONS },
    Named { name: "nvmcpys", bit: oncs::COPY },
];

const FUSES: [Named; 1] = [Named { name: "fcws", bit: MaskedCommands::COMPARE_AND_WRITE }];

/// Commands that `disable_compare` masks.
const COMPARISONS: MaskedCommands =
    MaskedCommands { oncs: oncs::COMPARE, fuses: MaskedCommands::COMPARE_AND_WRITE };

/// Commands that the options of a transport mask.
///
/// # Errors
/// -32602, with the option and the name that it does not have.
pub fn commands(params: &Create) -> Result<MaskedCommands, RpcError> {
    let disabled =
        if params.disable_compare.unwrap_or(false) { COMPARISONS } else { MaskedCommands::default() };
    Ok(MaskedCommands {
        oncs: disabled.oncs | bits("masked_oncs", params.masked_oncs.as_deref(), &ONCS)?,
        fuses: disabled.fuses | bits("masked_fuses", params.masked_fuses.as_deref(), &FUSES)?,
    })
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
