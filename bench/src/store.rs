//! What a write costs on each store: how many a second by how many writers at a time, how many of them share a revision,
//! and how long until one is applied on every proxy.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::process::Server;
use crate::report::{Table, millis};
use crate::rest::Client;
use crate::vulcan::{self, ControlPlane, Proxy, Vulcan};

const SERVICES: usize = 256;
const PROXIES: usize = 3;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Writers at a time, each with one write in flight.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8, 64, 256])]
    writers: Vec<usize>,
    /// How long each number of them writes.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Writes of which each waits for the proxies, one after another.
    #[arg(long, default_value_t = 200)]
    applied: usize,
    /// Nodes of Cassandra; 0 is the embedded store.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 3])]
    nodes: Vec<usize>,
    /// What starts a Cassandra.
    #[arg(long, default_value = "tests/cassandra/cassandra")]
    launcher: PathBuf,
}

pub fn run(vulcan: &Vulcan, options: &Options, scratch: &Path) -> io::Result<()> {
    println!(
        "\n## Stores\n\nA write is a PUT of an upstream's weight among {SERVICES} services. Of the writes that wait for no \
         proxy: how many were answered in {} s, and how many shared a revision. All nodes, control planes and proxies run \
         on this machine.\n",
        options.seconds
    );
    let mut writes = Table::new([
        "store",
        "writers",
        "writes/s",
        "p50 ms",
        "p99 ms",
        "writes per revision",
    ]);
    let mut applied = Table::new(["store", "control planes", "proxies", "write → applied p50 ms", "p99 ms"]);
    for nodes in &options.nodes {
        let scratch = scratch.join(nodes.to_string());
        std::fs::create_dir_all(&scratch)?;
        let store = Store::start(*nodes, options, &scratch)?;
        let first = vulcan.control_plane_on(&scratch, "first", &store.url)?;
        vulcan::seed(first.admin, 0..SERVICES, vulcan::nowhere)?;
        for writers in &options.writers {
            writes.row(concurrent(&store, first.admin, *writers, options)?);
        }
        applied.row(one_by_one(vulcan, &store, &[&first], options, &scratch.join("one"))?);
        if *nodes > 0 {
            let second = vulcan.control_plane_on(&scratch, "second", &store.url)?;
            applied.row(one_by_one(
                vulcan,
                &store,
                &[&first, &second],
                options,
                &scratch.join("two"),
            )?);
        }
    }
    println!("{writes}\n{applied}");
    Ok(())
}

struct Store {
    name: String,
    url: String,
    /// Ends its nodes when its input ends.
    _nodes: Option<Server>,
}

impl Store {
    fn start(nodes: usize, options: &Options, scratch: &Path) -> io::Result<Store> {
        if nodes == 0 {
            return Ok(Store {
                name: "redb, with fsync".into(),
                url: format!("redb:{}", scratch.join("store.redb").display()),
                _nodes: None,
            });
        }
        let mut command = Command::new("python3");
        command
            .arg(&options.launcher)
            .args(["hold", &nodes.to_string(), "--dir"]);
        command.arg(scratch.join("cassandra"));
        let mut server = Server::start("cassandra", command, None, scratch)?;
        let contacts = server.line(Duration::from_secs(300))?;
        let name = if nodes == 1 {
            "Cassandra, one node".into()
        } else {
            format!("Cassandra, {nodes} nodes")
        };
        Ok(Store {
            name,
            url: format!("cassandra://{contacts}/bench"),
            _nodes: Some(server),
        })
    }
}

fn head(client: &mut Client) -> io::Result<u64> {
    let fleet = client.get("/v1/fleet?limit=1")?.success()?.json()?;
    fleet["head"]
        .as_u64()
        .ok_or_else(|| io::Error::other("a fleet without a head"))
}

/// As many writers as that, each with services of its own, so that no two writes are about one object.
fn concurrent(store: &Store, admin: SocketAddr, writers: usize, options: &Options) -> io::Result<[String; 6]> {
    let mut client = Client::new(admin);
    let before = head(&mut client)?;
    let latencies = Mutex::new(Histogram::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        let writing: Vec<_> = (0..writers)
            .map(|writer| {
                let latencies = &latencies;
                scope.spawn(move || -> io::Result<()> {
                    let (mut client, mut mine) = (Client::new(admin), Histogram::default());
                    let service = writer % SERVICES;
                    for turn in 0.. {
                        let sent = Instant::now();
                        if began.elapsed().as_secs_f64() >= options.seconds {
                            break;
                        }
                        write(&mut client, service, turn, "?wait=none")?;
                        mine.record(sent.elapsed());
                    }
                    let mut all = latencies.lock().map_err(|_| io::Error::other("a writer panicked"))?;
                    all.merge(&mine);
                    Ok(())
                })
            })
            .collect();
        let end = |writer: std::thread::ScopedJoinHandle<'_, io::Result<()>>| {
            writer.join().map_err(|_| io::Error::other("a writer panicked"))?
        };
        writing.into_iter().try_for_each(end)
    })?;
    let elapsed = began.elapsed().as_secs_f64();
    let revisions = head(&mut client)? - before;
    let latencies = latencies
        .into_inner()
        .map_err(|_| io::Error::other("a writer panicked"))?;
    let count = latencies.count();
    Ok([
        store.name.clone(),
        writers.to_string(),
        format!("{:.0}", count as f64 / elapsed),
        millis(latencies.quantile(0.5)),
        millis(latencies.quantile(0.99)),
        format!("{:.1}", count as f64 / revisions.max(1) as f64),
    ])
}

/// Writes through all control planes in turn, each of which holds some of the proxies.
fn one_by_one(
    vulcan: &Vulcan,
    store: &Store,
    planes: &[&ControlPlane],
    options: &Options,
    scratch: &Path,
) -> io::Result<[String; 5]> {
    std::fs::create_dir_all(scratch)?;
    let proxy = |n: usize| {
        let name = format!("{}-{n}", planes.len());
        vulcan.proxy(scratch, None, &name, planes[n % planes.len()].admin)
    };
    let proxies = (0..PROXIES).map(proxy).collect::<io::Result<Vec<Proxy>>>()?;
    let mut clients: Vec<Client> = planes.iter().map(|plane| Client::new(plane.admin)).collect();
    let mut latencies = Histogram::default();
    for turn in 0..options.applied {
        let among = clients.len();
        let sent = Instant::now();
        write(
            &mut clients[turn % among],
            turn % SERVICES,
            // Another weight than in any part before: what changes nothing costs nothing.
            among * 300 + turn,
            "?timeout=60s",
        )?;
        // The first ones may find a proxy that is still on its way.
        if turn >= 10 {
            latencies.record(sent.elapsed());
        }
    }
    Ok([
        store.name.clone(),
        planes.len().to_string(),
        proxies.len().to_string(),
        millis(latencies.quantile(0.5)),
        millis(latencies.quantile(0.99)),
    ])
}

/// Changes something every time.
fn write(client: &mut Client, service: usize, turn: usize, query: &str) -> io::Result<()> {
    let path = format!("/v1/services/s{service}/upstreams/a{query}");
    let weight = 2 + (turn % 900) as u16;
    client
        .put(&path, &vulcan::address(vulcan::nowhere(service), weight))?
        .success()
        .map(drop)
}
