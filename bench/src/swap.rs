//! What one change and one look-up cost in the routing table, without any process or socket around it.

use std::hint::black_box;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use shared::change::{Body, Epoch, Kind, Op, Revision, Verb};
use shared::state::State;
use shared::table::{Query, Table};
use uuid::Uuid;

use crate::histogram::Histogram;
use crate::process::usage;
use crate::report::{Table as Report, against, megabytes, micros};
use crate::vulcan;

/// Twice as many as this many samples are within a second or two.
const CHANGES: usize = 20_000;
const LOOKUPS: usize = 1_000_000;
/// p99 of one changed upstream in the largest table.
const GOAL: Duration = Duration::from_micros(50);

/// The operation for a service, at a turn.
type Change<'a> = &'a dyn Fn(usize, usize) -> io::Result<Op>;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Sizes of the table: services, each with this many upstreams.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000])]
    services: Vec<usize>,
    #[arg(long, default_value_t = 10)]
    upstreams: usize,
}

pub fn run(options: &Options) -> io::Result<()> {
    println!(
        "\n## Swap\n\n{} upstreams in each service; {CHANGES} changes of each kind at services chosen by chance, the old \
         table dropped within the time; {LOOKUPS} look-ups of hosts chosen by chance.\n",
        options.upstreams
    );
    let mut report = Report::new([
        "services",
        "change",
        "p50 µs",
        "p99 µs",
        "max µs",
        "goal p99 µs",
        "",
        "route ns: one host / any",
        "table MB",
        "built in ms",
    ]);
    for services in &options.services {
        measure(*services, options.upstreams, &mut report)?;
    }
    print!("{report}");
    Ok(())
}

fn measure(services: usize, upstreams: usize, report: &mut Report) -> io::Result<()> {
    let state = state(services, upstreams)?;
    let before = usage(std::process::id())?.memory;
    let began = Instant::now();
    let (mut table, refused) = Table::of(&state);
    let built = began.elapsed();
    if let Some(refusal) = refused.first() {
        return Err(io::Error::other(format!(
            "the table refuses {}: {}",
            refusal.object, refusal.cause
        )));
    }
    let memory = usage(std::process::id())?.memory.saturating_sub(before);
    let (near, far) = (route(&table, 1)?, route(&table, services)?);
    let mut revision = state.revision;
    let kinds: [(&str, Change<'_>); 4] = [
        ("weight of an upstream", &|n, turn| {
            let weight = 2 + (turn % 2) as u16;
            upstream(n, turn % upstreams, weight, Some(Revision(1)))
        }),
        ("register an upstream", &|n, turn| {
            upstream(n, upstreams + turn, 1, None)
        }),
        // The same services in the same order: it meets what the kind before it registered.
        ("unregister an upstream", &|n, turn| {
            let mut op = upstream(n, upstreams + turn, 1, None)?;
            (op.verb, op.body) = (Verb::Delete, None);
            Ok(op)
        }),
        ("a new service", &|_, turn| service(services + turn)),
    ];
    for (index, (name, op)) in kinds.iter().enumerate() {
        let (mut times, mut dice) = (Histogram::default(), Dice(services as u64));
        for turn in 0..CHANGES {
            let ops = [op(dice.below(services), turn)?];
            revision = revision.next();
            let began = Instant::now();
            let applied = table.apply(&ops, revision);
            table = applied.table;
            times.record(began.elapsed());
            if let Some(refusal) = applied.refused.first() {
                return Err(io::Error::other(format!(
                    "refused: {} {}",
                    refusal.object, refusal.cause
                )));
            }
        }
        let p99 = times.quantile(0.99);
        let first = |text: String| if index == 0 { text } else { String::new() };
        report.row([
            first(services.to_string()),
            (*name).into(),
            micros(times.quantile(0.5)),
            micros(p99),
            micros(times.max()),
            micros(GOAL),
            against(p99.as_secs_f64(), GOAL.as_secs_f64()),
            first(format!(
                "{:.0} / {:.0}",
                near.as_secs_f64() * 1e9,
                far.as_secs_f64() * 1e9
            )),
            first(megabytes(memory)),
            first(format!("{:.0}", built.as_secs_f64() * 1e3)),
        ]);
    }
    Ok(())
}

/// The mean of one look-up among the first `services` hosts: one of them stays in the processor's caches, many do not.
fn route(table: &Table, services: usize) -> io::Result<Duration> {
    let mut dice = Dice(7);
    let hosts: Vec<String> = (0..LOOKUPS.min(services * 4))
        .map(|_| vulcan::host(dice.below(services)))
        .collect();
    let mut found = 0;
    let began = Instant::now();
    for host in hosts.iter().cycle().take(LOOKUPS) {
        let query = Query {
            host,
            path: "/v2/things/17",
            method: "GET",
            headers: &(),
        };
        found += usize::from(black_box(table.route(black_box(&query))).is_some());
    }
    let elapsed = began.elapsed();
    if found != LOOKUPS {
        return Err(io::Error::other(format!(
            "{found} of {LOOKUPS} look-ups found their service"
        )));
    }
    Ok(elapsed / LOOKUPS as u32)
}

fn state(services: usize, upstreams: usize) -> io::Result<State> {
    let mut state = State::empty(Epoch(Uuid::nil()));
    state.revision = Revision(1);
    state.configured = Revision(1);
    for n in 0..services {
        state.apply_op(&service(n)?, Revision(1));
        for index in 0..upstreams {
            state.apply_op(&upstream(n, index, 1, None)?, Revision(1));
        }
    }
    Ok(state)
}

fn service(n: usize) -> io::Result<Op> {
    op(Kind::Service, format!("s{n}"), &vulcan::service(n), None)
}

fn upstream(service: usize, index: usize, weight: u16, registration: Option<Revision>) -> io::Result<Op> {
    let host = Ipv4Addr::from(0x0a00_0000 + service as u32);
    let address = SocketAddr::from((host, 1024 + index as u16));
    op(
        Kind::Upstream,
        format!("s{service}/u{index}"),
        &vulcan::address(address, weight),
        registration,
    )
}

fn op(kind: Kind, key: String, body: &str, registration: Option<Revision>) -> io::Result<Op> {
    let body = Some(Body::from_json(body)?);
    Ok(Op {
        verb: Verb::Put,
        kind,
        key: key.into(),
        body,
        registration,
        before: None,
    })
}

/// Numbers by chance, the same in every run (Marsaglia's xorshift64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}
