//! The binaries under test, of now and in the profile of the tests themselves: never a stale one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where this profile's binaries lie.
fn output() -> PathBuf {
    // target/<profile>/deps/<test>
    let test = std::env::current_exe().expect("a test knows its own path");
    let output = test.parent().and_then(Path::parent);
    output.expect("tests lie in target/<profile>/deps").to_owned()
}

/// Builds what is proved, as it is shipped: the tests' own dependencies have features switched on that it does without. Cargo
/// locks the target directory, so test binaries that run side by side build once.
fn build() -> PathBuf {
    let output = output();
    let target = output.parent().expect("a profile lies in the target directory");
    let profile = match output.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--package",
            "vulcan",
            "--bin",
            "vulcan",
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "`vulcan` does not build");
    output.join("vulcan")
}

/// A binary of this package: cargo built it before it ran the package's tests.
fn own(binary: &str) -> Command {
    Command::new(output().join(binary))
}

pub fn vulcan() -> Command {
    static VULCAN: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(VULCAN.get_or_init(build));
    // What the machine's owner has set must not reach the tests.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("VULCAN_")) {
        command.env_remove(name);
    }
    command
}

pub fn origin() -> Command {
    own("vulcan-origin")
}

pub fn authserver() -> Command {
    own("vulcan-authserver")
}
