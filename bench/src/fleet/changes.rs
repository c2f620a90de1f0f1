//! From a write to its 200: acknowledged by every proxy of a simulated fleet.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::handle::Fleet;
use super::pace::Pace;
use crate::histogram::Histogram;
use crate::process::Usage;
use crate::report::{Table, against, megabytes, micros, millis};
use crate::rest::Client;
use crate::vulcan::{self, ControlPlane, Vulcan};

const IDLE: Duration = Duration::from_secs(5);
/// As many services change during a reconnect, each once.
const SERVICES: usize = 1_000;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Sizes of the fleet.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 100, 1_000])]
    proxies: Vec<usize>,
    /// Writes one after another, in each size.
    #[arg(long, default_value_t = 200)]
    writes: usize,
    /// Writes per second of the sustained part.
    #[arg(long, default_value_t = 1_000)]
    rate: usize,
    /// How long it lasts; 0 leaves it out.
    #[arg(long, default_value_t = 60)]
    seconds: usize,
    /// The size of the fleet that the sustained part runs against.
    #[arg(long, default_value_t = 1_000)]
    sustained: usize,
    /// Changes before the sustained part: the control plane keeps the recent past in memory up to a limit, and only then
    /// can its memory be flat.
    #[arg(long, default_value_t = 0)]
    warm: usize,
    /// Cuts all connections at the largest size, changes 1,000 services, and measures the catching up.
    #[arg(long)]
    reconnect: bool,
    /// The same, and the control plane is killed and started again before the fleet comes back.
    #[arg(long)]
    restart: bool,
}

pub fn run(vulcan: &Vulcan, options: &Options, scratch: &Path) -> io::Result<()> {
    println!(
        "\n## Fleet\n\nSimulated proxies in one other process, one connection each; they acknowledge revisions and hold \
         no table. A write is a PUT of an upstream's weight among {SERVICES} services; it answers 200 when all have \
         acknowledged it. redb, with fsync.\n"
    );
    let mut report = Table::new([
        "proxies",
        "joined in s",
        "200 p50 ms",
        "p99 ms",
        "goal p99 ms",
        "",
        "CPU µs/proxy/change",
        "goal",
        "",
        "idle CPU µs/proxy/s",
        "KB/proxy",
        "goal",
        "",
    ]);
    let mut more = Vec::new();
    for (index, proxies) in options.proxies.iter().enumerate() {
        let is_sustained = *proxies == options.sustained && options.seconds > 0;
        let warm = if is_sustained { options.warm } else { 0 };
        let mut world = World::start(vulcan, *proxies, warm, &scratch.join(proxies.to_string()))?;
        world.sequential(options.writes, &mut report)?;
        if is_sustained {
            more.push(world.sustained(options.rate, options.seconds)?);
        }
        if options.reconnect && index + 1 == options.proxies.len() {
            more.push(world.reconnect()?);
        }
        if options.restart && index + 1 == options.proxies.len() {
            more.push(world.restart(vulcan, &scratch.join(proxies.to_string()))?);
        }
        more.extend(world.defects()?);
    }
    println!("{report}\n{}", more.join("\n"));
    Ok(())
}

/// A control plane with its proxies.
struct World {
    fleet: Fleet,
    plane: ControlPlane,
    proxies: usize,
    joined: Duration,
    memory_alone: u64,
    turn: usize,
}

impl World {
    fn start(vulcan: &Vulcan, proxies: usize, warm: usize, scratch: &Path) -> io::Result<World> {
        std::fs::create_dir_all(scratch)?;
        let plane = vulcan.control_plane(scratch, None)?;
        vulcan::seed(plane.admin, 0..SERVICES, vulcan::nowhere)?;
        vulcan::together(plane.admin, 0..warm, |client, turn| write(client, turn, "?wait=none"))?;
        let memory_alone = plane.server.usage()?.memory;
        let began = Instant::now();
        let mut fleet = Fleet::start(plane.admin, proxies, scratch)?;
        fleet.caught_up(proxies, 0)?;
        Ok(World {
            fleet,
            plane,
            proxies,
            joined: began.elapsed(),
            memory_alone,
            turn: warm,
        })
    }

    fn sequential(&mut self, writes: usize, report: &mut Table) -> io::Result<()> {
        let before = self.usage()?;
        std::thread::sleep(IDLE);
        let idle = self.usage()?;
        let mut client = Client::new(self.plane.admin);
        let mut latencies = Histogram::default();
        for _ in 0..writes {
            self.turn += 1;
            let began = Instant::now();
            write(&mut client, self.turn, "")?;
            latencies.record(began.elapsed());
        }
        let after = self.usage()?;
        let each = (after.cpu - idle.cpu).div_f64((writes * self.proxies) as f64);
        let resting = (idle.cpu - before.cpu).div_f64(self.proxies as f64 * IDLE.as_secs_f64());
        let memory = idle.memory.saturating_sub(self.memory_alone) as f64 / self.proxies as f64 / 1e3;
        let goal = Duration::from_millis(if self.proxies > 1_000 { 500 } else { 100 });
        let p99 = latencies.quantile(0.99);
        // Divided among few, it is the write's own cost and the process's own memory, not a proxy's.
        let among = |least: usize, text: String| if self.proxies >= least { text } else { "–".into() };
        report.row([
            self.proxies.to_string(),
            format!("{:.1}", self.joined.as_secs_f64()),
            millis(latencies.quantile(0.5)),
            millis(p99),
            millis(goal),
            against(p99.as_secs_f64(), goal.as_secs_f64()),
            micros(each),
            "20".into(),
            among(1_000, against(each.as_secs_f64(), 20e-6)),
            micros(resting),
            among(100, format!("{memory:.1}")),
            "30".into(),
            among(100, against(memory, 30.0)),
        ]);
        Ok(())
    }

    fn sustained(&mut self, rate: usize, seconds: usize) -> io::Result<String> {
        let (levels, before) = (self.fleet.stats()?.levels, self.usage()?);
        let base = self.turn + 1;
        self.turn += rate * seconds;
        let pace = Pace { rate, seconds };
        let offered = pace.keep(
            self.plane.admin,
            |client, turn| write(client, base + turn, ""),
            || Ok(self.usage()?.memory),
        )?;
        let (levels, cpu) = (self.fleet.stats()?.levels - levels, self.usage()?.cpu - before.cpu);
        let mut table = Table::new(["sustained, to all proxies", "measured", "goal", ""]);
        let mut row = |what: &str, measured: String, goal: &str, verdict: String| {
            table.row([what.into(), measured, goal.into(), verdict]);
        };
        let elapsed = offered.elapsed.as_secs_f64();
        let answered = offered.latencies.count() as f64 / elapsed;
        let asked = format!("{rate} for {seconds} s");
        // What is still on its way when the last is due counts as time, not as writes: one percent is for it.
        let verdict = against(rate as f64 * 0.99, answered);
        row("writes answered per second", format!("{answered:.0}"), &asked, verdict);
        let quantile = |fraction| offered.latencies.quantile(fraction);
        row("due → 200, p50 ms", millis(quantile(0.5)), "", String::new());
        let verdict = against(quantile(0.99).as_secs_f64(), 0.25);
        row("due → 200, p99 ms", millis(quantile(0.99)), "250", verdict);
        row("due → 200, max ms", millis(offered.latencies.max()), "", String::new());
        let failed = offered.failures.len();
        row("failed", failed.to_string(), "0", against(failed as f64, 0.5));
        let memory: Vec<String> = [before.memory]
            .into_iter()
            .chain(offered.samples)
            .map(megabytes)
            .collect();
        let what = "control plane MB, at the start and each quarter";
        row(what, memory.join(" → "), "flat", String::new());
        let cores = cpu.as_secs_f64() / elapsed;
        row("control plane, cores", format!("{cores:.2}"), "", String::new());
        let each = cpu.div_f64(levels.max(1) as f64);
        let what = "CPU µs per acknowledged message, with all that the writes cost";
        row(what, micros(each), "", String::new());
        let together = (rate * seconds * self.proxies) as f64 / levels.max(1) as f64;
        row("changes per message", format!("{together:.1}"), "", String::new());
        let first = offered
            .failures
            .first()
            .map(|failure| format!("\nFirst failure: {failure}\n"));
        Ok(format!(
            "{} proxies:\n\n{table}{}",
            self.proxies,
            first.unwrap_or_default()
        ))
    }

    /// All connections are lost, 1,000 services change, all come back at once.
    fn reconnect(&mut self) -> io::Result<String> {
        let head = self.miss()?;
        let mut table = Table::new(["reconnect after 1,000 changes", "measured", "goal", ""]);
        self.rejoin(head, &mut table)?;
        Ok(format!("{} proxies:\n\n{table}", self.proxies))
    }

    /// As `reconnect`, to a control plane that has just been started from its store.
    fn restart(&mut self, vulcan: &Vulcan, scratch: &Path) -> io::Result<String> {
        let head = self.miss()?;
        let mut table = Table::new([
            "kill -9 of the control plane after 1,000 changes",
            "measured",
            "goal",
            "",
        ]);
        let began = Instant::now();
        self.plane.server.kill()?;
        self.plane = vulcan.control_plane_at(self.plane.admin, scratch, None)?;
        let ready = began.elapsed().as_secs_f64();
        table.row([
            "ready again, s".into(),
            format!("{ready:.2}"),
            String::new(),
            String::new(),
        ]);
        self.rejoin(head, &mut table)?;
        self.turn += 1;
        write(&mut Client::new(self.plane.admin), self.turn, "?timeout=60s")?;
        let live = began.elapsed().as_secs_f64();
        let what = "from the kill to the 200 of a write to all, s";
        table.row([what.into(), format!("{live:.1}"), String::new(), String::new()]);
        Ok(format!("{} proxies:\n\n{table}", self.proxies))
    }

    /// Loses all connections, and changes every service; the revision that the proxies have to come to.
    fn miss(&mut self) -> io::Result<u64> {
        self.fleet.server.tell("cut")?;
        let mut client = Client::new(self.plane.admin);
        for _ in 0..SERVICES {
            self.turn += 1;
            write(&mut client, self.turn, "?wait=none")?;
        }
        let fleet = client.get("/v1/fleet?limit=1")?.success()?.json()?;
        Ok(fleet["head"].as_u64().unwrap_or(u64::MAX))
    }

    fn rejoin(&mut self, head: u64, table: &mut Table) -> io::Result<()> {
        let before = self.fleet.stats()?;
        let began = Instant::now();
        self.fleet.server.tell("rejoin")?;
        self.fleet.caught_up(self.proxies, head)?;
        let took = began.elapsed();
        let snapshots = self.fleet.stats()?.snapshots - before.snapshots;
        table.row([
            "all caught up, s".into(),
            format!("{:.1}", took.as_secs_f64()),
            "15".into(),
            against(took.as_secs_f64(), 15.0),
        ]);
        table.row([
            "snapshots fetched".into(),
            snapshots.to_string(),
            "0".into(),
            against(snapshots as f64, 0.5),
        ]);
        Ok(())
    }

    /// What should not have happened.
    fn defects(&mut self) -> io::Result<Option<String>> {
        let stats = self.fleet.stats()?;
        let loss = stats.last_loss.unwrap_or_default();
        Ok((stats.gaps + stats.lost > 0).then(|| {
            format!(
                "{} proxies: {} gaps, {} connections lost; the last: {loss}",
                self.proxies, stats.gaps, stats.lost
            )
        }))
    }

    fn usage(&self) -> io::Result<Usage> {
        self.plane.server.usage()
    }
}

/// One write that changes something: the weight of the only upstream of a service, another one every time.
fn write(client: &mut Client, turn: usize, query: &str) -> io::Result<()> {
    let service = turn % SERVICES;
    let weight = 2 + (turn / SERVICES % 900) as u16;
    let path = format!("/v1/services/s{service}/upstreams/a{query}");
    client
        .put(&path, &vulcan::address(vulcan::nowhere(service), weight))?
        .success()
        .map(drop)
}
