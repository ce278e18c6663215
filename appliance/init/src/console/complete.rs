//! Completion of commands and of names of parameters.

use super::methods::MethodHelp;

/// Result of a completion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Completion {
    /// No candidate begins with the word.
    None,
    /// Text by which all matching candidates go on.
    Text(String),
    /// Matching candidates that differ in the next character.
    Choices(Vec<String>),
}

/// Completes the text before the cursor: the command, then names of its parameters.
pub(crate) fn complete(before: &str, methods: &[MethodHelp], own_commands: &[&str]) -> Completion {
    let (head, word) = before.rsplit_once(' ').unwrap_or(("", before));
    let commands = || own_commands.iter().copied().chain(methods.iter().map(|method| method.name.as_str()));
    let mut head = head.split_whitespace();
    match (head.next(), head.next()) {
        (None, _) => narrow(word, commands(), " "),
        (Some("help"), None) => narrow(word, commands(), ""),
        (Some(command), _) => {
            let method = methods.iter().find(|method| method.name == command);
            let given = |name: &str| before.contains(&format!(" {name}="));
            let names = method.into_iter().flat_map(|method| &method.parameters).map(|p| p.name.as_str());
            narrow(word, names.filter(|name| !given(name)), "=")
        }
    }
}

/// Completes `word` among candidates. `end` is appended if only one matches.
fn narrow<'a>(word: &str, candidates: impl Iterator<Item = &'a str>, end: &str) -> Completion {
    let mut matching: Vec<&str> = candidates.filter(|candidate| candidate.starts_with(word)).collect();
    matching.sort_unstable();
    matching.dedup();
    match matching[..] {
        [] => Completion::None,
        [only] => Completion::Text(format!("{}{end}", &only[word.len()..])),
        [first, .., last] => match &first[word.len()..common_bytes(first, last)] {
            "" => Completion::Choices(matching.iter().map(|&choice| choice.to_owned()).collect()),
            more => Completion::Text(more.to_owned()),
        },
    }
}

/// Length in bytes of the longest common prefix.
fn common_bytes(one: &str, other: &str) -> usize {
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    same.map(|(character, _)| character.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::methods::ParameterHelp;

    fn methods() -> Vec<MethodHelp> {
        let parameter = |name: &&str| ParameterHelp {
            name: (*name).into(),
            kind: "string".into(),
            required: true,
            help: String::new(),
        };
        let method = |name: &str, parameters: &[&str]| MethodHelp {
            name: name.into(),
            help: String::new(),
            parameters: parameters.iter().map(parameter).collect(),
        };
        vec![
            method("bdev_get_bdevs", &["name", "timeout"]),
            method("bdev_get_iostat", &[]),
            method("vm_start", &["name", "near"]),
        ]
    }

    fn completed(before: &str) -> Completion {
        complete(before, &methods(), &["help", "dmesg"])
    }

    fn text(text: &str) -> Completion {
        Completion::Text(text.into())
    }

    fn choices(list: &[&str]) -> Completion {
        Completion::Choices(list.iter().map(|&choice| choice.into()).collect())
    }

    #[test]
    fn commands_are_completed_up_to_their_first_difference() {
        assert_eq!(completed("v"), text("m_start "));
        assert_eq!(completed("b"), text("dev_get_"));
        assert_eq!(completed("bdev_get_"), choices(&["bdev_get_bdevs", "bdev_get_iostat"]));
        assert_eq!(completed("x"), Completion::None);
        assert_eq!(completed("d"), text("mesg "));
        assert_eq!(
            completed(""),
            choices(&["bdev_get_bdevs", "bdev_get_iostat", "dmesg", "help", "vm_start"])
        );
    }

    #[test]
    fn parameters_are_completed_and_none_is_offered_twice() {
        assert_eq!(completed("vm_start na"), text("me="));
        assert_eq!(completed("vm_start n"), choices(&["name", "near"]));
        assert_eq!(completed("vm_start name=x n"), text("ear="));
        assert_eq!(completed("vm_start name=x near=y n"), Completion::None);
        assert_eq!(completed("nobody n"), Completion::None);
    }

    #[test]
    fn help_completes_commands() {
        assert_eq!(completed("help vm"), text("_start"));
        assert_eq!(completed("help vm_start n"), Completion::None);
    }
}
