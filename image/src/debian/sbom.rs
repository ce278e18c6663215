//! Bill of materials of the program, in CycloneDX 1.6: the libraries that are linked into it, as cargo resolves them.
//!
//! Not here: libraries of tests and build tools; the standard library, whose version is that of the compiler.

use crate::error::ImageError;
use crate::journal::Journal;
use crate::luge::workspace;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use uuid::Uuid;

/// Target for which the dependencies are resolved.
const TARGET: &str = "x86_64-unknown-linux-musl";
/// Package whose dependencies are listed.
const PROGRAM: &str = "luge";

/// A library of the program.
struct Library<'a> {
    name: &'a str,
    version: &'a str,
    licence: Option<String>,
    is_ours: bool,
}

impl Library<'_> {
    /// Name in the bill: a package URL, as its specification for cargo has it.
    fn reference(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }
}

/// Describes the program in version `version`.
pub(super) fn of(version: &str, journal: &Journal<'_>) -> Result<String, ImageError> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["metadata", "--locked", "--format-version=1"]);
    let text = journal.output(cargo.args(["--filter-platform", TARGET]))?;
    let metadata = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    let lock = workspace().join("Cargo.lock");
    let checksums = checksums(&std::fs::read_to_string(lock).unwrap_or_default());
    let bill = Bill { metadata: &metadata, checksums: &checksums }.write(version)?;
    Ok(format!("{bill:#}\n"))
}

fn malformed(problem: String) -> ImageError {
    ImageError::Malformed { what: "the output of `cargo metadata`".to_owned(), problem }
}

/// SHA-256 sums in a lock file, by name and version.
fn checksums(lock: &str) -> BTreeMap<String, String> {
    let field = |entry: &str, name: &str| -> Option<String> {
        let value = entry.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")))?;
        Some(value.trim_end_matches('"').to_owned())
    };
    let entries = lock.split("[[package]]");
    let sum = |entry| {
        let name = format!("{}@{}", field(entry, "name")?, field(entry, "version")?);
        Some((name, field(entry, "checksum")?))
    };
    entries.filter_map(sum).collect()
}

struct Bill<'a> {
    metadata: &'a Value,
    checksums: &'a BTreeMap<String, String>,
}

impl<'a> Bill<'a> {
    fn write(&self, version: &str) -> Result<Value, ImageError> {
        let libraries = self.libraries();
        let root = libraries.iter().find(|(_, library)| library.name == PROGRAM).map(|(id, _)| *id);
        let root = root.ok_or_else(|| malformed(format!("there is no package {PROGRAM}")))?;
        let reached = self.reached(root);
        let parts = reached.iter().filter(|id| **id != root).filter_map(|id| libraries.get(id));
        let components: Vec<Value> = parts.map(|library| self.component(library)).collect();
        let dependencies: Vec<Value> =
            reached.iter().filter_map(|id| self.dependency(id, &libraries)).collect();
        let serial = Uuid::new_v5(&Uuid::NAMESPACE_URL, json!([version, components]).to_string().as_bytes());
        Ok(json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": format!("urn:uuid:{serial}"),
            "version": 1,
            "metadata": { "component": {
                "type": "application",
                "bom-ref": libraries.get(root).map(Library::reference),
                "name": PROGRAM,
                "version": version,
                "licenses": [{ "expression": env!("CARGO_PKG_LICENSE") }],
            }},
            "components": components,
            "dependencies": dependencies,
        }))
    }

    /// All packages, by their identifiers.
    fn libraries(&self) -> BTreeMap<&'a str, Library<'a>> {
        let packages = self.metadata["packages"].as_array().into_iter().flatten();
        let library = |package: &'a Value| {
            let text = |name: &str| package[name].as_str();
            let licence = text("license").map(|licence| licence.replace('/', " OR "));
            let is_ours = package["source"].is_null();
            Some((text("id")?, Library { name: text("name")?, version: text("version")?, licence, is_ours }))
        };
        packages.filter_map(library).collect()
    }

    /// Identifiers of the packages that are linked into a program, with its own.
    fn reached(&self, root: &'a str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut next = vec![root];
        while let Some(id) = next.pop() {
            if reached.insert(id) {
                next.extend(self.linked(id));
            }
        }
        reached
    }

    /// Packages that a package links, besides those of its tests and build script.
    fn linked(&self, id: &str) -> Vec<&'a str> {
        let nodes = self.metadata["resolve"]["nodes"].as_array().into_iter().flatten();
        let node = nodes.into_iter().find(|node| node["id"] == id);
        let all = node.and_then(|node| node["deps"].as_array()).into_iter().flatten();
        let is_linked = |dependency: &&Value| {
            let mut kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
            kinds.any(|kind| kind["kind"].is_null())
        };
        all.filter(is_linked).filter_map(|dependency| dependency["pkg"].as_str()).collect()
    }

    fn component(&self, library: &Library<'_>) -> Value {
        let mut component = json!({
            "type": "library",
            "bom-ref": library.reference(),
            "name": library.name,
            "version": library.version,
        });
        if !library.is_ours {
            component["purl"] = json!(library.reference());
        }
        if let Some(licence) = &library.licence {
            component["licenses"] = json!([{ "expression": licence }]);
        }
        if let Some(sum) = self.checksums.get(&format!("{}@{}", library.name, library.version)) {
            component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
        }
        component
    }

    fn dependency(&self, id: &str, libraries: &BTreeMap<&str, Library<'_>>) -> Option<Value> {
        let names: BTreeSet<String> = self
            .linked(id)
            .into_iter()
            .filter_map(|other| libraries.get(other).map(Library::reference))
            .collect();
        Some(json!({ "ref": libraries.get(id)?.reference(), "dependsOn": names }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `luge` links `a`, and `a` links `b`; `c` is for tests, and `d` for build scripts.
    fn metadata() -> Value {
        let package = |name: &str| json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "source": "r"});
        let to = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let node = |id: &str, deps: Value| json!({"id": id, "deps": deps});
        json!({
            "packages": (["luge", "a", "b", "c", "d"].map(package)),
            "resolve": {"nodes": [
                node("luge", json!([to("a", Value::Null), to("c", json!("dev")), to("d", json!("build"))])),
                node("a", json!([to("b", Value::Null)])),
                node("b", json!([to("a", json!("dev"))])),
            ]},
        })
    }

    fn bill() -> Value {
        let checksums = checksums("[[package]]\nname = \"b\"\nversion = \"1.0.0\"\nchecksum = \"5a\"\n");
        Bill { metadata: &metadata(), checksums: &checksums }.write("7").unwrap()
    }

    #[test]
    fn libraries_of_tests_and_build_scripts_are_left_out() {
        let bill = bill();
        let names: Vec<_> = bill["components"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_library_has_its_version_licence_and_checksum() {
        let expected = json!({"type": "library", "bom-ref": "pkg:cargo/b@1.0.0", "name": "b", "version": "1.0.0",
            "purl": "pkg:cargo/b@1.0.0", "licenses": [{"expression": "MIT OR Apache-2.0"}],
            "hashes": [{"alg": "SHA-256", "content": "5a"}]});
        assert_eq!(bill()["components"][1], expected);
    }

    #[test]
    fn the_program_names_what_it_links() {
        let bill = bill();
        let of_program =
            bill["dependencies"].as_array().unwrap().iter().find(|one| one["ref"] == "pkg:cargo/luge@1.0.0");
        assert_eq!(of_program.unwrap()["dependsOn"], json!(["pkg:cargo/a@1.0.0"]));
    }

    #[test]
    fn a_workspace_without_the_program_is_refused() {
        let metadata = json!({"packages": []});
        let error = Bill { metadata: &metadata, checksums: &BTreeMap::new() }.write("7").unwrap_err();
        assert!(error.to_string().contains("there is no package luge"), "{error}");
    }
}
