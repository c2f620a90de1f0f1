//! CPU per request of each proxy, as ratios within one run: the figure that noise on the machine spares.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::load::{Load, Mode};
use super::rivals;
use crate::process::{Server, pin, usage};
use crate::report::{Table, against, median, megabytes, micros};
use crate::vulcan::{self, ControlPlane, Proxy, Vulcan};

const PROXY_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const FLOOR: &str = "floor (blind relay)";
const NGINX: &str = "nginx";
const NGINX_LARGE: &str = "nginx, 128 KiB buffers";
const HAPROXY: &str = "haproxy";
const HAPROXY_SPLICE: &str = "haproxy, splice";
const VULCAN: &str = "vulcan";

const WARM_UP: Duration = Duration::from_millis(300);

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Kept connections of the load.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Kept connections of a further part with small answers; 0 leaves it out.
    #[arg(long, default_value_t = 1_000)]
    many: usize,
    /// Interleaved rounds; the tables show medians over them.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each proxy is measured in each round and mode.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Services that Vulcan routes among; the load goes to one of them.
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    /// Leaves Vulcan out.
    #[arg(long)]
    rivals_only: bool,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Mode::Small, Mode::Large, Mode::Upload])]
    modes: Vec<Mode>,
}

struct Contender {
    name: &'static str,
    server: Server,
    address: SocketAddr,
    /// Before any load.
    memory_idle: u64,
}

/// One contender in one mode.
#[derive(Default)]
struct Figures {
    cpu: Vec<f64>,
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    /// What load and origin spent per request.
    own: Vec<f64>,
    failures: u64,
    failure: Option<String>,
    memory: u64,
}

pub fn run(vulcan: &Vulcan, options: &Options, scratch: &Path) -> io::Result<()> {
    let origin = Origin::start(Some(LOAD_CORE), scratch)?;
    let mut contenders = rivals(origin.address, scratch)?;
    // Held until the end: a proxy whose control plane is gone would be another measurement.
    let mut plane = None;
    if !options.rivals_only {
        let (control_plane, proxy) = fleet_of_one(vulcan, options.services, origin.address, scratch)?;
        contenders.push(Contender::new(VULCAN, proxy.server, proxy.http)?);
        plane = Some(control_plane);
    }
    pin(LOAD_CORE)?;
    println!(
        "\n## HTTP path\n\n{} interleaved rounds of {} s each, medians. Proxies on one core, load and \
         origin on the other. Vulcan routes among {} services. Authorization and limits are not part of it yet.",
        options.rounds, options.seconds, options.services
    );
    let parts = options.modes.iter().map(|mode| (*mode, options.connections));
    for (mode, connections) in parts.chain([(Mode::Small, options.many)].into_iter().filter(|(_, many)| *many > 0)) {
        let figures = measure(&contenders, &origin.server, mode, connections, options)?;
        println!("\n### {}, {connections} connections\n", mode.name());
        print(&contenders, &figures);
        goals(mode, connections, &contenders, &figures);
    }
    drop(plane);
    Ok(())
}

/// An origin in a process of its own.
pub struct Origin {
    pub server: Server,
    pub address: SocketAddr,
}

impl Origin {
    pub fn start(core: Option<usize>, scratch: &Path) -> io::Result<Origin> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("origin");
        let mut server = Server::start("origin", command, core, scratch)?;
        let address = server.listening("origin")?;
        Ok(Origin { server, address })
    }
}

fn rivals(origin: SocketAddr, scratch: &Path) -> io::Result<Vec<Contender>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["relay", "--origin", &origin.to_string()]);
    let mut relay = Server::start("relay", command, Some(PROXY_CORE), scratch)?;
    let address = relay.listening("relay")?;
    let mut contenders = vec![Contender::new(FLOOR, relay, address)?];
    for (name, buffers) in [(NGINX, false), (NGINX_LARGE, true)] {
        let (server, address) = rivals::nginx(scratch, PROXY_CORE, origin, buffers)?;
        contenders.push(Contender::new(name, server, address)?);
    }
    for (name, splice) in [(HAPROXY, false), (HAPROXY_SPLICE, true)] {
        let (server, address) = rivals::haproxy(scratch, PROXY_CORE, origin, splice)?;
        contenders.push(Contender::new(name, server, address)?);
    }
    Ok(contenders)
}

fn fleet_of_one(
    vulcan: &Vulcan,
    services: usize,
    origin: SocketAddr,
    scratch: &Path,
) -> io::Result<(ControlPlane, Proxy)> {
    let plane = vulcan.control_plane(scratch, Some(LOAD_CORE))?;
    let upstream = |n| if n == 0 { origin } else { vulcan::nowhere(n) };
    vulcan::seed(plane.admin, 0..services.max(1), upstream)?;
    let proxy = vulcan.proxy(scratch, Some(PROXY_CORE), "bench", plane.admin)?;
    Ok((plane, proxy))
}

impl Contender {
    fn new(name: &'static str, server: Server, address: SocketAddr) -> io::Result<Contender> {
        let memory_idle = server.usage()?.memory;
        Ok(Contender {
            name,
            server,
            address,
            memory_idle,
        })
    }
}

fn measure(
    contenders: &[Contender],
    origin: &Server,
    mode: Mode,
    connections: usize,
    options: &Options,
) -> io::Result<Vec<Figures>> {
    let mut figures: Vec<Figures> = contenders.iter().map(|_| Figures::default()).collect();
    let window = Duration::from_secs_f64(options.seconds);
    for _ in 0..options.rounds {
        for (contender, figures) in contenders.iter().zip(&mut figures) {
            let mut load = Load::new(contender.address, &vulcan::host(0), mode, connections)?;
            load.run(WARM_UP)?;
            let own = || -> io::Result<Duration> { Ok(usage(std::process::id())?.cpu + origin.usage()?.cpu) };
            let (own_before, before) = (own()?, contender.server.usage()?);
            let outcome = load.run(window)?;
            let (after, own_after) = (contender.server.usage()?, own()?);
            let requests = outcome.latencies.count().max(1) as f64;
            figures.cpu.push((after.cpu - before.cpu).as_secs_f64() / requests);
            figures.own.push((own_after - own_before).as_secs_f64() / requests);
            figures.rate.push(requests / outcome.elapsed.as_secs_f64());
            figures.p50.push(outcome.latencies.quantile(0.5).as_secs_f64());
            figures.p99.push(outcome.latencies.quantile(0.99).as_secs_f64());
            figures.memory = figures.memory.max(after.memory);
            figures.failures += outcome.failures;
            figures.failure = figures.failure.take().or(outcome.failure);
        }
    }
    Ok(figures)
}

fn print(contenders: &[Contender], figures: &[Figures]) {
    let mut table = Table::new([
        "proxy",
        "CPU µs/request",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "load+origin µs/request",
        "idle MB",
        "MB",
        "failed",
    ]);
    for (contender, figures) in contenders.iter().zip(figures) {
        let us = |values: &[f64]| micros(Duration::from_secs_f64(median(values)));
        table.row([
            contender.name.into(),
            us(&figures.cpu),
            format!("{:.0}", median(&figures.rate)),
            us(&figures.p50),
            us(&figures.p99),
            us(&figures.own),
            megabytes(contender.memory_idle),
            megabytes(figures.memory),
            figures.failures.to_string(),
        ]);
    }
    print!("{table}");
    for (contender, figures) in contenders.iter().zip(figures) {
        if let Some(failure) = &figures.failure {
            println!("\n{}: first failure: {failure}", contender.name);
        }
    }
}

/// Vulcan's figures as ratios to the others', beside what they should be at most.
fn goals(mode: Mode, connections: usize, contenders: &[Contender], figures: &[Figures]) {
    let find = |name: &str| {
        contenders
            .iter()
            .zip(figures)
            .find(|(contender, _)| contender.name == name)
    };
    let Some((contender, vulcan)) = find(VULCAN) else {
        return;
    };
    let wanted: &[(&str, f64)] = match mode {
        Mode::Small => &[(FLOOR, 1.25), (NGINX, 0.8), (NGINX_LARGE, 0.8), (HAPROXY, 0.8)],
        Mode::Upload => &[(NGINX, 0.8), (NGINX_LARGE, 0.8), (HAPROXY, 0.8)],
        Mode::Large => &[(FLOOR, 1.25), (NGINX_LARGE, 1.0), (HAPROXY, 0.8)],
    };
    let mut table = Table::new(["vulcan", "measured", "goal at most", ""]);
    let mut row = |what: String, measured: f64, most: f64| {
        table.row([
            what,
            format!("{measured:.2}"),
            format!("{most:.2}"),
            against(measured, most),
        ]);
    };
    for (name, most) in wanted {
        if let Some((_, rival)) = find(name) {
            row(
                format!("CPU per request ÷ {name}"),
                median(&vulcan.cpu) / median(&rival.cpu),
                *most,
            );
        }
    }
    let rivals = [NGINX, NGINX_LARGE, HAPROXY, HAPROXY_SPLICE]
        .into_iter()
        .filter_map(find);
    let best = rivals
        .map(|(_, rival)| median(&rival.p99))
        .fold(f64::INFINITY, f64::min);
    row("p99 ÷ best rival's".into(), median(&vulcan.p99) / best, 1.0);
    if connections >= 1_000 {
        let over = vulcan.memory.saturating_sub(contender.memory_idle) as f64 / 1e6;
        row(format!("MB over idle, {connections} connections"), over, 10.0);
    }
    println!("\n{table}");
}
