//! VERSION: the first message of a client.

use super::message::{Refusal, Reply, split};
use super::receive::FILES_MAX;
use crate::DATA_BYTES_MAX;
use luge_spec::vfio_user::{Capabilities, Version, VersionData};
use rustix::io::Errno;
use zerocopy::IntoBytes;

/// The only major version.
const MAJOR: u16 = 0;
/// Highest minor version.
const MINOR: u16 = 1;

/// Page sizes of mappings, as clients are told. Any other piece is accepted, too.
const PAGE_SIZES: u64 = 4096;

/// Most mappings of memory of a client.
pub(super) const DMA_MAPS_MAX: usize = 65535;

/// Capabilities of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Negotiated {
    /// Most data bytes of a message in either direction.
    pub(super) data_bytes_max: u32,
    /// Whether the client receives files.
    pub(super) takes_files: bool,
}

/// Parses VERSION; returns what was agreed on, and the reply.
///
/// # Errors
/// `ENOTSUP` for another major version, `EINVAL` for what is no VERSION.
pub(super) fn negotiate(payload: &[u8]) -> Result<(Negotiated, Reply), Refusal> {
    let (Version { major, minor }, json) = split(payload)?;
    if major.get() != MAJOR {
        return Err(Refusal(Errno::NOTSUP));
    }
    let Capabilities { max_msg_fds, max_data_xfer_size, .. } = parse(json)?;
    let theirs = max_data_xfer_size.unwrap_or(Capabilities::MAX_DATA_XFER_SIZE_DEFAULT);
    let negotiated = Negotiated {
        data_bytes_max: u32::try_from(theirs).unwrap_or(u32::MAX).min(DATA_BYTES_MAX),
        takes_files: max_msg_fds.unwrap_or(Capabilities::MAX_MSG_FDS_DEFAULT) > 0,
    };
    let version = Version { major, minor: minor.get().min(MINOR).into() };
    let json =
        serde_json::to_vec(&VersionData { capabilities: ours() }).map_err(|_| Refusal(Errno::NOMEM))?;
    let payload = [version.as_bytes(), &json, b"\0"].concat();
    Ok((negotiated, Reply { payload, file: None }))
}

/// Capabilities in the JSON of a client, which may be absent, and ends with a NUL or the message.
fn parse(json: &[u8]) -> Result<Capabilities, Refusal> {
    let text = json.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(Capabilities::default());
    }
    let data: VersionData = serde_json::from_slice(text).map_err(|_| Refusal(Errno::INVAL))?;
    Ok(data.capabilities)
}

fn ours() -> Capabilities {
    Capabilities {
        max_msg_fds: Some(FILES_MAX as u64),
        max_data_xfer_size: Some(DATA_BYTES_MAX.into()),
        max_dma_maps: Some(DMA_MAPS_MAX as u64),
        pgsizes: Some(PAGE_SIZES),
        write_multiple: Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(minor: u8, json: &str) -> Result<(Negotiated, Reply), Refusal> {
        negotiate(&[&[0, 0, minor, 0], json.as_bytes()].concat())
    }

    #[test]
    fn a_client_without_capabilities_has_the_defaults_of_the_protocol() {
        for json in ["", "\0", "{}\0", "{\"capabilities\":{}}", "{\"other\":[1.5]}\0garbage"] {
            let (negotiated, _) = version(0, json).unwrap();
            assert_eq!(
                negotiated,
                Negotiated { data_bytes_max: DATA_BYTES_MAX, takes_files: true },
                "{json}"
            );
        }
    }

    #[test]
    fn what_a_client_can_take_bounds_what_it_gets() {
        let json = "{\"capabilities\":{\"max_msg_fds\":0,\"max_data_xfer_size\":4096}}\0";
        let (negotiated, _) = version(1, json).unwrap();
        assert_eq!(negotiated, Negotiated { data_bytes_max: 4096, takes_files: false });
        let json = "{\"capabilities\":{\"max_data_xfer_size\":18446744073709551615}}\0";
        assert_eq!(version(1, json).unwrap().0.data_bytes_max, DATA_BYTES_MAX);
    }

    #[test]
    fn the_minor_version_is_the_lower_one() {
        for (asked, answered) in [(0, 0), (1, 1), (9, 1)] {
            let (_, reply) = version(asked, "").unwrap();
            assert_eq!(reply.payload.get(..4), Some(&[0, 0, answered, 0][..]));
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let deep = "[".repeat(60_000);
        let wrong = [
            "{",
            "[]",
            "1",
            "\"\u{7f}",
            "{\"capabilities\":1}",
            "{\"capabilities\":{\"max_msg_fds\":\"a\"}}",
        ];
        for json in wrong.iter().copied().chain([&*deep]) {
            assert_eq!(version(0, json).err(), Some(Refusal(Errno::INVAL)), "{json:.60}");
        }
        assert_eq!(negotiate(&[0, 0, 0]).err(), Some(Refusal(Errno::INVAL)));
        assert_eq!(negotiate(&[1, 0, 0, 0]).err(), Some(Refusal(Errno::NOTSUP)));
        assert_eq!(negotiate(b"\0\0\0\0{\"a\":\"\xff\"}").err(), Some(Refusal(Errno::INVAL)));
    }

    #[test]
    fn the_reply_is_no_longer_than_what_qemu_sends() {
        // QEMU's client has no more room for the reply than its own message took (hw/vfio-user/proxy.c,
        // vfio_user_send_wait), which has the same capabilities and those of migration.
        let (_, reply) = version(0, "").unwrap();
        assert!(reply.payload.len() < 150, "{}", reply.payload.len());
        assert_eq!(reply.payload.last(), Some(&0));
    }
}
