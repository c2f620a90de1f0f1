//! A test's own world: a directory of its own, and the processes that it starts there.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::node::Node;
use crate::origin::{Origin, Start};

pub struct World {
    directory: TempDir,
}

impl Default for World {
    fn default() -> World {
        World {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }
}

fn arguments(command: &str, own: &[(&str, &str)], extra: &[&str]) -> Vec<String> {
    let own = own.iter().flat_map(|(flag, value)| [*flag, *value]);
    std::iter::once(command)
        .chain(own)
        .chain(extra.iter().copied())
        .map(str::to_owned)
        .collect()
}

impl World {
    pub fn new() -> World {
        World::default()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary paths are UTF-8").to_owned()
    }

    /// Where the control plane called `name` keeps its store.
    pub fn store(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.redb"))
    }

    /// A control plane with its own store, ready.
    pub async fn control_plane(&self, name: &str, extra: &[&str]) -> Node {
        let mut node = self.control_plane_launched(name, extra);
        node.ready().await;
        node
    }

    pub fn control_plane_launched(&self, name: &str, extra: &[&str]) -> Node {
        let store = format!("redb:{}", self.text(&format!("{name}.redb")));
        self.control_plane_on(name, &store, extra)
    }

    /// A control plane whose store is anywhere, launched.
    pub fn control_plane_on(&self, name: &str, store: &str, extra: &[&str]) -> Node {
        let arguments = arguments("controlplane", &[("--store", store)], extra);
        Node::launch(name, arguments, &["admin"], self.path(""))
    }

    /// A proxy of the control plane at `url`, ready.
    pub async fn proxy(&self, name: &str, url: &str, extra: &[&str]) -> Node {
        let mut node = self.proxy_launched(name, url, extra);
        node.ready().await;
        node
    }

    pub fn proxy_launched(&self, name: &str, url: &str, extra: &[&str]) -> Node {
        self.proxy_in(name, name, url, extra)
    }

    /// A proxy whose data directory, and label here, is not its name in the fleet; launched.
    pub fn proxy_in(&self, directory: &str, name: &str, url: &str, extra: &[&str]) -> Node {
        let data = self.text(directory);
        let own = [("--controlplane", url), ("--name", name), ("--data", &data)];
        let arguments = arguments("dataplane", &own, extra);
        Node::launch(directory, arguments, &["http", "status"], self.path(""))
    }

    /// `vulcan up`, ready.
    pub async fn up(&self, extra: &[&str]) -> Node {
        let data = self.text("up");
        let arguments = arguments("up", &[("--data", &data)], extra);
        let mut node = Node::launch("up", arguments, &["http", "smtp", "admin"], self.path(""));
        node.ready().await;
        node
    }

    /// As `fleet`; the proxies take mail, too.
    pub async fn mail_fleet(&self, proxies: usize, extra: &[&str]) -> (Node, Vec<Node>) {
        let control = self.control_plane("control", &[]).await;
        let url = control.api().url();
        let launch = |n| self.mail_proxy_launched(&format!("p{n}"), &url, extra, None);
        let mut fleet: Vec<Node> = (1..=proxies).map(launch).collect();
        for node in &mut fleet {
            node.ready().await;
        }
        (control, fleet)
    }

    /// A proxy that takes mail and none of whose files grows beyond `file_max` bytes, ready.
    pub async fn mail_proxy_under(&self, name: &str, url: &str, file_max: u64) -> Node {
        let mut node = self.mail_proxy_launched(name, url, &[], Some(file_max));
        node.ready().await;
        node
    }

    fn mail_proxy_launched(&self, name: &str, url: &str, extra: &[&str], file_max: Option<u64>) -> Node {
        let data = self.text(name);
        let own = [("--controlplane", url), ("--name", name), ("--data", &data)];
        let arguments = arguments("dataplane", &own, extra);
        Node::launch_under(name, arguments, &["http", "status", "smtp"], self.path(""), file_max)
    }

    /// A control plane and proxies `p1`, `p2`, …, all ready and members.
    pub async fn fleet(&self, proxies: usize, extra: &[&str]) -> (Node, Vec<Node>) {
        let control = self.control_plane("control", &[]).await;
        let url = control.api().url();
        let mut fleet: Vec<Node> = (1..=proxies)
            .map(|n| self.proxy_launched(&format!("p{n}"), &url, extra))
            .collect();
        for node in &mut fleet {
            node.ready().await;
        }
        (control, fleet)
    }

    /// An origin in a process of its own, on a port of the system's choice.
    pub async fn origin(&self, id: &str) -> Origin {
        Origin::start(id, "127.0.0.1:0", &self.path(&format!("origin-{id}.log"))).await
    }

    /// An origin that is not well at once.
    pub async fn slow_origin(&self, id: &str, start: Start) -> Origin {
        Origin::start_slowly(id, start, &self.path(&format!("origin-{id}.log"))).await
    }

    /// An origin at the address that another one had.
    pub async fn origin_at(&self, id: &str, address: std::net::SocketAddr) -> Origin {
        Origin::start(id, &address.to_string(), &self.path(&format!("origin-{id}.log"))).await
    }
}
