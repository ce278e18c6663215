//! Messages of a process in its sandbox to its parent, before it executes its program.

/// Step into the sandbox that may fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(super) enum Step {
    Session,
    Map,
    Root,
    Entry,
    Move,
    User,
    Powers,
    Parent,
    Descriptors,
    Execute,
}

impl Step {
    const ALL: [Self; 10] = [
        Self::Session,
        Self::Map,
        Self::Root,
        Self::Entry,
        Self::Move,
        Self::User,
        Self::Powers,
        Self::Parent,
        Self::Descriptors,
        Self::Execute,
    ];
}

/// Step that has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Failure {
    pub(super) step: Step,
    /// Index of the entry, if that was the step.
    pub(super) entry: u32,
    /// Error of the kernel.
    pub(super) errno: i32,
}

/// Message to the parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// The process waits until its user namespace is mapped.
    MapMe,
    Failed(Failure),
}

/// First word of [`Message::MapMe`], which is no step.
const MAP_ME: u32 = u32::MAX;

impl Message {
    /// The message as the words that are sent.
    pub(super) fn words(self) -> [[u8; 4]; 3] {
        let words = match self {
            Self::MapMe => [MAP_ME, 0, 0],
            Self::Failed(failure) => [failure.step as u32, failure.entry, failure.errno.cast_unsigned()],
        };
        words.map(u32::to_ne_bytes)
    }

    /// Message of these words; `None` if it is none.
    pub(super) fn parse(words: [[u8; 4]; 3]) -> Option<Self> {
        let [first, entry, errno] = words.map(u32::from_ne_bytes);
        if first == MAP_ME {
            return Some(Self::MapMe);
        }
        let step = Step::ALL.into_iter().find(|step| *step as u32 == first)?;
        Some(Self::Failed(Failure { step, entry, errno: errno.cast_signed() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_parsed_from_its_words() {
        let failed = |step| Message::Failed(Failure { step, entry: 7, errno: -3 });
        for message in Step::ALL.into_iter().map(failed).chain([Message::MapMe]) {
            assert_eq!(Message::parse(message.words()), Some(message));
        }
        assert_eq!(Message::parse([[0xee; 4]; 3]), None);
    }
}
