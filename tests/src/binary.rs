//! The binaries under test, built now and in the profile of the tests themselves: never a stale one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Builds a binary and tells where it lies. Cargo locks the target directory, so test binaries that run side by side
/// build once.
fn build(package: &str, binary: &str) -> PathBuf {
    // target/<profile>/deps/<test>
    let test = std::env::current_exe().expect("a test knows its own path");
    let output = test
        .parent()
        .and_then(Path::parent)
        .expect("tests lie in target/<profile>/deps");
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
            package,
            "--bin",
            binary,
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .status()
        .expect("cargo runs");
    assert!(status.success(), "`{binary}` does not build");
    output.join(binary)
}

pub fn vulcan() -> Command {
    static VULCAN: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(VULCAN.get_or_init(|| build("vulcan", "vulcan")));
    // What the machine's owner has set must not reach the tests.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("VULCAN_")) {
        command.env_remove(name);
    }
    command
}

pub fn origin() -> Command {
    static ORIGIN: OnceLock<PathBuf> = OnceLock::new();
    Command::new(ORIGIN.get_or_init(|| build("vulcan-tests", "vulcan-origin")))
}

pub fn authserver() -> Command {
    static AUTHSERVER: OnceLock<PathBuf> = OnceLock::new();
    Command::new(AUTHSERVER.get_or_init(|| build("vulcan-tests", "vulcan-authserver")))
}
