//! Processes under measurement: started on a core, watched through `/proc`, ended with the one who started them.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// A proxy of a million objects reads them before it is ready.
const START: Duration = Duration::from_secs(180);
const STOP: Duration = Duration::from_secs(10);

/// A child process; dropping it ends it.
pub struct Server {
    child: Child,
    name: String,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
    stderr: PathBuf,
}

impl Server {
    /// Starts `command` with all its threads on `core`, or anywhere. What it logs goes to `<scratch>/<name>.log`.
    pub fn start(name: &str, mut command: Command, core: Option<usize>, scratch: &Path) -> io::Result<Server> {
        let stderr = scratch.join(format!("{name}.log"));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&stderr)?);
        let mut child = on_core(core, || command.spawn())?
            .map_err(|error| io::Error::other(format!("{name}: {:?}: {error}", command.get_program())))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                BufReader::new(stdout)
                    .lines()
                    .map_while(Result::ok)
                    .try_for_each(|l| sender.send(l))
            });
        }
        Ok(Server {
            stdin: child.stdin.take(),
            child,
            name: name.into(),
            lines,
            stderr,
        })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its output.
    pub fn line(&mut self, within: Duration) -> io::Result<String> {
        self.lines
            .recv_timeout(within)
            .map_err(|_| self.failure("said nothing in time"))
    }

    /// Waits for `listening <kind> <address>`.
    pub fn listening(&mut self, kind: &str) -> io::Result<SocketAddr> {
        let prefix = format!("listening {kind} ");
        loop {
            if let Some(address) = self.line(START)?.strip_prefix(&prefix) {
                return address
                    .trim()
                    .parse()
                    .map_err(|_| self.failure("announced no socket address"));
            }
        }
    }

    pub fn ready(&mut self) -> io::Result<()> {
        while self.line(START)?.trim() != "ready" {}
        Ok(())
    }

    /// For servers that announce nothing: until something accepts there.
    pub fn accepting(&mut self, address: SocketAddr) -> io::Result<()> {
        let deadline = Instant::now() + START;
        while std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if Instant::now() > deadline || self.child.try_wait()?.is_some() {
                return Err(self.failure("does not listen"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        match &mut self.stdin {
            Some(stdin) => writeln!(stdin, "{line}").and_then(|()| stdin.flush()),
            None => Err(self.failure("has no standard input")),
        }
    }

    pub fn usage(&self) -> io::Result<Usage> {
        usage(self.pid())
    }

    /// SIGKILL; it is gone when this returns.
    pub fn kill(&mut self) -> io::Result<()> {
        self.signal(Signal::KILL);
        self.child.wait().map(drop)
    }

    /// Bytes that it has given to disks so far.
    pub fn written(&self) -> io::Result<u64> {
        let io = fs::read_to_string(format!("/proc/{}/io", self.pid()))?;
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
        written
            .and_then(|bytes| bytes.parse().ok())
            .ok_or_else(|| self.failure("has no count of what it wrote"))
    }

    fn failure(&self, what: &str) -> io::Error {
        let log = fs::read_to_string(&self.stderr).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(5).collect();
        io::Error::other(format!("{} {what}; its log ends: {}", self.name, tail.join(" <- ")))
    }

    /// None once its end has been seen: its id may be another's then.
    fn signal(&mut self, signal: Signal) {
        if let Ok(None) = self.child.try_wait()
            && let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
        {
            let _gone_already = kill_process(pid, signal);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stdin = None;
        self.signal(Signal::TERM);
        let deadline = Instant::now() + STOP;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.signal(Signal::KILL);
                let _reaped = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, to the kernel's tick.
    pub cpu: Duration,
    /// Resident bytes.
    pub memory: u64,
}

/// Of this thread on a processor, to the nanosecond: whatever else runs there takes none of it.
pub fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

pub fn usage(pid: u32) -> io::Result<Usage> {
    let invalid = || io::Error::other(format!("/proc/{pid} reads otherwise than expected"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name and may hold spaces; utime and stime are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(") ").ok_or_else(invalid)?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u64 = fields
        .get(11..13)
        .ok_or_else(invalid)?
        .iter()
        .filter_map(|t| t.parse::<u64>().ok())
        .sum();
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .ok_or_else(invalid)?;
    let cpu = Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
    Ok(Usage {
        cpu,
        memory: pages * rustix::param::page_size() as u64,
    })
}

/// What [`peak`] tells begins anew with what is resident now (proc_pid_clear_refs(5)).
pub fn forget_peak(pid: u32) -> io::Result<()> {
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
}

/// The most resident bytes that a process has had so far.
pub fn peak(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/status reads otherwise than expected")))
}

/// Runs `work` with this thread on `core`: what it starts there stays there.
pub fn on_core<T>(core: Option<usize>, work: impl FnOnce() -> T) -> io::Result<T> {
    let Some(core) = core else { return Ok(work()) };
    let before = sched_getaffinity(None)?;
    pin(core)?;
    let result = work();
    sched_setaffinity(None, &before)?;
    Ok(result)
}

pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Thousands of connections need descriptors; children inherit the limit.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// A port that was free a moment ago, for servers that cannot choose one themselves.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}
