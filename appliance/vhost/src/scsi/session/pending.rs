//! A request that was read and has not found room yet, and one whose chain is being walked.

use super::slots::Mark;
use crate::scsi::cancel::Scope;
use crate::scsi::lun::LunPlace;
use crate::scsi::request::RequestData;
use crate::scsi::response::ResponseParts;
use luge_spec::virtio::scsi::{CDB_BYTES, RequestHeader, Response};
use luge_virtqueue::Head;
use luge_volume::{ListId, VolumeId};

/// List that a volume has lent for the spans of a long chain.
pub(super) struct List {
    pub(super) id: ListId,
    pub(super) volume: VolumeId,
}

/// Identity of a request, from its header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    pub(super) head: Head,
    /// Place that it is for; none where its address has no known form.
    pub(super) place: Option<LunPlace>,
    pub(super) tag: u64,
    pub(super) mark: Mark,
    /// Whether somebody waits for its end.
    pub(super) awaited: bool,
}

impl Identity {
    pub(super) fn new(head: Head, header: &RequestHeader) -> Self {
        let (place, tag) = (LunPlace::parse(header.lun), header.tag.get());
        Self { head, place, tag, mark: Mark::None, awaited: false }
    }

    /// Whether the request is in a scope.
    pub(super) fn is_in(&self, scope: Scope) -> bool {
        self.place.is_some_and(|place| scope.has(place, self.tag))
    }
}

/// A request that was read and has not found room yet. Its data is in the batch, or in a list.
pub(super) struct Pending {
    pub(super) identity: Identity,
    pub(super) cdb: [u8; CDB_BYTES],
    pub(super) response: ResponseParts,
    pub(super) data: RequestData,
    pub(super) list: Option<List>,
}

/// A long chain that is being walked.
pub(super) struct Long {
    /// Header, from the beginning of the chain; none if that does not have all of it.
    pub(super) header: Option<RequestHeader>,
    /// List for its spans; none for a chain that is refused.
    pub(super) list: Option<List>,
    /// Response where it is refused, or is no request.
    pub(super) refusal: Response,
}
