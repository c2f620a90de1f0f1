//! The rules of the house that a machine can check: which crate may know which, and how the sources are laid out.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Tests in a file of their own are not production; those in the file they test are not counted.
const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folders of the workspace's crates.
fn crates() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let members = manifest
        .split("members = [")
        .nth(1)
        .and_then(|rest| rest.split(']').next())
        .unwrap();
    members
        .split(',')
        .map(|name| name.trim().trim_matches('"').to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// The packages that `package` is built from on this machine; `depth` 1 names the direct ones.
fn dependencies(package: &str, depth: Option<usize>) -> BTreeSet<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root())
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none"]);
    cargo.args(["--format", "{p}", "--package", package]);
    if let Some(depth) = depth {
        cargo.args(["--depth", &depth.to_string()]);
    }
    let output = cargo.output().unwrap();
    assert!(
        output.status.success(),
        "cargo tree: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// Every source file of the project, as a path from its root.
fn sources() -> Vec<PathBuf> {
    // A set, since a crate may lie in the folder of another.
    let mut files = BTreeSet::new();
    let mut folders: Vec<PathBuf> = crates().iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.insert(path);
            }
        }
    }
    assert!(files.len() > 100, "the sources were not found");
    files.into_iter().collect()
}

fn text(file: &Path) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

/// Whether the file is compiled into what runs in production.
fn is_production(file: &Path) -> bool {
    let is_test = |part: &str| part == "tests" || part == "tests.rs";
    !file.starts_with("bench") && !file.iter().any(|part| is_test(&part.to_string_lossy()))
}

#[test]
fn shared_knows_no_runtime_and_no_socket() {
    let forbidden = [
        "tokio",
        "tokio-util",
        "mio",
        "socket2",
        "hyper",
        "rustix",
        "nix",
        "async-io",
        "chrono",
        "time",
    ];
    let found = dependencies("vulcan-shared", None);
    assert!(found.contains("serde_json"), "the graph was not read: {found:?}");
    let wrong: Vec<&str> = forbidden.into_iter().filter(|name| found.contains(*name)).collect();
    assert!(wrong.is_empty(), "shared depends on {wrong:?}");
}

#[test]
fn shared_asks_the_machine_for_nothing() {
    let forbidden = [
        "std::net::Tcp",
        "std::net::Udp",
        "std::fs",
        "std::thread",
        "std::env",
        "Instant",
        "SystemTime",
    ];
    for file in sources()
        .iter()
        .filter(|file| file.starts_with("shared/src") && is_production(file))
    {
        let text = text(file);
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for name in forbidden {
            assert!(!code.contains(name), "{} uses {name}", file.display());
        }
    }
}

#[test]
fn dependencies_run_one_way() {
    let knows = |package: &str, allowed: &[&str]| {
        let direct = dependencies(package, Some(1));
        let ours = direct
            .iter()
            .filter(|name| *name == "vulcan" || name.starts_with("vulcan-"));
        let wrong: Vec<&String> = ours.filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{package} must not know {wrong:?}");
    };
    knows("vulcan-shared", &[]);
    knows("vulcan-net", &["vulcan-shared"]);
    knows("vulcan-dataplane", &["vulcan-net", "vulcan-shared"]);
    knows(
        "vulcan-controlplane",
        &["vulcan-migrations", "vulcan-net", "vulcan-shared"],
    );
}

#[test]
fn every_crate_keeps_the_lints() {
    for name in crates() {
        let manifest = fs::read_to_string(root().join(&name).join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{name}/Cargo.toml does not take the workspace's lints"
        );
    }
}

#[test]
fn every_dependency_is_used() {
    for name in crates() {
        let manifest = fs::read_to_string(root().join(&name).join("Cargo.toml")).unwrap();
        let code: String = sources()
            .iter()
            .filter(|file| file.starts_with(&name))
            .map(|file| text(file))
            .collect();
        let mut is_dependency = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                is_dependency = line.ends_with("dependencies]");
            } else if let Some((key, _)) = line.split_once(['.', ' ']).filter(|_| is_dependency) {
                let used = format!("{}::", key.replace('-', "_"));
                assert!(code.contains(&used), "{name} declares {key} and does not use it");
            }
        }
    }
}

#[test]
fn files_are_named_for_what_is_in_them() {
    let vague = ["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "misc.rs"];
    for file in sources() {
        let name = file.file_name().unwrap().to_string_lossy();
        assert!(
            !vague.contains(&&*name),
            "{} says nothing about its content",
            file.display()
        );
    }
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|file| is_production(file))
        .map(|file| {
            let text = text(file);
            let production = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            (file, production.lines().count())
        })
        .filter(|&(_, lines)| lines > LINES_MAX)
        .map(|(file, lines)| format!("{} has {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "split these, {LINES_MAX} lines are the most: {long:?}");
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in two halves, so that this file passes its own test.
    let marks = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["unimpl", "emented!"],
        ["to", "do!("],
    ]
    .map(|half| half.concat());
    for file in sources() {
        let text = text(&file);
        for mark in &marks {
            assert!(!text.contains(mark.as_str()), "{} holds {mark}", file.display());
        }
    }
}
