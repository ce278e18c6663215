//! Configuration fragments of the kernel, and the check that the configuration kept every line.
//!
//! A fragment has two kinds of lines: `CONFIG_X=value` and `# CONFIG_X is not set`. The kernel drops
//! an option silently when one that it depends on is missing; [`Fragment::check`] reports it.

use crate::error::ImageError;
use std::collections::BTreeMap;
use std::fmt;

/// Options that a fragment asks for; `None` is "not set".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    options: BTreeMap<String, Option<String>>,
}

impl Fragment {
    /// Parses a fragment or a whole `.config`.
    pub(crate) fn parse(text: &str) -> Self {
        Self { options: text.lines().filter_map(option).collect() }
    }

    /// Fails if the configuration lacks lines of this fragment, and names them.
    pub(crate) fn check(&self, config: &Self) -> Result<(), ImageError> {
        let lost: Vec<String> =
            self.options.iter().filter_map(|(name, value)| config.lacks(name, value.as_deref())).collect();
        if lost.is_empty() { Ok(()) } else { Err(ImageError::FragmentLost { lost }) }
    }

    fn lacks(&self, name: &str, wanted: Option<&str>) -> Option<String> {
        // A .config leaves out an option whose prompt is hidden: it is not set either.
        let found = self.options.get(name).and_then(Option::as_deref);
        let say = |value: Option<&str>| value.map_or("not set".to_owned(), |value| format!("={value}"));
        (found != wanted).then(|| format!("{name}: wanted {}, found {}", say(wanted), say(found)))
    }
}

/// Writes the lines of options, without the comments between them.
impl fmt::Display for Fragment {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.options.iter().try_for_each(|(name, value)| match value {
            Some(value) => writeln!(to, "{name}={value}"),
            None => writeln!(to, "# {name} is not set"),
        })
    }
}

fn option(line: &str) -> Option<(String, Option<String>)> {
    let line = line.trim();
    if let Some(name) = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set")) {
        return name.starts_with("CONFIG_").then(|| (name.to_owned(), None));
    }
    let (name, value) = line.split_once('=')?;
    let value = (value != "n").then(|| value.to_owned());
    name.starts_with("CONFIG_").then(|| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAGMENT: &str = "# Words about it.\nCONFIG_SMP=y\nCONFIG_NR_CPUS=512\n# CONFIG_BLOCK is not set\n";

    fn check(config: &str) -> Result<(), ImageError> {
        Fragment::parse(FRAGMENT).check(&Fragment::parse(config))
    }

    #[test]
    fn a_configuration_that_has_every_line_passes() {
        check("CONFIG_OTHER=y\nCONFIG_SMP=y\nCONFIG_NR_CPUS=512\n# CONFIG_BLOCK is not set\n").unwrap();
    }

    #[test]
    fn a_fragment_is_written_without_its_comments() {
        let written = "# CONFIG_BLOCK is not set\nCONFIG_NR_CPUS=512\nCONFIG_SMP=y\n";
        assert_eq!(Fragment::parse(FRAGMENT).to_string(), written);
        assert_eq!(Fragment::parse(written), Fragment::parse(FRAGMENT));
    }

    #[test]
    fn an_option_the_configuration_does_not_mention_counts_as_not_set() {
        check("CONFIG_SMP=y\nCONFIG_NR_CPUS=512\n").unwrap();
    }

    #[test]
    fn every_lost_line_is_named_with_what_is_there_instead() {
        let error =
            check("# CONFIG_SMP is not set\nCONFIG_NR_CPUS=64\nCONFIG_BLOCK=y\n").unwrap_err().to_string();
        for wanted in [
            "CONFIG_SMP: wanted =y, found not set",
            "CONFIG_NR_CPUS: wanted =512, found =64",
            "CONFIG_BLOCK: wanted not set, found =y",
        ] {
            assert!(error.contains(wanted), "{wanted} in {error}");
        }
    }

    #[test]
    fn the_appliances_fragment_keeps_block_devices_modules_and_unprotected_dma_out() {
        let fragment = Fragment::parse(crate::kernel::APPLIANCE.fragment);
        for absent in ["CONFIG_BLOCK", "CONFIG_MODULES", "CONFIG_VFIO_NOIOMMU", "CONFIG_INET"] {
            assert_eq!(fragment.options.get(absent), Some(&None), "{absent}");
        }
        assert_eq!(fragment.options.get("CONFIG_VFIO_PCI"), Some(&Some("y".to_owned())));
    }
}
