//! nginx and HAProxy as Debian packages them, tuned as their friends would: one worker, kept connections to the origin,
//! no log, limits and buffers raised to what the load needs.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::{Server, free_address};

const NEEDED: &str = "the comparison needs Debian's packages nginx and haproxy: apt-get install nginx-light haproxy";

/// `buffers` of 128 KiB hold a whole large answer; without, what nginx does by default.
pub fn nginx(scratch: &Path, core: usize, origin: SocketAddr, buffers: bool) -> io::Result<(Server, SocketAddr)> {
    let address = free_address()?;
    let (name, buffering) = match buffers {
        false => ("nginx", ""),
        true => (
            "nginx-128k",
            "proxy_buffer_size 128k; proxy_buffers 8 128k; proxy_busy_buffers_size 256k; client_body_buffer_size 128k;",
        ),
    };
    let directory = scratch.join(name);
    fs::create_dir_all(&directory)?;
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", directory.join(kind).display()))
        .concat();
    let configuration = format!(
        "daemon off; master_process off; pid {pid}; error_log stderr crit; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
access_log off; tcp_nodelay on; keepalive_timeout 300s; keepalive_requests 1000000000; client_max_body_size 50m;
{temporary}{buffering}
upstream origin {{ server {origin}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 300s; }}
server {{
listen {address} backlog=4096;
location / {{ proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }}
}} }}",
        pid = directory.join("pid").display(),
    );
    let file = directory.join("nginx.conf");
    fs::write(&file, configuration)?;
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(&directory)
        .arg("-e")
        .arg("stderr")
        .arg("-c")
        .arg(&file);
    start(name, command, core, scratch, address)
}

/// `splice` moves large answers by `splice(2)`.
pub fn haproxy(scratch: &Path, core: usize, origin: SocketAddr, splice: bool) -> io::Result<(Server, SocketAddr)> {
    let address = free_address()?;
    let (name, option) = if splice {
        ("haproxy-splice", "option splice-response")
    } else {
        ("haproxy", "")
    };
    let configuration = format!(
        "global
  nbthread 1
  maxconn 6000
  tune.pool-low-fd-ratio 60
  tune.pool-high-fd-ratio 80
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  http-reuse always
  {option}
frontend edge
  bind {address} backlog 4096
  default_backend origin
backend origin
  server a {origin} pool-max-conn -1 pool-purge-delay 300s
"
    );
    let file = scratch.join(format!("{name}.cfg"));
    fs::write(&file, configuration)?;
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(&file);
    start(name, command, core, scratch, address)
}

fn start(
    name: &str,
    command: Command,
    core: usize,
    scratch: &Path,
    address: SocketAddr,
) -> io::Result<(Server, SocketAddr)> {
    let mut server = Server::start(name, command, Some(core), scratch)
        .map_err(|error| io::Error::other(format!("{error}; {NEEDED}")))?;
    server.accepting(address)?;
    Ok((server, address))
}
