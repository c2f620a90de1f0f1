//! The `vulcan` under measurement, as two kinds of processes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::Server;
use crate::rest::Client;

/// Where the binary is.
#[derive(Clone, Debug)]
pub struct Vulcan(pub PathBuf);

pub struct ControlPlane {
    pub server: Server,
    pub admin: SocketAddr,
}

pub struct Proxy {
    pub server: Server,
    pub http: SocketAddr,
}

pub struct MailProxy {
    pub server: Server,
    pub smtp: SocketAddr,
}

impl ControlPlane {
    fn ready(mut server: Server) -> io::Result<ControlPlane> {
        let admin = server.listening("admin")?;
        server.ready()?;
        Ok(ControlPlane { server, admin })
    }
}

impl Vulcan {
    pub fn control_plane(&self, scratch: &Path, core: Option<usize>) -> io::Result<ControlPlane> {
        self.control_plane_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), scratch, core)
    }

    /// One that is started again has to be where the proxies look for it.
    pub fn control_plane_at(&self, admin: SocketAddr, scratch: &Path, core: Option<usize>) -> io::Result<ControlPlane> {
        let mut command = Command::new(&self.0);
        command.args([
            "controlplane",
            "--log",
            "warn",
            "--admin",
            &admin.to_string(),
            "--store",
        ]);
        command.arg(format!("redb:{}", scratch.join("store.redb").display()));
        ControlPlane::ready(Server::start("controlplane", command, core, scratch)?)
    }

    /// One on any store.
    pub fn control_plane_on(&self, scratch: &Path, name: &str, store: &str) -> io::Result<ControlPlane> {
        let mut command = Command::new(&self.0);
        command.args([
            "controlplane",
            "--log",
            "error",
            "--admin",
            "127.0.0.1:0",
            "--store",
            store,
        ]);
        ControlPlane::ready(Server::start(name, command, None, scratch)?)
    }

    /// One worker, so that one core is what it needs.
    pub fn proxy(&self, scratch: &Path, core: Option<usize>, name: &str, admin: SocketAddr) -> io::Result<Proxy> {
        let mut server = Server::start(name, self.dataplane(scratch, name, admin), core, scratch)?;
        let http = server.listening("http")?;
        server.ready()?;
        Ok(Proxy { server, http })
    }

    /// As `proxy`, for mail: whoever is on loopback is trusted, and so may log in without TLS.
    pub fn mail_proxy(
        &self,
        scratch: &Path,
        core: Option<usize>,
        name: &str,
        admin: SocketAddr,
    ) -> io::Result<MailProxy> {
        let mut command = self.dataplane(scratch, name, admin);
        command.args(["--smtp", "127.0.0.1:0", "--trusted", "127.0.0.0/8"]);
        let mut server = Server::start(name, command, core, scratch)?;
        let smtp = server.listening("smtp")?;
        server.ready()?;
        Ok(MailProxy { server, smtp })
    }

    fn dataplane(&self, scratch: &Path, name: &str, admin: SocketAddr) -> Command {
        let mut command = Command::new(&self.0);
        command.args(["dataplane", "--log", "warn", "--workers", "1", "--http", "127.0.0.1:0"]);
        command.args(["--status", "127.0.0.1:0", "--name", name]);
        command.args(["--controlplane", &format!("http://{admin}")]);
        command.arg("--data").arg(scratch.join(name));
        command
    }
}

/// Registers services `s0`…, each for its own host, each with one upstream `a`; they are live when this returns.
///
/// Only the last write waits: revisions apply in order, so it speaks for all before it.
pub fn seed(
    admin: SocketAddr,
    services: std::ops::Range<usize>,
    upstream: impl Fn(usize) -> SocketAddr + Sync,
) -> io::Result<()> {
    let Some(last) = services.end.checked_sub(1).filter(|last| *last >= services.start) else {
        return Ok(());
    };
    together(admin, services, |client, n| {
        let path = format!("/v1/services/s{n}");
        client.put(&format!("{path}?wait=none"), &service(n))?.success()?;
        let upstream = address(upstream(n), 1);
        client
            .put(&format!("{path}/upstreams/a?wait=none"), &upstream)?
            .success()?;
        Ok(())
    })?;
    Client::new(admin)
        .put(&format!("/v1/services/s{last}?timeout=60s"), &service(last))?
        .success()
        .map(drop)
}

/// Many calls at a time, each made once for its turn, in no order.
pub fn together(
    admin: SocketAddr,
    turns: std::ops::Range<usize>,
    call: impl Fn(&mut Client, usize) -> io::Result<()> + Sync,
) -> io::Result<()> {
    let next = AtomicUsize::new(turns.start);
    let work = || -> io::Result<()> {
        let mut client = Client::new(admin);
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= turns.end {
                return Ok(());
            }
            call(&mut client, turn)?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..64).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| io::Error::other("a writer panicked"))?)
    })
}

pub fn host(service: usize) -> String {
    format!("s{service}.bench.test")
}

/// An address of its own for each service, at which nothing listens and nothing is asked: upstreams that share one would
/// all be named in every answer about it.
pub fn nowhere(service: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(0x7f40_0000 + service as u32), 9))
}

pub fn service(n: usize) -> String {
    format!(r#"{{"match":[{{"hosts":["{}"]}}]}}"#, host(n))
}

pub fn address(address: SocketAddr, weight: u16) -> String {
    format!(r#"{{"address":"{address}","weight":{weight}}}"#)
}
