//! The binary from outside, as far as it gets without opening anything: ranks of settings, exit statuses, streams.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::process::{Command, Output};

fn vulcan(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vulcan"));
    command.args(args).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// An address outside loopback is refused without tokens, and the refusal shows which setting was in force.
#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vulcan.toml");
    fs::write(&file, "admin = \"192.0.2.1:1\"\nstore = \"redb:unused\"\n").unwrap();
    let file = file.to_str().unwrap();

    let only_file = vulcan(&["controlplane", "--config", file], &[]);
    assert!(
        stderr(&only_file).contains("--admin 192.0.2.1:1 can be reached"),
        "{}",
        stderr(&only_file)
    );
    let variables = [("VULCAN_CONFIG", file), ("VULCAN_ADMIN", "192.0.2.2:2")];
    let variable = vulcan(&["controlplane"], &variables);
    assert!(
        stderr(&variable).contains("--admin 192.0.2.2:2 can be reached"),
        "{}",
        stderr(&variable)
    );
    let flag = vulcan(&["controlplane", "--admin", "192.0.2.3:3"], &variables);
    assert!(
        stderr(&flag).contains("--admin 192.0.2.3:3 can be reached"),
        "{}",
        stderr(&flag)
    );
    assert_eq!(flag.status.code(), Some(2));
}

#[test]
fn usage_errors_end_with_2_and_say_nothing_on_stdout() {
    let missing: &[&[&str]] = &[
        &[],
        &["fly"],
        &["up", "--colour", "red"],
        &["up", "--admin", "localhost"],
        &["up", "--config", "/nonexistent/vulcan.toml"],
        &["controlplane"],
        &["controlplane", "--store", "paper:tray"],
        &["dataplane"],
        &["dataplane", "--controlplane", "ftp://127.0.0.1"],
        &["dataplane", "--controlplane", "http://127.0.0.1:1", "--name", "a b"],
        &["up", "--tokens", "tokens.toml"],
        &["controlplane", "--store", "cassandra://h1"],
        &["controlplane", "--store", "cassandra://h1/k", "--cassandra-user", "u"],
        &["controlplane", "--store", "redb:p", "--cassandra-ca", "ca.pem"],
        &["up", "--smtps", "127.0.0.1:0"],
        &["up", "--smtp", "localhost:25"],
        &["up", "--tls-cert", "chain.pem"],
        &["up", "--tls-key", "key.pem"],
        &["up", "--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"],
        &["up", "--mail-hostname", "a b"],
        &["up", "--log", "loud=very"],
        &["leave"],
        &["fleet", "--url", "127.0.0.1:8182"],
        &["restore", "vulcan.snapshot"],
        &["restore", "--store", "redb:p"],
        &["restore", "--store", "redb:p", "--succeed", "soon", "vulcan.snapshot"],
        &[
            "restore",
            "--store",
            "redb:p",
            "--cassandra-ca",
            "ca.pem",
            "vulcan.snapshot",
        ],
    ];
    for args in missing {
        let output = vulcan(args, &[]);
        assert_eq!(output.status.code(), Some(2), "vulcan {args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "vulcan {args:?} printed on stdout");
        assert!(!output.stderr.is_empty(), "vulcan {args:?} gave no reason");
    }
}

#[test]
fn help_and_version_end_with_0() {
    let asked: [&[&str]; 6] = [
        &["--help"],
        &["help"],
        &["help", "up"],
        &["--version"],
        &["up", "--help"],
        &["leave", "--help"],
    ];
    for args in asked {
        let output = vulcan(args, &[]);
        assert_eq!(output.status.code(), Some(0), "vulcan {args:?}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn commands_for_people_name_the_control_plane_that_they_do_not_reach() {
    // Bound and dropped: nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{nobody}");
    for args in [&["fleet"][..], &["revisions"], &["leave", "10.0.0.1:80"]] {
        let output = vulcan(args, &[("VULCAN_URL", &url)]);
        assert_eq!(output.status.code(), Some(1), "vulcan {args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(&url), "vulcan {args:?}: {}", stderr(&output));
    }
}

#[test]
fn help_says_what_is_required_and_what_is_the_default() {
    let help = |command: &str| {
        let shown = vulcan(&[command, "--help"], &[]).stdout;
        let shown = String::from_utf8(shown).unwrap();
        // However wide the terminal is.
        shown.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (command, said) in [
        ("controlplane", "Usage: vulcan controlplane --store <URL> [OPTIONS]"),
        (
            "dataplane",
            "Usage: vulcan dataplane --controlplane <URL,...> [OPTIONS]",
        ),
        (
            "up",
            "[default: redb:DIR/controlplane/log.redb, DIR being that of --data]",
        ),
        ("controlplane", "Process: --config <FILE>"),
        ("dataplane", "Process: --config <FILE>"),
        ("up", "Process: --config <FILE>"),
    ] {
        assert!(
            help(command).contains(said),
            "vulcan {command}: no {said:?} in {}",
            help(command)
        );
    }
    assert!(!help("up").contains("[required]"));
}

#[test]
fn a_file_that_is_not_there_is_named_by_its_flag_and_nothing_else() {
    let output = vulcan(&["up", "--config", "/nonexistent/vulcan.toml"], &[]);
    assert!(
        stderr(&output).starts_with("error: --config /nonexistent/vulcan.toml: "),
        "{}",
        stderr(&output)
    );
    assert!(!stderr(&output).contains("Usage:"), "{}", stderr(&output));
}

/// Whatever was given along with it.
#[test]
fn what_is_missing_is_what_is_required() {
    for (command, required) in [("leave", "<ADDRESS>"), ("hold", "<SERVICE>"), ("resume", "<SERVICE>")] {
        let output = vulcan(&[command, "--url", "http://127.0.0.1:1"], &[]);
        let usage = format!("Usage: vulcan {command} [OPTIONS] {required}\n");
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(&usage), "{}", stderr(&output));
    }
}
