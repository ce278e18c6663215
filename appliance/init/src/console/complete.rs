//! What could follow what was typed.

use super::MethodHelp;

/// What a tab leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Completion {
    /// Nothing fits.
    None,
    /// All that fits goes on with this.
    Text(String),
    /// These fit, and have no more in common than was typed.
    Choices(Vec<String>),
}

/// Completes the text before the cursor: a command first, then the names of its parameters.
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

/// What those of `candidates` that begin with `word` have in common beyond it.
fn narrow<'a>(word: &str, candidates: impl Iterator<Item = &'a str>, end: &str) -> Completion {
    let mut fitting: Vec<&str> = candidates.filter(|candidate| candidate.starts_with(word)).collect();
    fitting.sort_unstable();
    fitting.dedup();
    match fitting[..] {
        [] => Completion::None,
        [only] => Completion::Text(format!("{}{end}", &only[word.len()..])),
        [first, .., last] => match &first[word.len()..common(first, last)] {
            "" => Completion::Choices(fitting.iter().map(|&choice| choice.to_owned()).collect()),
            more => Completion::Text(more.to_owned()),
        },
    }
}

/// Bytes that both begin with.
fn common(one: &str, other: &str) -> usize {
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b);
    same.map(|(character, _)| character.len_utf8()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::ParameterHelp;

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
    fn commands_are_completed_as_far_as_they_agree() {
        assert_eq!(completed("v"), text("m_start "));
        assert_eq!(completed("b"), text("dev_get_"));
        assert_eq!(completed("bdev_get_"), choices(&["bdev_get_bdevs", "bdev_get_iostat"]));
        assert_eq!(completed("x"), Completion::None);
        assert_eq!(completed("d"), text("mesg "));
        assert_eq!(
            completed("").clone(),
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
