//! Postfix's smtp-source: it sends so many messages over so many sessions, a command at a time, and cannot log in.

use std::io;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::contender::{ANYBODY, Contender, Installed, postfix};
use crate::process::on_core;

/// How long it took; an error is anything but 250 for all of them.
pub fn send(
    installed: &Installed,
    to: &Contender,
    sessions: usize,
    messages: usize,
    bytes: usize,
    core: usize,
) -> io::Result<Duration> {
    let mut command = postfix(installed, "smtp-source");
    command.args([
        "-d",
        "-s",
        &sessions.to_string(),
        "-m",
        &messages.to_string(),
        "-l",
        &bytes.to_string(),
    ]);
    command.args([
        "-M",
        "bench.test",
        "-f",
        "a@sender.test",
        "-t",
        ANYBODY,
        &to.smtp.to_string(),
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let began = Instant::now();
    let output = on_core(Some(core), || command.spawn())??.wait_with_output()?;
    let took = began.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.success() && said.is_empty() {
        true => Ok(took),
        false => Err(io::Error::other(format!(
            "smtp-source to {}: {}",
            to.name,
            said.trim_end()
        ))),
    }
}
