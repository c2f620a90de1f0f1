//! One `vulcan` process: a control plane, a proxy or both, that can be stopped, killed and started again where it was.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::api::Api;
use crate::binary;
use crate::process::Process;

pub struct Node {
    pub name: String,
    arguments: Vec<String>,
    /// Listeners by kind; where they are bound once that is known, so that a restart finds its old place.
    listeners: BTreeMap<&'static str, Option<SocketAddr>>,
    logs: PathBuf,
    /// Bytes; none of its files grows beyond them.
    file_max: Option<u64>,
    starts: u32,
    process: Process,
}

impl Node {
    /// Starts a process that opens the listeners named by `kinds`, all on ports of the system's choice.
    pub fn launch(name: &str, arguments: Vec<String>, kinds: &[&'static str], logs: PathBuf) -> Node {
        Node::launch_under(name, arguments, kinds, logs, None)
    }

    /// As `launch`; where there is a `file_max`, a file that would grow beyond it is refused to the process as by a full disk.
    pub fn launch_under(
        name: &str,
        arguments: Vec<String>,
        kinds: &[&'static str],
        logs: PathBuf,
        file_max: Option<u64>,
    ) -> Node {
        let listeners: BTreeMap<_, _> = kinds.iter().map(|kind| (*kind, None)).collect();
        let process = spawn(name, &arguments, &listeners, &logs, 0, file_max);
        Node {
            name: name.to_owned(),
            arguments,
            listeners,
            logs,
            file_max,
            starts: 0,
            process,
        }
    }

    /// Waits until it says `ready`, which comes after all its listeners.
    pub async fn ready(&mut self) {
        self.process
            .line("`ready`", 0, |line| (line == "ready").then_some(()))
            .await;
        let kinds: Vec<&'static str> = self.listeners.keys().copied().collect();
        for kind in kinds {
            self.listening(kind).await;
        }
    }

    /// Waits for the line that tells where a listener is.
    pub async fn listening(&mut self, kind: &'static str) -> SocketAddr {
        let prefix = format!("listening {kind} ");
        let address = self
            .process
            .line(&prefix, 0, |line| line.strip_prefix(&prefix)?.parse().ok())
            .await;
        self.listeners.insert(kind, Some(address));
        address
    }

    /// Starts it again after its end, on the addresses that it had.
    pub fn start(&mut self) {
        assert!(!self.process.running(), "{} still runs", self.name);
        self.starts += 1;
        self.process = spawn(
            &self.name,
            &self.arguments,
            &self.listeners,
            &self.logs,
            self.starts,
            self.file_max,
        );
    }

    pub async fn restart(&mut self) {
        self.kill();
        self.start();
        self.ready().await;
    }

    /// From the next start on.
    pub fn argue(&mut self, flag: &str, value: &str) {
        match self.arguments.iter().position(|argument| argument == flag) {
            Some(at) => self.arguments[at + 1] = value.to_owned(),
            None => self.arguments.extend([flag.to_owned(), value.to_owned()]),
        }
    }

    fn at(&self, kind: &str) -> SocketAddr {
        let address = self.listeners.get(kind).copied().flatten();
        address.unwrap_or_else(|| panic!("{} has told of no {kind} listener yet", self.name))
    }

    pub fn http(&self) -> SocketAddr {
        self.at("http")
    }

    pub fn smtp(&self) -> SocketAddr {
        self.at("smtp")
    }

    pub fn smtps(&self) -> SocketAddr {
        self.at("smtps")
    }

    pub fn status(&self) -> SocketAddr {
        self.at("status")
    }

    pub fn admin(&self) -> SocketAddr {
        self.at("admin")
    }

    pub fn api(&self) -> Api {
        Api::new(self.admin())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGSTOP: the machine that stands still.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }

    pub fn interrupt(&self) {
        self.process.signal(Signal::INT);
    }

    /// Its exit status, once it has ended by itself; `None` when a signal ended it.
    pub async fn exit(&mut self) -> Option<i32> {
        self.process.exit().await.code()
    }

    pub fn running(&mut self) -> bool {
        self.process.running()
    }

    /// In bytes.
    pub fn peak_memory(&self) -> u64 {
        self.process.peak_memory()
    }

    /// Whether its memory holds this text; none where the kernel lets nobody look.
    pub fn remembers(&self, text: &str) -> Option<bool> {
        self.process.remembers(text.as_bytes())
    }

    /// Bytes of it that are in memory.
    pub fn memory(&self) -> u64 {
        self.process.memory()
    }

    pub fn lines(&self) -> Vec<String> {
        self.process.lines()
    }

    pub fn logged(&self) -> String {
        self.process.logged()
    }

    /// The status code of a path at the status port.
    pub async fn probe(&self, path: &str) -> u16 {
        Api::new(self.status()).get(path).await.status
    }

    /// Waits until the status port answers `/readyz` so.
    pub async fn readiness(&self, expected: u16) {
        crate::eventually(&format!("{}: /readyz {expected}", self.name), async || {
            self.probe("/readyz").await == expected
        })
        .await;
    }
}

fn spawn(
    name: &str,
    arguments: &[String],
    listeners: &BTreeMap<&'static str, Option<SocketAddr>>,
    logs: &std::path::Path,
    starts: u32,
    file_max: Option<u64>,
) -> Process {
    let mut command = binary::vulcan();
    if let Some(file_max) = file_max {
        command = limited(&command, file_max);
    }
    command.args(arguments).current_dir(logs);
    for (kind, address) in listeners {
        let address = address.map_or_else(|| "127.0.0.1:0".to_owned(), |address| address.to_string());
        command.arg(format!("--{kind}")).arg(address);
    }
    Process::spawn(name, &mut command, &logs.join(format!("{name}.{starts}.log")))
}

/// The signal that comes with the limit would end it.
fn limited(command: &Command, file_max: u64) -> Command {
    const UNIT: u64 = 512;
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", file_max / UNIT);
    let mut shell = Command::new("sh");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.args(["-c", &script]).arg(command.get_program());
    shell
}
