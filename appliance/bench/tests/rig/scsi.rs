//! Requests to the LUN of a vhost-user-scsi server.

use super::manners::{Buffer, Manners, Reply, Request};

/// LUN 300 of target 3, in the flat form.
const ADDRESS: [u8; 8] = [1, 3, 0x41, 0x2c, 0, 0, 0, 0];

/// Serves a request: header, data-out, response, data-in.
///
/// # Panics
/// If the header is not one for [`ADDRESS`], or has another command than a front end like this one sends.
pub fn serve(
    number: u64,
    chain: [Buffer; 3],
    manners: Manners,
    answer: impl FnOnce(&Request) -> Reply,
) -> Reply {
    let [header, second, third] = chain;
    let (data, response) = if second.is_written { (third, second) } else { (second, third) };
    let mut bytes = [0; 51];
    header.span.read(&mut bytes);
    assert_eq!(bytes[..8], ADDRESS);
    let cdb = &bytes[19..];
    let block = u64::from(manners.block_bytes);
    let number_in = |bytes: &[u8]| bytes.iter().fold(0, |all, &byte| all << 8 | u64::from(byte));
    let (writes, lba, blocks) = match cdb[0] {
        0x28 | 0x2a => (cdb[0] == 0x2a, number_in(&cdb[2..6]), number_in(&cdb[7..9])),
        0x89 => (true, number_in(&cdb[2..10]), u64::from(cdb[13]) * 2),
        0x88 | 0x8a => (cdb[0] == 0x8a, number_in(&cdb[2..10]), number_in(&cdb[10..14])),
        0x9e => {
            let mut capacity = [0; 32];
            capacity[..8].copy_from_slice(&(manners.sectors * 512 / block).wrapping_sub(1).to_be_bytes());
            capacity[8..12].copy_from_slice(&manners.block_bytes.to_be_bytes());
            data.span.split_at(32).0.write(&capacity);
            return respond(response, Reply::Status(0));
        }
        opcode => panic!("a command that nobody expects: {opcode:#x}"),
    };
    assert_eq!(blocks * block, u64::from(data.span.len()));
    assert_ne!(writes, data.is_written);
    let request =
        Request { number, writes, compares: cdb[0] == 0x89, sector: lba * block / 512, data: data.span };
    respond(response, answer(&request))
}

/// Writes a response.
fn respond(response: Buffer, reply: Reply) -> Reply {
    let mut bytes = [0; 108];
    match reply {
        Reply::Status(status) => bytes[10] = status,
        Reply::Short => bytes[4] = 1,
        Reply::Sense(key) => {
            bytes[0] = 18;
            bytes[10] = 2;
            bytes[12] = 0x70;
            bytes[14] = key;
        }
        _ => return reply,
    }
    response.span.write(&bytes);
    reply
}
