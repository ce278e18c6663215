//! Tags and completions, a word each.

use crate::{Operation, Status, Stepped};

/// Place of a request in everything that it passes through: the session of the core, the session's slot,
/// and the volume; with its kind and its size. Devices hand it back unread.
///
/// One word, from the lowest bit:
///
/// | Bits | Part |
/// |---|---|
/// | 0-15 | session |
/// | 16-31 | volume |
/// | 32-47 | slot |
/// | 48-53 | eight times the kind |
/// | 54-58 | size class |
/// | 59-63 | zero; status of a [`Completion`] |
///
/// Parts that were stored one by one and are loaded together soon after would keep the CPU waiting until
/// all stores have reached the cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Tag(u64);

/// First bits of the parts of a word.
const VOLUME: u32 = 16;
const SLOT: u32 = 32;
const KIND: u32 = 48;
const SIZE: u32 = 54;
const STATUS: u32 = 59;

/// First bit of the kind itself, and with the size above it, of the sort.
const SORT: u32 = KIND + COUNTER.ilog2();

/// Bits of one counter in a word that has one for each kind.
const COUNTER: u8 = 8;

impl Tag {
    /// The most levels of volumes above each other on a core.
    pub const LEVELS_MAX: u16 = 16;

    /// Number of sessions that tags can name. Those beyond are for parts of requests ([`Self::of_part`]) and their
    /// steps ([`Self::of_step`]).
    pub const SESSIONS_MAX: u16 = u16::MAX - 2 * Self::LEVELS_MAX + 1;

    /// Tag of a part of a request, made for a volume of a level of its core's graph, from slot `slot` of
    /// that level.
    #[must_use]
    pub const fn of_part(level: u16, slot: u16) -> Self {
        assert!(level < Self::LEVELS_MAX, "more levels of volumes than tags can tell apart");
        Self::new(Self::SESSIONS_MAX + 2 * level, slot)
    }

    /// Tag of a step of a request, made for a volume of a level of its core's graph, from slot `slot` of the
    /// core.
    #[must_use]
    pub const fn of_step(level: u16, slot: u16) -> Self {
        assert!(level < Self::LEVELS_MAX, "more levels of volumes than tags can tell apart");
        Self::new(Self::SESSIONS_MAX + 2 * level + 1, slot)
    }

    /// Whether the request is a part or step made for a volume of that level.
    #[inline]
    #[must_use]
    pub const fn is_of_level(self, level: u16) -> bool {
        self.session() & !1 == Self::SESSIONS_MAX + 2 * level
    }

    /// Whether the request, which is a part or step, is a step.
    #[must_use]
    pub const fn is_step(self) -> bool {
        self.session() & 1 == 1
    }

    /// Slot `slot` of the session with number `session` on its core.
    #[inline]
    #[must_use]
    pub const fn new(session: u16, slot: u16) -> Self {
        Self(session as u64 | (slot as u64) << SLOT)
    }

    /// Returns the tag, of slot 0, for another slot of its session.
    #[inline]
    #[must_use]
    pub const fn at_slot(self, slot: u16) -> Self {
        Self(self.0 | (slot as u64) << SLOT)
    }

    /// The part of a tag that says volume `volume` of a core's graph.
    #[inline]
    #[must_use]
    pub const fn of_volume(volume: u16) -> Self {
        Self((volume as u64) << VOLUME)
    }

    /// Returns the tag, of a session, for a request of that kind to the volume.
    #[inline]
    #[must_use]
    pub const fn through(self, volume: Self, kind: Kind) -> Self {
        Self(self.0 | volume.0 | (kind as u64 * COUNTER as u64) << KIND)
    }

    /// Returns the tag, of a session, for a read or write to the volume. For another operation the tag makes no
    /// sense: it is for requests that are checked later.
    #[inline]
    #[must_use]
    pub const fn through_as_transfer(self, volume: Self, operation: Operation) -> Self {
        Self(self.0 | volume.0 | (operation.number() as u64 * COUNTER as u64) << KIND)
    }

    /// Returns the tag, which has no size yet, for a request of that size.
    #[inline]
    #[must_use]
    pub const fn sized(self, size: SizeClass) -> Self {
        Self(self.0 | (size.0 as u64) << SIZE)
    }

    /// Returns the tag with session and slot of another one.
    #[must_use]
    pub const fn with_slot_of(self, other: Self) -> Self {
        const SESSION_AND_SLOT: u64 = 0xffff_0000_ffff;
        Self(self.0 & !SESSION_AND_SLOT | other.0 & SESSION_AND_SLOT)
    }

    /// Returns the tag with the volume of another one.
    #[must_use]
    pub const fn with_volume_of(self, other: Self) -> Self {
        const ONLY_VOLUME: u64 = 0xffff << VOLUME;
        Self(self.0 & !ONLY_VOLUME | other.0 & ONLY_VOLUME)
    }

    /// Whether all tags whose differences were gathered into `differences`, by [`Self::differences`], are of requests
    /// that one session made of one volume.
    #[inline]
    #[must_use]
    pub const fn are_of_one_way(differences: u64) -> bool {
        differences & 0xffff_ffff == 0
    }

    /// The session's number on its core.
    #[inline]
    #[must_use]
    pub const fn session(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The session's own number for the request.
    #[inline]
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.0 >> SLOT & 0xffff) as u16
    }

    /// The volume's number in its core's graph.
    #[inline]
    #[must_use]
    pub const fn volume(self) -> u16 {
        (self.0 >> VOLUME & 0xffff) as u16
    }

    /// The kind of the request.
    #[inline]
    #[must_use]
    pub const fn kind(self) -> Kind {
        Kind::of_number((self.0 >> KIND & 0x3f) as u8 / COUNTER)
    }

    /// Size class of the request.
    #[inline]
    #[must_use]
    pub const fn size_class(self) -> SizeClass {
        SizeClass((self.0 >> SIZE & 0x1f) as u32)
    }

    /// Number of sorts: see [`Self::sort`].
    pub const SORTS: usize = 8 * SizeClass::COUNT;

    /// Sort of the request, below [`Self::SORTS`]: a number for its kind and size class together.
    #[inline]
    #[must_use]
    pub const fn sort(self) -> usize {
        (self.0 >> SORT & 0xff) as usize
    }

    /// Kind and size class of a sort.
    #[must_use]
    pub const fn of_sort(sort: usize) -> (Kind, SizeClass) {
        let tag = Self((sort as u64 & 0xff) << SORT);
        (tag.kind(), tag.size_class())
    }

    /// Whether all tags whose differences were gathered into `differences`, by [`Self::differences`], are of one size
    /// class.
    #[inline]
    #[must_use]
    pub const fn are_of_one_size(differences: u64) -> bool {
        differences >> SIZE & 0x1f == 0
    }

    /// Returns the tag with another kind.
    #[inline]
    #[must_use]
    pub const fn with_kind(self, kind: Kind) -> Self {
        Self(self.0 & !(0x3f << KIND) | (kind as u64 * COUNTER as u64) << KIND)
    }

    /// Whether all tags whose differences were gathered into `differences`, by [`Self::differences`], are of one sort.
    #[inline]
    #[must_use]
    pub const fn are_of_one_sort(differences: u64) -> bool {
        differences >> SORT & 0xff == 0
    }

    /// The bits in which two tags differ.
    #[inline]
    #[must_use]
    pub const fn differences(self, other: Self) -> u64 {
        self.0 ^ other.0
    }

    /// The bits in which any of these tags differs from this one.
    #[inline]
    #[must_use]
    pub fn differences_of(self, others: impl Iterator<Item = Self>) -> u64 {
        others.fold(0, |differences, other| differences | self.differences(other))
    }

    /// One, in the counter of the request's kind: see [`Kind::count`].
    #[inline]
    #[must_use]
    pub const fn one(self) -> u64 {
        1_u64.wrapping_shl((self.0 >> KIND & 0x3f) as u32)
    }
}

/// The kind of a request: its operation, as far as statistics tell operations apart. There are eight: a sum of
/// [`Tag::one`] has a byte for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A flush.
    Flush,
    /// A discard.
    Discard,
    /// A write without data: of zeroes, or uncorrectable.
    WriteZeroes,
    /// A compare or verify: a read whose data stays here.
    Compare,
    /// A compare-and-write.
    CompareAndWrite,
    /// A copy.
    Copy,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Flush,
        Self::Discard,
        Self::WriteZeroes,
        Self::Compare,
        Self::CompareAndWrite,
        Self::Copy,
    ];

    /// The kind of an operation.
    #[inline]
    #[must_use]
    pub const fn of(operation: Operation) -> Self {
        match operation {
            Operation::Read => Self::Read,
            Operation::Write(_) => Self::Write,
            Operation::Flush => Self::Flush,
            Operation::Discard => Self::Discard,
            Operation::WriteZeroes | Operation::WriteZeroesUnmap | Operation::WriteUncorrectable => {
                Self::WriteZeroes
            }
            Operation::Compare | Operation::Verify | Operation::Stepped(Stepped::CompareSame) => {
                Self::Compare
            }
            Operation::CompareAndWrite(_) => Self::CompareAndWrite,
            Operation::Stepped(
                Stepped::WriteSame(_) | Stepped::WriteAndVerify | Stepped::WriteAndCompare,
            ) => Self::Write,
        }
    }

    /// The number of requests of this kind in a sum of at most 255 [`Tag::one`].
    #[inline]
    #[must_use]
    pub const fn count(self, sum: u64) -> u64 {
        sum >> (self as u8 * COUNTER) & 0xff
    }

    /// Whether a sum of [`Tag::one`] counts requests other than reads and writes.
    #[inline]
    #[must_use]
    pub const fn has_others(sum: u64) -> bool {
        sum >> (Self::Flush as u8 * COUNTER) != 0
    }

    /// The kind with that discriminant; the last one for a number that none has.
    #[inline]
    const fn of_number(number: u8) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Flush,
            3 => Self::Discard,
            4 => Self::WriteZeroes,
            5 => Self::Compare,
            6 => Self::CompareAndWrite,
            _ => Self::Copy,
        }
    }
}

/// Size of a request, by powers of two: class `n` has requests of 2^`n` to 2^(`n` + 1) - 1 blocks. Those
/// without blocks are in class 0.
///
/// With blocks of 512 bytes, requests of 4 KiB are in class 3, those of 64 KiB in class 7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct SizeClass(u32);

impl SizeClass {
    /// Number of classes.
    pub const COUNT: usize = 32;

    /// Class of a request of so many blocks.
    #[inline]
    #[must_use]
    pub const fn of(blocks: u32) -> Self {
        Self((blocks | 1).ilog2())
    }

    /// Number of the class, below [`Self::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The end of one request: its tag and its status in one word, so that it is moved by one load and
/// one store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Completion(u64);

impl Completion {
    /// The end of the request with that tag.
    #[inline]
    #[must_use]
    pub const fn new(tag: Tag, status: Status) -> Self {
        Self(tag.0 | (status as u64) << STATUS)
    }

    /// The request's tag.
    #[inline]
    #[must_use]
    pub const fn tag(self) -> Tag {
        Tag(self.0 & ((1 << STATUS) - 1))
    }

    /// The status that the request ended with.
    #[inline]
    #[must_use]
    pub const fn status(self) -> Status {
        Status::of_number(self.0 >> STATUS)
    }

    /// Whether the status is [`Status::Success`], without a look at the others.
    #[inline]
    #[must_use]
    pub const fn succeeded(self) -> bool {
        self.0 >> STATUS == Status::Success as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Durability;

    const KINDS: [Kind; 8] = Kind::ALL;

    /// Numbers of blocks that each have another size class.
    const SIZES: [u32; 8] = [1, 2, 8, 128, 1 << 16, 1 << 20, 1 << 30, u32::MAX];

    #[test]
    fn a_completion_gives_back_all_parts_of_its_tag_and_its_status() {
        let statuses = [Status::Success, Status::ReservationConflict].into_iter().cycle();
        for ((kind, blocks), status) in KINDS.into_iter().zip(SIZES).zip(statuses) {
            let size = SizeClass::of(blocks);
            let tag = Tag::new(0xfedc, 0xba98).through(Tag::of_volume(0x7654), kind).sized(size);
            let end = Completion::new(tag, status);
            assert_eq!(end.tag(), tag);
            assert_eq!(end.tag().session(), 0xfedc);
            assert_eq!(end.tag().slot(), 0xba98);
            assert_eq!(end.tag().volume(), 0x7654);
            assert_eq!(end.tag().kind(), kind);
            assert_eq!(end.tag().size_class(), size);
            assert_eq!(end.status(), status);
            assert_eq!(end.succeeded(), status == Status::Success);
        }
    }

    #[test]
    fn a_sort_is_a_kind_and_a_size() {
        for kind in KINDS {
            for size in SIZES.map(SizeClass::of) {
                let tag = Tag::new(0xffff, 0xffff).through(Tag::of_volume(0xffff), kind).sized(size);
                let (sort_kind, sort_size) = Tag::of_sort(tag.sort());
                assert_eq!(sort_kind, kind);
                assert_eq!(sort_size, size);
            }
        }
    }

    #[test]
    fn tags_are_of_one_sort_wherever_they_come_from() {
        let tag = |slot, kind, blocks| {
            Tag::new(1, slot).through(Tag::of_volume(slot), kind).sized(SizeClass::of(blocks))
        };
        let read = tag(3, Kind::Read, 8);
        assert!(Tag::are_of_one_sort(read.differences(tag(0xfff4, Kind::Read, 9))));
        assert!(!Tag::are_of_one_sort(read.differences(tag(3, Kind::Read, 16))));
        assert!(!Tag::are_of_one_sort(read.differences(tag(3, Kind::Write, 8))));
        assert!(Tag::are_of_one_size(read.differences(tag(7, Kind::Copy, 8))));
        assert!(!Tag::are_of_one_size(read.differences(tag(3, Kind::Read, 4))));
        assert_eq!(read.with_kind(Kind::Copy), tag(3, Kind::Copy, 8));
    }

    #[test]
    fn the_kinds_of_255_requests_are_counted_in_one_word() {
        let tag = |kind, size| Tag::new(1, 2).through(Tag::of_volume(3), kind).sized(size);
        for kind in KINDS {
            let sizes = SIZES.map(SizeClass::of).into_iter().cycle().take(255);
            let sum = sizes.map(|size| tag(kind, size).one()).sum();
            let counts = KINDS.map(|kind| kind.count(sum));
            assert_eq!(counts.iter().sum::<u64>(), 255, "{kind:?}: {counts:?}");
            assert_eq!(kind.count(sum), 255);
            assert_eq!(Kind::has_others(sum), !matches!(kind, Kind::Read | Kind::Write), "{kind:?}");
        }
    }

    #[test]
    fn a_transfer_has_the_same_tag_whether_its_operation_is_known_or_not() {
        for operation in
            [Operation::Read, Operation::Write(Durability::Cache), Operation::Write(Durability::Media)]
        {
            let (tag, volume) = (Tag::new(1, 2), Tag::of_volume(3));
            assert_eq!(tag.through_as_transfer(volume, operation), tag.through(volume, Kind::of(operation)));
        }
    }

    #[test]
    fn a_size_class_has_the_requests_between_two_powers_of_two() {
        for (blocks, class) in
            [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (8, 3), (15, 3), (16, 4), (u32::MAX, 31)]
        {
            assert_eq!(SizeClass::of(blocks).index(), class, "{blocks} blocks");
        }
        assert_eq!(SizeClass::COUNT, SizeClass::of(u32::MAX).index() + 1);
    }

    #[test]
    fn a_tag_takes_slot_or_volume_from_another_and_keeps_the_rest() {
        let tag = |session, slot, volume, blocks| {
            Tag::new(session, slot).through(Tag::of_volume(volume), Kind::Write).sized(SizeClass::of(blocks))
        };
        let (one, other) = (tag(1, 2, 3, 4), tag(0xffff, 0xfffe, 0xfffd, 1 << 30));
        assert_eq!(one.with_slot_of(other), tag(0xffff, 0xfffe, 3, 4));
        assert_eq!(one.with_volume_of(other), tag(1, 2, 0xfffd, 4));
    }
}
