//! The way that a request takes: to its volume, to the adapter's thread, or back at once.

use super::lun::LunPlace;
use super::request::RequestData;
use super::response::Answer;
use super::table::{LunEntry, LunTable};
use luge_block::Operation;
use luge_scsi::{BlockCommand, Command, Ending, Sense, UnmapCommand, decode};
use luge_spec::virtio::scsi::{CDB_BYTES, Response};

/// Work of a request that is left to its volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Todo {
    Blocks(BlockCommand),
    Flush,
    Unmap(UnmapCommand),
}

impl Todo {
    /// Bytes of data that cross between initiator and target, where blocks have so many bytes.
    pub(super) fn data_bytes(&self, block_bytes: u32) -> u64 {
        match self {
            Self::Blocks(command) => command.data_bytes(block_bytes),
            Self::Unmap(command) => command.list_bytes.into(),
            Self::Flush => 0,
        }
    }

    /// Operation of the request.
    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::Blocks(command) => command.operation,
            Self::Unmap(_) => Operation::Discard,
            Self::Flush => Operation::Flush,
        }
    }

    /// Bytes that the initiator has for the data of the command, in its direction.
    fn room(&self, data: &RequestData) -> u32 {
        if self.operation() == Operation::Read { data.in_bytes } else { data.out_bytes }
    }
}

/// Way of a request.
pub(super) enum Decision<'a> {
    Answer(Answer),
    /// To the adapter's thread.
    Relay(Reason),
    /// To the volume; `residual` bytes of data are left over.
    Submit {
        entry: &'a LunEntry,
        todo: Todo,
        residual: u32,
    },
}

/// Reason why a request goes to the adapter's thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// The command is the device server's.
    Command,
    /// There is no such logical unit.
    Absent,
    /// The gate is closed: the core may serve the command later.
    Gate,
}

/// Whether the gate of a LUN counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GateCheck {
    Asked,
    /// The adapter's thread has let the command through.
    Passed,
}

/// Decides on a request for a place, which is none of any LUN or target where its address has no known form.
pub(super) fn decide<'a>(
    table: &'a LunTable,
    place: Option<LunPlace>,
    cdb: &[u8; CDB_BYTES],
    data: &RequestData,
    gate: GateCheck,
) -> Decision<'a> {
    let is_there = |place: &LunPlace| place.target().is_none_or(|target| table.has_target(target));
    let Some(place) = place.filter(is_there) else {
        return Decision::Answer(Answer::without_status(Response::BAD_TARGET, data.bytes()));
    };
    let entry = match place {
        LunPlace::Lun(address) => table.get(address),
        LunPlace::Beyond(_) | LunPlace::ReportLuns(_) => None,
    };
    let Some(entry) = entry else { return Decision::Relay(Reason::Absent) };
    let command = decode(cdb, &entry.view);
    if gate == GateCheck::Asked && !entry.gate.is_open() {
        let is_theirs = matches!(command, Ok(Command::Relayed | Command::Stop));
        return Decision::Relay(if is_theirs { Reason::Command } else { Reason::Gate });
    }
    match command {
        Ok(Command::Stop) if gate == GateCheck::Passed => check_length(entry, Todo::Flush, data),
        Ok(Command::Relayed | Command::Stop) => Decision::Relay(Reason::Command),
        Ok(Command::Blocks(command)) => check_length(entry, Todo::Blocks(command), data),
        Ok(Command::Flush) => check_length(entry, Todo::Flush, data),
        Ok(Command::Unmap(command)) => check_length(entry, Todo::Unmap(command), data),
        Ok(Command::Nothing) => ended(entry, Ending::GOOD, data.bytes()),
        Err(sense) => refused(entry, sense, data),
    }
}

/// Lets a command through that has no more data than the request.
fn check_length<'a>(entry: &'a LunEntry, todo: Todo, data: &RequestData) -> Decision<'a> {
    let crosses = u32::try_from(todo.data_bytes(entry.view.block_bytes));
    let fits = crosses.ok().filter(|&bytes| bytes <= todo.room(data));
    match fits {
        Some(bytes) => Decision::Submit { entry, todo, residual: data.bytes().wrapping_sub(bytes) },
        None => Decision::Answer(Answer::without_status(Response::OVERRUN, data.bytes())),
    }
}

fn ended<'a>(entry: &LunEntry, ending: Ending, residual: u32) -> Decision<'a> {
    Decision::Answer(Answer::of(ending, entry.view.sense_format, residual))
}

fn refused<'a>(entry: &LunEntry, sense: Sense, data: &RequestData) -> Decision<'a> {
    ended(entry, Ending::from(sense), data.bytes())
}
