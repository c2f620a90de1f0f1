//! The mail servers that are compared, each on one core: Vulcan, Haraka with one process, and Postfix's smtp-sink, which
//! does nothing with what it gets.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::sink::AUTHORIZE;
use crate::process::{Server, free_address};
use crate::rest::Client;
use crate::vulcan::{ControlPlane, Vulcan, address};

/// What `bench/run` has installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// With `node_modules` and the plugin.
    pub haraka: PathBuf,
    /// The unpacked package.
    pub postfix: PathBuf,
}

/// Whose recipients take mail from anybody.
pub const ANYBODY: &str = "bob@bench.test";
/// Whose senders have to log in.
pub const AUTHORIZED: &str = "bob@authorized.test";

/// The name of the one that does nothing.
pub const NOTHING: &str = "smtp-sink";

pub struct Contender {
    pub name: &'static str,
    pub server: Server,
    pub smtp: SocketAddr,
    /// Whether clients log in, where they can.
    pub knows_users: bool,
    _plane: Option<ControlPlane>,
}

impl Contender {
    /// Both services under one limit, and one of them behind an authorizer.
    pub fn vulcan(vulcan: &Vulcan, sink: SocketAddr, core: usize, scratch: &Path) -> io::Result<Contender> {
        let plane = vulcan.control_plane(scratch, None)?;
        let proxy = vulcan.mail_proxy(scratch, Some(core), "mail", plane.admin)?;
        let mut client = Client::new(plane.admin);
        let authorizer = format!(r#"{{"service":"auth","path":"{AUTHORIZE}","timeout":"10s"}}"#);
        let limit = r#"{"protocol":"SMTP","threshold":1000000000,"period":60}"#;
        for (path, body) in [
            ("/v1/services/auth", r#"{"match":[]}"#.to_owned()),
            ("/v1/services/auth/upstreams/a", address(sink, 1)),
            ("/v1/authorizers/bench", authorizer),
            ("/v1/services/anybody", mail("bench.test", "null")),
            ("/v1/services/anybody/upstreams/a", address(sink, 1)),
            ("/v1/services/known", mail("authorized.test", r#""bench""#)),
            ("/v1/services/known/upstreams/a", address(sink, 1)),
            ("/v1/limits/00000000-0000-4000-8000-000000000001", limit.to_owned()),
        ] {
            client.put(path, &body)?.success()?;
        }
        Ok(Contender {
            name: "vulcan",
            server: proxy.server,
            smtp: proxy.smtp,
            knows_users: true,
            _plane: Some(plane),
        })
    }

    pub fn haraka(installed: &Installed, sink: SocketAddr, core: usize, scratch: &Path) -> io::Result<Contender> {
        let address = free_address()?;
        let home = scratch.join("haraka");
        let spool = home.join("spool");
        let (config, plugins) = (home.join("config"), home.join("plugins"));
        for directory in [&spool, &config, &plugins] {
            fs::create_dir_all(directory)?;
        }
        fs::copy(installed.haraka.join("http_queue.js"), plugins.join("http_queue.js"))?;
        let connection = format!(
            "[main]\nspool_dir={}\nspool_after=262144\n[max]\nbytes=60000000\ndata_line_length=100000\n\
             [message]\nhelo=hello\nclose=bye\n[headers]\n[haproxy]\n[uuid]\n",
            spool.display()
        );
        for (name, content) in [
            ("smtp.ini", format!("listen={address}\nnodes=0\n")),
            ("connection.ini", connection),
            ("plugins", "http_queue\n".to_owned()),
            ("me", "bench.test\n".to_owned()),
            ("loglevel", "ERROR\n".to_owned()),
        ] {
            fs::write(config.join(name), content)?;
        }
        let mut command = Command::new("node");
        command.arg(installed.haraka.join("node_modules/Haraka/bin/haraka"));
        command
            .arg("-c")
            .arg(&home)
            .env("BENCH_SINK", format!("http://{sink}/messages"));
        Contender::silent("haraka", command, address, core, scratch)
    }

    pub fn nothing(installed: &Installed, core: usize, scratch: &Path) -> io::Result<Contender> {
        let address = free_address()?;
        let mut command = postfix(installed, NOTHING);
        if rustix::process::geteuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        command.arg(address.to_string()).arg("4096");
        Contender::silent(NOTHING, command, address, core, scratch)
    }

    /// One that does not tell where it listens.
    fn silent(
        name: &'static str,
        command: Command,
        address: SocketAddr,
        core: usize,
        scratch: &Path,
    ) -> io::Result<Contender> {
        let mut server = Server::start(name, command, Some(core), scratch)?;
        server.accepting(address)?;
        Ok(Contender {
            name,
            server,
            smtp: address,
            knows_users: false,
            _plane: None,
        })
    }
}

fn mail(domain: &str, authorizer: &str) -> String {
    format!(r#"{{"match":[{{"recipients":["{domain}"]}}],"authorizer":{authorizer},"max_body":"60MB"}}"#)
}

/// A program of the unpacked package.
pub fn postfix(installed: &Installed, program: &str) -> Command {
    let mut command = Command::new(installed.postfix.join("usr/sbin").join(program));
    command.env("LD_LIBRARY_PATH", installed.postfix.join("usr/lib/postfix"));
    command
}
