//! Address of the Debian archive that this machine uses, read from its apt configuration.
//!
//! Both formats of apt's sources are read: one line per source, and deb822 stanzas.
//!
//! Not here: fetching from the archive (`apt.rs`).

use crate::error::ImageError;
use std::fs;
use std::path::{Path, PathBuf};

/// Keys of every Debian release, from the package debian-archive-keyring.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];

/// A suite of an archive, as listed in apt's sources.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    uri: String,
    suite: String,
    components: Vec<String>,
}

/// The Debian archive of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    /// Address of the releases.
    main: String,
    /// Address of their security updates, if the machine uses them.
    security: Option<String>,
}

impl Archive {
    /// Finds the archive in the machine's apt configuration under `etc`.
    pub(crate) fn of_host(etc: &Path) -> Result<Self, ImageError> {
        Self::among(&sources_in(etc)).ok_or(ImageError::NoArchive)
    }

    fn among(sources: &[Source]) -> Option<Self> {
        let debian = |source: &&Source| source.components.iter().any(|name| name == "main");
        let of = |wanted: fn(&str) -> bool| {
            sources
                .iter()
                .filter(debian)
                .find(|source| wanted(&source.suite))
                .map(|source| source.uri.clone())
        };
        Some(Self { main: of(is_release)?, security: of(|suite| suite.ends_with("-security")) })
    }

    /// A sources list for apt: the release `codename`, its security updates and its backports.
    pub(crate) fn list_for(&self, codename: &str) -> String {
        let keyring = KEYRINGS.iter().find(|path| Path::new(path).exists());
        let signed = keyring.map(|path| format!("[signed-by={path}] ")).unwrap_or_default();
        let line = |uri: &str, suite: &str| format!("deb {signed}{uri} {suite} main\n");
        let mut list = line(&self.main, codename) + &line(&self.main, &format!("{codename}-backports"));
        if let Some(security) = &self.security {
            list += &line(security, &format!("{codename}-security"));
        }
        list
    }
}

/// Whether a suite is a release of Debian, not its updates, backports or security suite.
fn is_release(suite: &str) -> bool {
    const RELEASES: [&str; 10] = [
        "bookworm",
        "trixie",
        "forky",
        "duke",
        "sid",
        "oldoldstable",
        "oldstable",
        "stable",
        "testing",
        "unstable",
    ];
    RELEASES.contains(&suite)
}

fn sources_in(etc: &Path) -> Vec<Source> {
    let mut files = vec![etc.join("apt/sources.list")];
    if let Ok(parts) = fs::read_dir(etc.join("apt/sources.list.d")) {
        let mut parts: Vec<PathBuf> = parts.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts);
    }
    files.iter().flat_map(|file| sources_of(file)).collect()
}

fn sources_of(file: &Path) -> Vec<Source> {
    let Ok(text) = fs::read_to_string(file) else { return Vec::new() };
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("list") => text.lines().flat_map(one_line).collect(),
        Some("sources") => text.split("\n\n").flat_map(stanza).collect(),
        _ => Vec::new(),
    }
}

/// `deb [options] uri suite component...`
fn one_line(line: &str) -> Option<Source> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb ")?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    if rest.trim_start().starts_with("cdrom:") {
        return None;
    }
    Some(Source { uri: words.next()?, suite: words.next()?, components: words.collect() })
}

/// Sources of a deb822 stanza: every URI with every suite.
fn stanza(text: &str) -> Vec<Source> {
    let field = |name: &str| -> Vec<String> {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        let value = text.lines().find(|line| line.to_ascii_lowercase().starts_with(&prefix));
        let words = value.and_then(|line| line.split_once(':')).map(|(_, words)| words).unwrap_or_default();
        words.split_whitespace().map(str::to_owned).collect()
    };
    let enabled = !field("Enabled").iter().any(|word| word == "no");
    if !enabled || !field("Types").iter().any(|word| word == "deb") {
        return Vec::new();
    }
    let components = field("Components");
    let pairs = field("URIs").into_iter().flat_map(|uri| {
        field("Suites").into_iter().map(move |suite| (uri.clone(), suite)).collect::<Vec<_>>()
    });
    pairs.map(|(uri, suite)| Source { uri, suite, components: components.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive_of(name: &str, text: &str) -> Result<Archive, ImageError> {
        let etc = tempfile::tempdir().unwrap();
        let file = etc.path().join("apt").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
        Archive::of_host(etc.path())
    }

    #[test]
    fn a_one_line_list_is_understood_with_options_and_comments() {
        let archive = archive_of(
            "sources.list",
            "# deb http://old.invalid/debian bookworm main\n\
             deb-src http://src.invalid/debian bookworm main\n\
             deb cdrom:[Debian] bookworm main\n\
             deb [arch=amd64 signed-by=/k.gpg] http://a.invalid/debian bookworm main contrib # mine\n\
             deb http://b.invalid/security bookworm-security main\n",
        );
        // The installer's disc comes first in such lists and is no archive.
        let archive = archive.unwrap();
        assert_eq!(archive.security.as_deref(), Some("http://b.invalid/security"));
        assert_eq!(archive.main, "http://a.invalid/debian");
    }

    #[test]
    fn deb822_stanzas_are_understood_with_comments_inside() {
        let archive = archive_of(
            "sources.list.d/debian.sources",
            "Types: deb\n# URIs: http://no.invalid\nURIs: http://a.invalid/debian\n\
             Suites: trixie trixie-updates\nComponents: main\n\n\
             Types: deb deb-src\nURIs: http://b.invalid/security\nSuites: trixie-security\nComponents: main\n",
        )
        .unwrap();
        assert_eq!(archive.main, "http://a.invalid/debian");
        assert_eq!(archive.security.as_deref(), Some("http://b.invalid/security"));
    }

    #[test]
    fn other_vendors_and_disabled_stanzas_are_not_debian() {
        let found = archive_of(
            "sources.list.d/x.sources",
            "Types: deb\nURIs: http://vendor.invalid\nSuites: nodistro\nComponents: main\n\n\
             Enabled: no\nTypes: deb\nURIs: http://off.invalid\nSuites: trixie\nComponents: main\n",
        );
        assert!(matches!(found, Err(ImageError::NoArchive)), "{found:?}");
    }

    #[test]
    fn the_list_for_a_release_names_it_its_backports_and_its_security_updates() {
        let archive = Archive { main: "http://a.invalid".into(), security: Some("http://b.invalid".into()) };
        let list = archive.list_for("trixie");
        assert_eq!(list.lines().count(), 3);
        for wanted in
            ["http://a.invalid trixie main", "trixie-backports main", "http://b.invalid trixie-security"]
        {
            assert!(list.contains(wanted), "{wanted} in {list}");
        }
    }
}
