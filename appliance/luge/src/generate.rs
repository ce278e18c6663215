//! `luge generate`: manual pages and completions of shells, from the command line's definition, for packages.
//!
//! The folder gets `man1/luge.1` and a page for each command, and `completions/` with `luge.bash`, `_luge` (zsh) and
//! `luge.fish`.

use crate::cli::Cli;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Error of `luge generate`.
#[derive(Debug, Error)]
#[error("cannot write to {folder}: {source}; name a folder that can be made")]
pub struct GenerateError {
    folder: PathBuf,
    source: io::Error,
}

/// Writes all files into a folder, which is made if it does not exist.
///
/// # Errors
/// [`GenerateError`].
pub fn run(folder: &Path) -> Result<(), GenerateError> {
    write(folder).map_err(|source| GenerateError { folder: folder.to_owned(), source })
}

fn write(folder: &Path) -> io::Result<()> {
    let (pages, completions) = (folder.join("man1"), folder.join("completions"));
    std::fs::create_dir_all(&pages)?;
    std::fs::create_dir_all(&completions)?;
    clap_mangen::generate_to(Cli::command(), &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut Cli::command(), "luge", &completions)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_is_shown_has_a_page_and_a_completion() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path()).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let completions = read("completions/luge.bash");
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(read(&format!("man1/luge-{name}.1")).contains(".SH SYNOPSIS"), "{name}");
            assert!(completions.contains(&format!("luge,{name})")), "{name}");
        }
        assert!(read("man1/luge.1").contains("Storage server"));
        assert!(read("completions/_luge").starts_with("#compdef luge"));
        assert!(read("completions/luge.fish").contains("complete -c luge"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = run(Path::new("/proc/none/at/all")).unwrap_err().to_string();
        assert!(error.starts_with("cannot write to /proc/none/at/all: "), "{error}");
    }
}
