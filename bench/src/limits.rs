//! What it costs to find the limits that a request counts for, to change one of many, and to count a request; and how
//! exact it is, beside Redis and for longer.

mod beside;
mod edge;
mod fetch;
mod lane;
mod load;
pub mod long;
mod redis;
mod relay;
mod step;
mod times;
mod world;

use std::hint::black_box;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use shared::change::{Body, Kind, Op, Revision, Verb};
use shared::table::{Applied, Asked, Table};

use crate::histogram::Histogram;
use crate::process::own_time;
use crate::report::{Table as Report, against, micros};
use crate::vulcan::Vulcan;

const LOOKUPS: usize = 1_000_000;
const CHANGES: usize = 1_000;
/// Of a look-up where tokens are named.
const GOAL: Duration = Duration::from_nanos(100);

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many limits there are.
    #[arg(long, default_value_t = 10_000)]
    limits: usize,
    /// How many of them have patterns that must be run, where some have.
    #[arg(long, default_value_t = 200)]
    run: usize,
    /// What is measured: all of it unless said otherwise.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Found, Part::Decided, Part::Beside, Part::Killed])]
    parts: Vec<Part>,
    #[command(flatten)]
    beside: beside::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What it costs to find a request's limits, and to change one.
    Found,
    /// What it costs to decide.
    Decided,
    /// Vulcan beside Redis.
    Beside,
    /// The same while the owner, or Redis, is killed.
    Killed,
}

/// Tokens that are held against limits, and how many limits each has to find.
struct Requests {
    name: &'static str,
    tokens: fn(usize) -> String,
    found: usize,
}

/// Limits of one kind.
struct Shape<'a> {
    name: String,
    members: &'a dyn Fn(usize) -> String,
    requests: &'a [Requests],
    /// Whether every token is found without running a pattern.
    is_named: bool,
}

const THEIRS: Requests = Requests {
    name: "its token",
    tokens: |n| format!("user-{n}@example.com"),
    found: 1,
};
const NOBODYS: Requests = Requests {
    name: "another token",
    tokens: |n| format!("guest-{n}@example.com"),
    found: 0,
};
const CUSTOMERS: Requests = Requests {
    name: "a token that one of the run takes",
    tokens: |n| format!("someone@customer-{}.example", n % 100),
    found: 1,
};

pub fn run(vulcan: &Vulcan, options: &Options, scratch: &Path) -> io::Result<()> {
    println!("\n## Limits");
    if options.parts.contains(&Part::Found) {
        found(options)?;
    }
    if options.parts.contains(&Part::Decided) {
        decided(options)?;
    }
    if options.parts.contains(&Part::Beside) {
        beside::steady(vulcan, &options.beside, scratch)?;
    }
    if options.parts.contains(&Part::Killed) {
        beside::killed(vulcan, &options.beside, scratch)?;
    }
    Ok(())
}

fn found(options: &Options) -> io::Result<()> {
    println!(
        "\nThe mean of {LOOKUPS} look-ups on one thread, by the processor's time; and {CHANGES} changes, each of \
         one limit, with what the next look-up would otherwise have to compile.\n"
    );
    let mut lookups = Report::new(["limits", "requests with", "look-up ns: one token / any", "goal ns", ""]);
    let mut changes = Report::new(["limits", "changed", "p50 µs", "p99 µs"]);
    let (many, run) = (options.limits, options.run);
    let whole = |n| format!(r#""auth_token":"^user-{n}@example\\.com$""#);
    let customer = |n| format!(r#""auth_token":".*@customer-{n}\\.example$""#);
    let shapes = [
        Shape {
            name: format!("{many} of `^user-N@example\\.com$`"),
            members: &whole,
            requests: &[THEIRS, NOBODYS],
            is_named: true,
        },
        Shape {
            name: format!("{many} of `user-N@example\\.com`"),
            members: &|n| format!(r#""auth_token":"user-{n}@example\\.com""#),
            requests: &[THEIRS, NOBODYS],
            is_named: true,
        },
        Shape {
            name: format!("{many} of `user-N@example.com`, dots that stand for anything"),
            members: &|n| format!(r#""auth_token":"user-{n}@example.com""#),
            requests: &[THEIRS, NOBODYS],
            is_named: false,
        },
        Shape {
            name: format!("{many} of any token, each of a service"),
            members: &|n| format!(r#""service":"s{n}""#),
            requests: &[NOBODYS],
            is_named: true,
        },
        Shape {
            name: format!("{many}, {run} of them `.*@customer-N\\.example$`"),
            members: &|n| if n < run { customer(n) } else { whole(n) },
            requests: &[THEIRS, NOBODYS, CUSTOMERS],
            is_named: false,
        },
        Shape {
            name: format!("{many} of `.*@customer-N\\.example$`"),
            members: &customer,
            requests: &[CUSTOMERS],
            is_named: false,
        },
    ];
    for shape in shapes {
        let mut table = table(many, shape.members)?;
        table.warm();
        for requests in shape.requests {
            let (one, any) = (
                look_up(&table, 1, run, requests)?,
                look_up(&table, many - run, run, requests)?,
            );
            let goal = |text: String| if shape.is_named { text } else { String::new() };
            lookups.row([
                shape.name.clone(),
                requests.name.into(),
                format!("{:.0} / {:.0}", one.as_secs_f64() * 1e9, any.as_secs_f64() * 1e9),
                goal(format!("{:.0}", GOAL.as_secs_f64() * 1e9)),
                goal(against(one.as_secs_f64(), GOAL.as_secs_f64())),
            ]);
        }
        for (changed, by) in [("its threshold", 0), ("its pattern", many)] {
            let times = change(&mut table, many, by, shape.members)?;
            changes.row([
                shape.name.clone(),
                changed.into(),
                micros(times.quantile(0.5)),
                micros(times.quantile(0.99)),
            ]);
        }
    }
    print!("{lookups}\n{changes}");
    Ok(())
}

fn decided(options: &Options) -> io::Result<()> {
    println!(
        "\nRouting by one service, an authorizer that has answered, and limits, with tokens at hand: what the limits add to a \
         request, and what their parts cost by themselves. The mean of one thread's CPU time over a million requests of all \
         the tokens by chance.\n"
    );
    print!("{}", step::report(options.limits, options.run)?);
    let ns = |lines| fetch::dependent(lines).as_secs_f64() * 1e9;
    println!(
        "\nOne fetch of a cache line by chance, which nothing else waits beside, takes {:.0} ns here out of the memory of 1,000 \
         slots, and {:.0} ns out of that of 100,000: what is in no cache costs so much at least, once.",
        ns(1_000),
        ns(100_000)
    );
    Ok(())
}

/// The mean for so many `tokens`: one stays in the processor's caches, many do not. `skipped`: limits that name none.
fn look_up(table: &Table, tokens: usize, skipped: usize, requests: &Requests) -> io::Result<Duration> {
    // In an order that no cache foresees.
    let named = (0..tokens).map(|n| skipped + n * 7_919 % tokens);
    let tokens: Vec<String> = named.map(requests.tokens).collect();
    let ask = |token: &str| {
        let asked = Asked {
            service: "web",
            auth_token: token,
            protocol: "HTTP",
            method: "GET",
            path: "/v2/things/17",
            length: Some(0),
        };
        black_box(table.limits(black_box(&asked))).len()
    };
    for token in &tokens {
        let found = ask(token);
        if found != requests.found {
            return Err(io::Error::other(format!("{token} has {found} limits")));
        }
    }
    let began = own_time();
    for token in tokens.iter().cycle().take(LOOKUPS) {
        ask(token);
    }
    Ok((own_time() - began) / LOOKUPS as u32)
}

/// Each time another limit becomes what the limit `by` further would be.
fn change(table: &mut Table, many: usize, by: usize, members: &dyn Fn(usize) -> String) -> io::Result<Histogram> {
    let mut times = Histogram::default();
    for turn in 0..CHANGES {
        let n = turn * 7_919 % many;
        let op = limit_of(n, &format!("{},\"threshold\":{turn}", members(n + by)))?;
        let began = Instant::now();
        *table = table.apply(&[op], Revision(2 + turn as u64)).table;
        table.warm();
        times.record(began.elapsed());
    }
    Ok(times)
}

fn table(many: usize, members: &dyn Fn(usize) -> String) -> io::Result<Table> {
    let ops: Vec<Op> = (0..many)
        .map(|n| limit_of(n, &format!("{},\"threshold\":1", members(n))))
        .collect::<io::Result<_>>()?;
    whole(Table::default().apply(&ops, Revision(1)))
}

/// The table, unless something was refused.
fn whole(applied: Applied) -> io::Result<Table> {
    match applied.refused.first() {
        None => Ok(applied.table),
        Some(refusal) => Err(io::Error::other(refusal.to_string())),
    }
}

/// The limit of that number.
fn limit_of(n: usize, members: &str) -> io::Result<Op> {
    let key = format!("00000000-0000-4000-8000-{n:012}");
    put(Kind::Limit, key, &format!("{{{members}}}"))
}

fn put(kind: Kind, key: String, body: &str) -> io::Result<Op> {
    Ok(Op {
        verb: Verb::Put,
        kind,
        key: key.into(),
        body: Some(Body::from_json(body)?),
        registration: None,
        before: None,
    })
}
