//! Measurements of Vulcan beside its goals and its rivals. Each prints Markdown; `run` beside this crate builds and
//! calls them. The hidden commands are the processes that a measurement starts for itself.

mod authorize;
mod authserver;
mod background;
mod deploys;
mod fleet;
mod histogram;
mod http;
mod limits;
mod machine;
mod mail;
mod pick;
mod process;
mod report;
mod rest;
mod scale;
mod store;
mod swap;
mod vulcan;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use http::load::{Load, Mode};
use vulcan::Vulcan;

#[derive(Parser)]
struct Arguments {
    /// The `vulcan` to measure; by default the one beside this program.
    #[arg(long, global = true)]
    vulcan: Option<PathBuf>,
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// CPU per request beside nginx and HAProxy.
    Http(http::compare::Options),
    /// From a write to its 200 on simulated fleets.
    Fleet(fleet::changes::Options),
    /// Register, unregister and new services, with real proxies.
    Deploys(deploys::Options),
    /// What a write costs on each store, by how many writers at a time.
    Store(store::Options),
    /// What one change and one look-up cost in the routing table.
    Swap(swap::Options),
    /// Many services: loading them, memory, snapshots, starts, and what one change costs.
    Scale(scale::Options),
    /// What an authorizer's remembered answer costs.
    Authorize(authorize::Options),
    /// What a request's limits cost it, and how exact they are beside Redis.
    Limits(limits::Options),
    /// Whether limits are kept and used up in long runs.
    LimitsLong(limits::long::Options),
    /// Mail to an HTTP application beside Haraka.
    Mail(mail::Options),
    /// What choosing an upstream costs.
    Pick(pick::Options),
    /// Loads one address and prints what came of it.
    Load {
        target: SocketAddr,
        #[arg(long, value_enum, default_value_t = Mode::Small)]
        mode: Mode,
        #[arg(long, default_value_t = 64)]
        connections: usize,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
        #[arg(long, default_value = "s0.bench.test")]
        host: String,
    },
    #[command(hide = true)]
    Origin {
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
    #[command(hide = true)]
    Proxies(fleet::simulated::Options),
    #[command(hide = true)]
    Relay {
        #[arg(long)]
        origin: SocketAddr,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> io::Result<()> {
    process::raise_descriptor_limit()?;
    let beside = || Ok::<_, io::Error>(std::env::current_exe()?.with_file_name("vulcan"));
    let vulcan = Vulcan(arguments.vulcan.map_or_else(beside, Ok)?);
    match arguments.command {
        Task::Http(options) => measured(|scratch| http::compare::run(&vulcan, &options, scratch)),
        Task::Fleet(options) => measured(|scratch| fleet::changes::run(&vulcan, &options, scratch)),
        Task::Deploys(options) => measured(|scratch| deploys::run(&vulcan, &options, scratch)),
        Task::Store(options) => measured(|scratch| store::run(&vulcan, &options, scratch)),
        Task::Swap(options) => measured(|_| swap::run(&options)),
        Task::Scale(options) => measured(|scratch| scale::run(&vulcan, &options, scratch)),
        Task::Authorize(options) => measured(|_| authorize::run(&options)),
        Task::Limits(options) => measured(|scratch| limits::run(&vulcan, &options, scratch)),
        Task::LimitsLong(options) => measured(|scratch| limits::long::run(&vulcan, &options, scratch)),
        Task::Mail(options) => measured(|scratch| mail::run(&vulcan, &options, scratch)),
        Task::Pick(options) => measured(|_| pick::run(&options)),
        Task::Load {
            target,
            mode,
            connections,
            seconds,
            host,
        } => load(target, mode, connections, seconds, &host),
        Task::Origin { listen } => {
            let origin = http::origin::Origin::bind(listen)?;
            println!("listening origin {}", origin.address()?);
            origin.run()
        }
        Task::Proxies(options) => fleet::simulated::run(&options),
        Task::Relay { origin } => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            println!("listening relay {}", listener.local_addr()?);
            http::relay::run(listener, origin)
        }
    }
}

fn measured(work: impl FnOnce(&std::path::Path) -> io::Result<()>) -> io::Result<()> {
    let scratch = tempfile::tempdir()?;
    println!("{} {}", machine::conditions(), machine::sync_cost(scratch.path())?);
    work(scratch.path())?;
    println!("\nAfterwards: {}", machine::conditions());
    Ok(())
}

fn load(target: SocketAddr, mode: Mode, connections: usize, seconds: f64, host: &str) -> io::Result<()> {
    let mut load = Load::new(target, host, mode, connections)?;
    let before = process::usage(std::process::id())?;
    let outcome = load.run(Duration::from_secs_f64(seconds))?;
    let cpu = process::usage(std::process::id())?.cpu - before.cpu;
    let requests = outcome.latencies.count();
    println!(
        "{requests} answers of {}, {:.0}/s, p50 {} µs, p99 {} µs, {} failed, {} µs of own CPU per request",
        mode.name(),
        requests as f64 / outcome.elapsed.as_secs_f64(),
        report::micros(outcome.latencies.quantile(0.5)),
        report::micros(outcome.latencies.quantile(0.99)),
        outcome.failures,
        report::micros(cpu.div_f64(requests.max(1) as f64)),
    );
    outcome.failure.map_or(Ok(()), |failure| Err(io::Error::other(failure)))
}
