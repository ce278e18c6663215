//! Addresses of PCI functions.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Address of a PCI function, such as `0000:01:00.0`. The domain may have more than 16 bits
/// (`10000:01:00.0`, behind Intel's VMD).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// Error of a text that is not a PCI address.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("'{0}' is not a PCI address: write it as 0000:01:00.0 or 01:00.0")]
pub struct PciAddressError(String);

impl PciAddress {
    fn parse(text: &str) -> Option<Self> {
        let (slot, function) = text.split_once('.')?;
        let (rest, device) = slot.rsplit_once(':')?;
        let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
        Some(Self {
            domain: hex(domain, 8, u32::MAX)?,
            bus: u8::try_from(hex(bus, 2, 0xff)?).ok()?,
            device: u8::try_from(hex(device, 2, 0x1f)?).ok()?,
            function: u8::try_from(hex(function, 1, 7)?).ok()?,
        })
    }
}

/// Parses one to `digits` hexadecimal digits, with a value up to `most`.
fn hex(text: &str, digits: usize, most: u32) -> Option<u32> {
    let plain = (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| u32::from_str_radix(text, 16).ok())?.filter(|&number| number <= most)
}

impl FromStr for PciAddress {
    type Err = PciAddressError;

    fn from_str(text: &str) -> Result<Self, PciAddressError> {
        Self::parse(text).ok_or_else(|| PciAddressError(text.chars().take(64).collect()))
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_addresses_are_written_in_full() {
        for (text, full) in [
            ("0000:01:00.0", "0000:01:00.0"),
            ("01:00.0", "0000:01:00.0"),
            ("1:2.3", "0000:01:02.3"),
            ("0001:fF:1f.7", "0001:ff:1f.7"),
            ("10000:e1:00.0", "10000:e1:00.0"),
        ] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), full);
        }
    }

    #[test]
    fn another_text_is_refused_and_quoted() {
        for text in [
            "",
            ".",
            ":.",
            "0",
            "01:00",
            "01:00.8",
            "01:20.0",
            "100:00.0",
            "x1:00.0",
            "+1:00.0",
            "01:00.0 ",
            "0:0:01:00.0",
            "01:00.00",
            "123456789:01:00.0",
            "-1:00.0",
            "01:é.0",
            "../:00.0",
        ] {
            let error = text.parse::<PciAddress>().unwrap_err();
            assert!(error.to_string().contains(&format!("'{text}'")), "{error}");
        }
    }
}
