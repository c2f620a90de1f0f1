//! What one change costs, and what of it goes over a stream.

use std::io;
use std::time::{Duration, Instant};

use super::document::{self, Weight};
use super::world::World;
use crate::fleet::handle::Fleet;
use crate::histogram::Histogram;
use crate::http::compare::Origin;
use crate::report::{Table, against, millis};
use crate::rest::Client;
use crate::vulcan;

/// Those of a deployment's call among 10,000 services.
const GOAL: Duration = Duration::from_millis(5);
const GOAL_P99: Duration = Duration::from_millis(10);

/// Services whose requests are sent at once after their 200.
const LOOKED_AT: usize = 50;

/// For the mean of what goes over the stream.
const TOLD: usize = 100;

/// One call, or what belongs together, at a turn.
type Call<'a> = &'a dyn Fn(&mut Client, usize) -> io::Result<()>;

pub fn latencies(world: &mut World<'_>, services: usize, upstreams: usize, calls: usize) -> io::Result<Table> {
    let mut report = Table::new([
        "call, to all proxies",
        "200 p50 ms",
        "p99 ms",
        "max ms",
        "goal 5, 10 ms",
        "CPU ms: control plane",
        "all proxies",
    ]);
    let two = |client: &mut Client, turn| in_two(client, services + turn);
    let one = |client: &mut Client, turn| in_one(client, services + calls + turn, upstreams);
    let kinds: [(&str, Call<'_>); 5] = [
        ("weight of an upstream", &|client, turn| reweigh(client, services, turn)),
        ("register an upstream", &|client, turn| {
            client.put(&further(services, turn), "{}")?.success().map(drop)
        }),
        ("unregister it", &|client, turn| {
            client.delete(&further(services, turn))?.success().map(drop)
        }),
        ("new service and its upstream (two calls)", &two),
        ("new service with its upstreams (one apply)", &one),
    ];
    for (name, call) in kinds {
        let mut times = Histogram::default();
        let before = world.cpu()?;
        for turn in 0..calls {
            let began = Instant::now();
            call(&mut world.client, turn)?;
            times.record(began.elapsed());
        }
        let after = world.cpu()?;
        let each = |spent: Duration| format!("{:.2}", spent.as_secs_f64() * 1e3 / calls.max(1) as f64);
        let (p50, p99) = (times.quantile(0.5), times.quantile(0.99));
        let verdicts = [(p50, GOAL), (p99, GOAL_P99)].map(|(is, goal)| against(is.as_secs_f64(), goal.as_secs_f64()));
        report.row([
            name.into(),
            millis(p50),
            millis(p99),
            millis(times.max()),
            match verdicts {
                [p50, p99] if p50 == p99 => p50,
                [p50, p99] => format!("p50 {p50}, p99 {p99}"),
            },
            each(after.0 - before.0),
            each(after.1 - before.1),
        ]);
    }
    Ok(report)
}

/// How many requests to a service that was new were not answered by its upstream right after the 200, and of how many.
pub fn stale(world: &mut World<'_>, services: std::ops::RangeFrom<usize>) -> io::Result<(usize, usize)> {
    let origin = Origin::start(None, &world.scratch)?;
    let (mut stale, mut asked) = (0, 0);
    for service in services.take(LOOKED_AT) {
        let upstream = vulcan::address(origin.address, 1);
        let path = format!("/v1/services/s{service}");
        world.client.put(&path, &vulcan::service(service))?.success()?;
        world.client.put(&format!("{path}/upstreams/a"), &upstream)?.success()?;
        for proxy in &world.proxies {
            let answer = Client::for_host(proxy.http, &vulcan::host(service)).get("/small")?;
            asked += 1;
            stale += usize::from(answer.status != 200);
        }
    }
    Ok((stale, asked))
}

/// So many turns later the same services have another weight: what changes nothing is told to nobody.
const LATER: usize = 2_000_000;

/// Bytes of the lines that a proxy is told a change with, by one that counts them: a changed weight, and a new service
/// with one upstream in two changes.
pub fn told(world: &mut World<'_>, services: usize, fresh: usize) -> io::Result<[u64; 2]> {
    let mut fleet = Fleet::start(world.plane.admin, 1, &world.scratch)?;
    fleet.caught_up(1, 0)?;
    let mut count = |call: Call<'_>| {
        let before = fleet.stats()?.change_bytes;
        (0..TOLD).try_for_each(|turn| call(&mut world.client, turn))?;
        match fleet.stats()?.change_bytes - before {
            0 => Err(io::Error::other("nothing went over the stream")),
            bytes => Ok(bytes / TOLD as u64),
        }
    };
    Ok([
        count(&|client, turn| reweigh(client, services, LATER + turn))?,
        count(&|client, turn| in_two(client, fresh + turn))?,
    ])
}

/// Another weight every time: services lie far from one another, and come again only when all have had their turn.
pub fn reweigh(client: &mut Client, services: usize, turn: usize) -> io::Result<()> {
    let service = far(services, turn);
    let path = format!("/v1/services/s{service}/upstreams/{}", document::upstream(service, 0));
    let weight = 2 + turn % 900;
    client
        .put(&path, &format!(r#"{{"weight":{weight}}}"#))?
        .success()
        .map(drop)
}

fn further(services: usize, turn: usize) -> String {
    let service = far(services, turn);
    let address = vulcan::nowhere(service);
    format!("/v1/services/s{service}/upstreams/{address}")
}

fn far(services: usize, turn: usize) -> usize {
    turn * 7_919 % services
}

fn in_two(client: &mut Client, service: usize) -> io::Result<()> {
    let path = format!("/v1/services/s{service}");
    client.put(&path, &vulcan::service(service))?.success()?;
    let upstream = format!("{path}/upstreams/{}", document::upstream(service, 0));
    client.put(&upstream, "{}")?.success().map(drop)
}

fn in_one(client: &mut Client, service: usize, upstreams: usize) -> io::Result<()> {
    let mut document = String::from(r#"{"services":{"#);
    document::one(&mut document, service, upstreams, Weight(None));
    document.push_str("}}");
    client.post("/v1/apply", &document)?.success().map(drop)
}
