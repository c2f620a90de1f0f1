//! Many services with real proxies: loading them through apply, memory, snapshots, starts, and what one change costs.

mod calls;
mod document;
mod world;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use document::{Weight, documents};
use world::{World, disk};

use crate::process::peak;
use crate::report::{Table, median, megabytes};
use crate::rest::{Answer, Client};
use crate::vulcan::Vulcan;

/// The whole document, applied with one change, so many times.
const APPLIED: u16 = 3;

/// For the copy on a proxy's disk to be whole.
const STORED_WITHIN: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Sizes, one after another.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000])]
    services: Vec<usize>,
    /// In each of them.
    #[arg(long, default_value_t = 10)]
    upstreams: usize,
    #[arg(long, default_value_t = 3)]
    proxies: usize,
    /// Of each kind.
    #[arg(long, default_value_t = 300)]
    calls: usize,
}

pub fn run(vulcan: &Vulcan, options: &Options, scratch: &Path) -> io::Result<()> {
    println!(
        "\n## Scale\n\n{} real proxies with one worker each and a control plane on redb with fsync, of which none is asked for \
         anything else; {} upstreams in each service. Every 200 is that of all proxies. CPU to the kernel's tick of 10 ms over \
         all calls.",
        options.proxies, options.upstreams
    );
    for services in &options.services {
        println!("\n### {services} services");
        let world = World::start(vulcan, options.proxies, scratch.join(services.to_string()))?;
        let sized = Sized {
            world,
            services: *services,
            upstreams: options.upstreams,
        };
        sized.measure(options.calls)?;
    }
    Ok(())
}

/// Its name, query and changes, and the weight of the upstream that is changed, by turn.
type Kind = (&'static str, &'static str, u64, fn(u16) -> Weight);

struct Sized<'a> {
    world: World<'a>,
    services: usize,
    upstreams: usize,
}

impl Sized<'_> {
    /// Each part is printed once it is measured: the whole takes minutes.
    fn measure(mut self, calls: usize) -> io::Result<()> {
        self.world.look("empty")?;
        println!("\n{}", self.load()?);
        self.world.look("loaded")?;
        println!("{}", self.again()?);
        self.world.look("applied again")?;
        println!("{}", self.snapshots()?);
        println!("{}", self.starts()?);
        self.world.look("snapshots, starts of another proxy")?;
        println!(
            "{}",
            calls::latencies(&mut self.world, self.services, self.upstreams, calls)?
        );
        let fresh = self.services + 2 * calls;
        let (stale, asked) = calls::stale(&mut self.world, fresh..)?;
        println!(
            "Requests to a service right after the 200 of its first upstream: {asked}, not answered by it: {stale}.\n"
        );
        self.world.look("changes")?;
        println!("{}", self.restart()?);
        self.world.look("control plane restarted")?;
        // Last, since one that goes without a goodbye is waited for, also after a restart, until its lease ends.
        println!("{}", self.told(fresh)?);
        println!("{}", self.world.room);
        Ok(())
    }

    fn load(&mut self) -> io::Result<Table> {
        let documents = documents(self.services, self.upstreams, Weight(None));
        let bytes: usize = documents.iter().map(String::len).sum();
        let before = self.world.cpu()?;
        let began = Instant::now();
        let (mut put, mut revisions) = (0, 0);
        for document in &documents {
            let answer = apply(&mut self.world.client, "?timeout=10m", document)?.json()?;
            put += answer["put"].as_u64().unwrap_or(0);
            let span = |end: usize| answer["revisions"][end].as_u64();
            revisions += span(1).zip(span(0)).map_or(1, |(to, from)| to - from + 1);
        }
        let took = began.elapsed();
        let after = self.world.cpu()?;
        let whole = (self.services * (1 + self.upstreams)) as u64;
        if put != whole {
            return Err(io::Error::other(format!("{put} objects of {whole} were put")));
        }
        let mut table = Table::new(["loading, by `POST /v1/apply`", "measured"]);
        let mut row = |what: &str, measured: String| table.row([what.into(), measured]);
        row("objects", put.to_string());
        row("MB of JSON", megabytes(bytes as u64));
        row("calls", documents.len().to_string());
        row("revisions", revisions.to_string());
        row("200 of all proxies after s", seconds(took));
        row("objects per second", format!("{:.0}", put as f64 / took.as_secs_f64()));
        row("CPU s: control plane", seconds(after.0 - before.0));
        row("CPU s: all proxies", seconds(after.1 - before.1));
        Ok(table)
    }

    /// The whole document, with nothing changed, and with one upstream of one service.
    fn again(&mut self) -> io::Result<Table> {
        let (services, upstreams) = (self.services, self.upstreams);
        let mut table = Table::new(["the whole document again", "median s", "CPU s: control plane"]);
        // The first weight differs from what stands there, which is the default or the one before.
        let kinds: [Kind; 3] = [
            ("nothing changed", "", 0, |_| Weight(None)),
            ("one upstream changed, dry run", "?dry_run=true", 1, |_| Weight(Some(2))),
            ("one upstream changed", "", 1, |turn| Weight(Some(2 + turn))),
        ];
        for (name, query, changes, weight) in kinds {
            let (mut times, before) = (Vec::new(), self.world.cpu()?);
            for turn in 0..APPLIED {
                let documents = documents(services, upstreams, weight(turn));
                let began = Instant::now();
                let mut found = 0;
                for document in &documents {
                    let answer = apply(&mut self.world.client, query, document)?.json()?;
                    let shown = answer["changes"].as_array().map(|changes| changes.len() as u64);
                    found += shown.or(answer["put"].as_u64()).unwrap_or(0);
                }
                times.push(began.elapsed().as_secs_f64());
                if found != changes {
                    return Err(io::Error::other(format!("{name}: {found} changes, not {changes}")));
                }
            }
            let cpu = (self.world.cpu()?.0 - before.0) / u32::from(APPLIED);
            table.row([name.into(), format!("{:.2}", median(&times)), seconds(cpu)]);
        }
        Ok(table)
    }

    fn snapshots(&mut self) -> io::Result<Table> {
        let mut table = Table::new(["`GET /v1/snapshot`", "s", "MB"]);
        for (name, query, media) in [
            ("a proxy's (zstd), the first", "?scope=configuration", "*/*"),
            ("the same, kept", "?scope=configuration", "*/*"),
            ("whole, a backup (zstd)", "", "*/*"),
            ("the document (JSON)", "", "application/json"),
        ] {
            let began = Instant::now();
            let answer = self.world.client.get_as(&format!("/v1/snapshot{query}"), media)?;
            let took = began.elapsed();
            let bytes = answer.success()?.body.len() as u64;
            table.row([name.into(), seconds(took), megabytes(bytes)]);
        }
        Ok(table)
    }

    /// Of one proxy more, which leaves again.
    fn starts(&mut self) -> io::Result<Table> {
        let name = "another";
        let mut table = Table::new([
            "one proxy more, from its start until it serves",
            "s",
            "CPU s",
            "most MB",
        ]);
        for (from, kill) in [("from a snapshot", true), ("from its disk, after kill -9", false)] {
            let began = Instant::now();
            let mut proxy = self
                .world
                .vulcan
                .proxy(&self.world.scratch, None, name, self.world.plane.admin)?;
            let took = began.elapsed();
            let cpu = proxy.server.usage()?.cpu;
            let most = megabytes(peak(proxy.server.pid())?);
            table.row([from.into(), seconds(took), seconds(cpu), most]);
            if kill {
                stored(&self.world.scratch.join(name))?;
                proxy.server.kill()?;
            }
        }
        // Waits for whoever has not left yet.
        calls::reweigh(&mut self.world.client, self.services, 1_000_003)?;
        Ok(table)
    }

    fn told(&mut self, fresh: usize) -> io::Result<Table> {
        let [changed, new] = calls::told(&mut self.world, self.services, fresh + 1_000)?;
        let mut table = Table::new(["bytes on one proxy's stream", ""]);
        table.row(["weight of an upstream".into(), changed.to_string()]);
        table.row(["new service and its upstream (two changes)".into(), new.to_string()]);
        Ok(table)
    }

    fn restart(&mut self) -> io::Result<Table> {
        let world = &mut self.world;
        let began = Instant::now();
        world.plane.server.kill()?;
        world.plane = world.vulcan.control_plane_at(world.plane.admin, &world.scratch, None)?;
        let ready = began.elapsed();
        let cpu = world.plane.server.usage()?.cpu;
        calls::reweigh(&mut world.client, self.services, 1_000_005)?;
        let live = began.elapsed();
        let mut table = Table::new(["the control plane, after kill -9", "s"]);
        table.row(["until it is ready".into(), seconds(ready)]);
        table.row(["CPU of that".into(), seconds(cpu)]);
        table.row(["until the 200 of a change to all proxies".into(), seconds(live)]);
        Ok(table)
    }
}

fn apply(client: &mut Client, query: &str, document: &str) -> io::Result<Answer> {
    client.post(&format!("/v1/apply{query}"), document)?.success()
}

/// Until what lies there has not changed for a second.
fn stored(folder: &Path) -> io::Result<()> {
    let deadline = Instant::now() + STORED_WITHIN;
    let mut before = 0;
    loop {
        let now = disk(folder)?;
        if now == before && now > 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(io::Error::other("a proxy's disk does not come to rest"));
        }
        before = now;
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}
