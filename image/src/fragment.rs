//! The kernel's fragment: the lines we ask for, and whether they were granted.
//!
//! A fragment has two kinds of lines: `CONFIG_X=value` and `# CONFIG_X is not set`.
//! The kernel drops an option silently when something it depends on is missing;
//! [`Fragment::check`] does not.

use crate::error::ImageError;
use std::collections::BTreeMap;

/// The options a fragment asks for; `None` is "not set".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fragment {
    options: BTreeMap<String, Option<String>>,
}

impl Fragment {
    /// Reads a fragment, or a whole `.config`.
    pub(crate) fn parse(text: &str) -> Self {
        Self { options: text.lines().filter_map(option).collect() }
    }

    /// Refuses a configuration that lacks a line of this fragment, and names each.
    pub(crate) fn check(&self, config: &Self) -> Result<(), ImageError> {
        let lost: Vec<String> =
            self.options.iter().filter_map(|(name, value)| config.lacks(name, value.as_deref())).collect();
        if lost.is_empty() { Ok(()) } else { Err(ImageError::FragmentLost { lost }) }
    }

    fn lacks(&self, name: &str, wanted: Option<&str>) -> Option<String> {
        // An option that no prompt shows is absent from a .config; that is "not set" as well.
        let found = self.options.get(name).and_then(Option::as_deref);
        let say = |value: Option<&str>| value.map_or("not set".to_owned(), |value| format!("={value}"));
        (found != wanted).then(|| format!("{name}: wanted {}, found {}", say(wanted), say(found)))
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
