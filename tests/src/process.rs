//! A child process: its stdout as lines to wait for, its stderr in a file, signals, and its end with the test's.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::watch;

/// Generous: a debug build on two busy cores. Nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Stdout {
    lines: Vec<String>,
    ended: bool,
}

pub struct Process {
    pub label: String,
    child: Child,
    stdout: watch::Receiver<Stdout>,
    log: PathBuf,
}

impl Process {
    pub fn spawn(label: &str, command: &mut Command, log: &Path) -> Process {
        let stderr = File::create(log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{label}: cannot start {command:?}: {error}"));
        let pipe = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, stdout) = watch::channel(Stdout::default());
        std::thread::spawn(move || {
            for line in pipe.lines().map_while(Result::ok) {
                sender.send_modify(|stdout| stdout.lines.push(line));
            }
            sender.send_modify(|stdout| stdout.ended = true);
        });
        Process {
            label: label.to_owned(),
            child,
            stdout,
            log: log.to_owned(),
        }
    }

    /// What `find` makes of the first line of stdout that it accepts, waiting for it; the lines before `from` are
    /// passed over.
    pub async fn line<T>(&self, what: &str, from: usize, find: impl Fn(&str) -> Option<T>) -> T {
        let mut stdout = self.stdout.clone();
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let seen = stdout.borrow_and_update().clone();
                if let Some(found) = seen.lines.iter().skip(from).find_map(|line| find(line)) {
                    return Some(found);
                }
                if seen.ended || stdout.changed().await.is_err() {
                    return None;
                }
            }
        });
        match found.await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("{} ended without {what}", self.label),
            Err(_) => panic!("{}: no {what} within {PATIENCE:?}", self.label),
        }
    }

    pub fn lines(&self) -> Vec<String> {
        self.stdout.borrow().lines.clone()
    }

    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a command to a child that reads them and awaits the line that answers it.
    pub async fn tell(&mut self, command: &str) -> String {
        let from = self.lines().len();
        let stdin = self.child.stdin.as_mut().expect("stdin is piped");
        writeln!(stdin, "{command}").unwrap_or_else(|error| panic!("{}: {command}: {error}", self.label));
        self.line(command, from, |line| Some(line.to_owned())).await
    }

    /// For a child that ends by itself when there is nobody to read from any more.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// The most memory that it has had so far, in bytes, as the kernel counts it.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_else(|error| panic!("{}: {error}", self.label));
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kilobytes.expect("the kernel tells of it in kB") * 1024
    }

    /// Whether its memory holds these bytes; none where the kernel lets nobody look.
    pub fn remembers(&self, bytes: &[u8]) -> Option<bool> {
        let id = self.child.id();
        let maps = std::fs::read_to_string(format!("/proc/{id}/maps")).ok()?;
        let memory = File::open(format!("/proc/{id}/mem")).ok()?;
        let (mut seen, mut found) = (false, false);
        for (from, to) in maps.lines().filter_map(writable) {
            let mut region = vec![0; to - from];
            // Some that are listed cannot be read.
            if memory.read_exact_at(&mut region, from as u64).is_ok() {
                seen = true;
                found |= holds(&region, bytes);
            }
        }
        seen.then_some(found)
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{}: {signal:?}: {error}", self.label));
    }

    /// SIGSTOP, and each of its threads stands still: the signal alone is obeyed when they have their turn.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let begun = Instant::now();
        while !self.is_still() {
            assert!(begun.elapsed() < PATIENCE, "{}: it does not stand still", self.label);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_still(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let mut threads = threads.into_iter().flatten().flatten();
        threads.all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state stands behind the name, which may hold anything. One that has gone stands still.
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
            matches!(state, None | Some(b'T' | b'Z' | b'X'))
        })
    }

    /// Its resident set in bytes.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = kilobytes.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        number.unwrap_or_else(|| panic!("{}: how large it is", self.label)) * 1024
    }

    /// SIGKILL, and the child is reaped.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the child to end by itself.
    pub async fn exit(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{} has not ended within {PATIENCE:?}",
                self.label
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Most of what is mapped has never been written to, and is passed over.
fn holds(region: &[u8], bytes: &[u8]) -> bool {
    const BLOCK: usize = 4096;
    let nothing = vec![0; BLOCK + bytes.len()];
    (0..region.len()).step_by(BLOCK).any(|from| {
        let block = &region[from..region.len().min(from + BLOCK + bytes.len())];
        block != &nothing[..block.len()] && block.windows(bytes.len()).any(|window| window == bytes)
    })
}

/// The bounds of a region in a line of `/proc/<pid>/maps`, if it can be written to.
fn writable(line: &str) -> Option<(usize, usize)> {
    let (bounds, rest) = line.split_once(' ')?;
    let (from, to) = bounds.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    rest.starts_with("rw").then_some((address(from)?, address(to)?))
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.logged();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            eprintln!("--- {}: stdout {:?}, stderr ends in:", self.label, self.lines());
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
