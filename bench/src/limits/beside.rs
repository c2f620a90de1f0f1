//! Vulcan's limits beside Redis asked by scripts: the same load on both, in one run.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use super::lane::{Algorithm, Lane, PERIOD, Shape};
use super::load::{self, Answers, Outcome};
use super::redis::{self, Callers, Redis, Script};
use super::relay::Count;
use super::times::{Spans, Times, admitted_of_permitted, gap, in_windows, most, most_surely};
use super::world::{Used, World};
use crate::report::{Table, millis};
use crate::vulcan::Vulcan;

/// When the owner or Redis is killed: in the second period, so that something is spent then.
const KILL_AT: Duration = Duration::from_millis(13_500);
/// Beside the limited requests through the same proxies, to compare with.
const FREE: Lane = Lane {
    limit: None,
    tokens: 1,
    rate: 60.0,
    shape: Shape::Even,
};

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How long each load lasts.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Also fifty tokens of 1,000 in 10 s: 7,500 requests a second.
    #[arg(long)]
    heavy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum System {
    Vulcan(Algorithm),
    /// `true`: with its file.
    Redis(Script, bool),
}

impl System {
    fn name(self) -> &'static str {
        match self {
            System::Vulcan(Algorithm::Sliding) => "Vulcan, sliding",
            System::Vulcan(Algorithm::Fixed) => "Vulcan, fixed",
            System::Redis(Script::Log, false) => "Redis, a log (sliding)",
            System::Redis(Script::Window, false) => "Redis, INCR (fixed)",
            System::Redis(Script::Log, true) => "Redis, a log, appendonly",
            System::Redis(Script::Window, true) => "Redis, INCR, appendonly",
        }
    }
}

const SYSTEMS: [System; 4] = [
    System::Vulcan(Algorithm::Sliding),
    System::Redis(Script::Log, false),
    System::Vulcan(Algorithm::Fixed),
    System::Redis(Script::Window, false),
];
const KEEPING: [System; 2] = [System::Redis(Script::Log, true), System::Redis(Script::Window, true)];

struct Case {
    name: &'static str,
    threshold: u64,
    tokens: usize,
    rate: f64,
    shape: Shape,
}

const fn case(name: &'static str, threshold: u64, tokens: usize, rate: f64, shape: Shape) -> Case {
    Case {
        name,
        threshold,
        tokens,
        rate,
        shape,
    }
}

const IDLE: Case = case("100, nothing asked", 100, 1, 0.0, Shape::Even);
const CASES: [Case; 4] = [
    case("100, one token, 300/s", 100, 1, 300.0, Shape::Even),
    case("100, fifty tokens, 750/s", 100, 50, 750.0, Shape::Even),
    case("1,000, one token, 150/s", 1_000, 1, 150.0, Shape::Even),
    case("1,000, one token, 500/s for 4 of 9 s", 1_000, 1, 500.0, Shape::Pulses),
];
const HEAVY: Case = case("1,000, fifty tokens, 7,500/s", 1_000, 50, 7_500.0, Shape::Even);
const KILLED: [Case; 3] = [
    case("100, one token, 300/s", 100, 1, 300.0, Shape::Even),
    case("1,000, one token, 150/s", 1_000, 1, 150.0, Shape::Even),
    case(
        "1,000, one token, 75/s: fewer than permitted",
        1_000,
        1,
        75.0,
        Shape::Even,
    ),
];

struct Figures {
    /// Of the limited lane.
    answers: Answers,
    free: Answers,
    /// By token.
    admitted: Vec<Vec<Instant>>,
    offered: Vec<Vec<Instant>>,
    spans: Spans,
    /// Both ways.
    messages: f64,
    server: Duration,
    callers: Duration,
    /// Vulcan's alone.
    told: Option<(Count, Used)>,
}

/// Numbers the runs: each has a directory of its own.
struct Bench<'a> {
    vulcan: &'a Vulcan,
    options: &'a Options,
    scratch: &'a Path,
    has_redis: bool,
    runs: usize,
}

impl<'a> Bench<'a> {
    fn new(vulcan: &'a Vulcan, options: &'a Options, scratch: &'a Path) -> Bench<'a> {
        let has_redis = redis::is_there();
        if !has_redis {
            println!("Redis: SKIPPED, there is no redis-server here (Debian's package redis-server).\n");
        }
        Bench {
            vulcan,
            options,
            scratch,
            has_redis,
            runs: 0,
        }
    }

    fn measures(&self, system: System) -> bool {
        self.has_redis || matches!(system, System::Vulcan(_))
    }

    fn measure(&mut self, case: &Case, system: System, kills: bool) -> io::Result<Figures> {
        self.runs += 1;
        let scratch = self.scratch.join(format!("beside-{kills}-{}", self.runs));
        std::fs::create_dir_all(&scratch)?;
        eprintln!("{}, {}", case.name, system.name());
        figures(self.vulcan, &scratch, case, system, self.options, kills)
    }
}

pub fn steady(vulcan: &Vulcan, options: &Options, scratch: &Path) -> io::Result<()> {
    println!("\n{}", about(options));
    let mut bench = Bench::new(vulcan, options, scratch);
    let mut report = Table::new([
        "in 10 s",
        "",
        "admitted of permitted %",
        "most in 10 s: seen, surely",
        "added p50 / p99 ms",
        "messages per admitted",
        "CPU µs per decision: server",
        "callers",
        "failed",
    ]);
    let mut store = Table::new(["in 10 s", "", "messages, of them beats", "KB", "store KB/s"]);
    let mut told = |case: &Case, system: System, figures: &Figures| {
        if let Some((count, used)) = figures.told {
            store.row([
                case.name.into(),
                system.name().into(),
                format!("{}, {}", count.messages, count.beats),
                format!("{:.0}", count.bytes as f64 / 1e3),
                format!("{:.1}", used.written as f64 / 1e3 / options.seconds),
            ]);
        }
    };
    told(&IDLE, SYSTEMS[0], &bench.measure(&IDLE, SYSTEMS[0], false)?);
    for case in CASES.iter().chain(options.heavy.then_some(&HEAVY)) {
        for system in SYSTEMS {
            if bench.measures(system) {
                let figures = bench.measure(case, system, false)?;
                report.row(figures.row(case, system));
                told(case, system, &figures);
            }
        }
    }
    println!(
        "{report}\nWhat proxies and control plane said about limits, and what it wrote to its store, in all:\n\n{store}"
    );
    Ok(())
}

pub fn killed(vulcan: &Vulcan, options: &Options, scratch: &Path) -> io::Result<()> {
    println!(
        "\nThe owner, or Redis, is killed (SIGKILL) {:.1} s after the beginning and started again at once, each for {} s. \
         `appendonly`: Redis keeps a file, synced every second.\n",
        KILL_AT.as_secs_f64(),
        options.seconds
    );
    let mut bench = Bench::new(vulcan, options, scratch);
    let mut report = Table::new([
        "in 10 s",
        "",
        "admitted of permitted %",
        "most in 10 s: seen, surely",
        "refused",
        "failed",
        "longest answer ms",
        "longest pause ms",
    ]);
    for case in &KILLED {
        for system in SYSTEMS.into_iter().chain(KEEPING) {
            if bench.measures(system) {
                report.row(bench.measure(case, system, true)?.killed(case, system));
            }
        }
    }
    print!("{report}");
    Ok(())
}

fn about(options: &Options) -> String {
    format!(
        "Vulcan (a control plane, three proxies, one origin, real HTTP) beside Redis asked by a script for each decision (three \
         callers without any HTTP), each alone for {} s. *Admitted of permitted* is held against what one exact log admits of \
         the same requests, for Vulcan's fixed periods against the threshold in each whole one, and *most in 10 s* is counted at the origin, for Redis by the callers' clock; *surely* counts those that were sent and answered within it, whatever delayed them. *Added* is what \
         admitted requests take longer than others without a limit through the same proxies at that time; for Redis, from \
         question to answer. *Callers* are the proxies with all their proxying, for Redis the load itself. Messages are \
         counted by a relay that the proxies' streams pass.\n",
        options.seconds
    )
}

fn figures(
    vulcan: &Vulcan,
    scratch: &Path,
    case: &Case,
    system: System,
    options: &Options,
    kills: bool,
) -> io::Result<Figures> {
    let duration = Duration::from_secs_f64(options.seconds);
    let lane = |algorithm| Lane {
        limit: Some((case.threshold, algorithm)),
        tokens: case.tokens,
        rate: case.rate,
        shape: case.shape,
    };
    match system {
        System::Vulcan(algorithm) => {
            let lanes = [lane(algorithm), FREE];
            let lanes = if case.rate == 0.0 { &lanes[..1] } else { &lanes };
            let mut world = World::start(vulcan, scratch, lanes)?;
            let (before, said) = (world.used()?, world.relay.count());
            let outcome = load::run(&world.edges(), lanes, duration, |begin| {
                if kills {
                    pause_until(begin + KILL_AT);
                    world.kill_and_restart()?;
                }
                // Without any load, too, it takes as long.
                pause_until(begin + duration);
                Ok(())
            })?;
            let (after, count) = (world.used()?, world.relay.count() - said);
            let used = Used {
                plane: after.plane.saturating_sub(before.plane),
                proxies: after.proxies.saturating_sub(before.proxies),
                written: after.written.saturating_sub(before.written),
            };
            let admitted = world.witness.take();
            let mut figures = Figures::of(outcome, admitted, case.tokens);
            figures.messages = count.messages as f64;
            (figures.server, figures.callers) = (used.plane, used.proxies);
            figures.told = Some((count, used));
            Ok(figures)
        }
        System::Redis(script, keeps) => {
            let lanes = [lane(Algorithm::Sliding)];
            let mut redis = Redis::start(scratch, keeps)?;
            let callers = Callers {
                address: redis.address,
                script,
                lanes: &lanes,
                serial: AtomicU64::new(0),
            };
            let before = redis.cpu()?;
            let outcome = load::run(&callers, &lanes, duration, |begin| {
                if kills {
                    pause_until(begin + KILL_AT);
                    redis.kill_and_restart()?;
                }
                Ok(())
            })?;
            let admitted = heard(&outcome.admitted);
            let cpu = outcome.cpu;
            let mut figures = Figures::of(outcome, admitted, case.tokens);
            figures.messages = 2.0 * figures.answers.count() as f64;
            (figures.server, figures.callers) = (redis.cpu()?.saturating_sub(before), cpu);
            Ok(figures)
        }
    }
}

/// By the callers' clock.
fn heard(spans: &Spans) -> Times {
    let sorted = |spans: &[(Instant, Instant)]| {
        let mut times: Vec<Instant> = spans.iter().map(|(_, heard)| *heard).collect();
        times.sort();
        times
    };
    spans.iter().map(|(key, spans)| (*key, sorted(spans))).collect()
}

fn pause_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

impl Figures {
    fn of(mut outcome: Outcome, mut admitted: Times, tokens: usize) -> Figures {
        let by_token = |times: &mut Times| {
            (0..tokens)
                .map(|token| times.remove(&(0, token)).unwrap_or_default())
                .collect()
        };
        let mut answers = std::mem::take(&mut outcome.answers).into_iter();
        Figures {
            answers: answers.next().unwrap_or_default(),
            free: answers.next().unwrap_or_default(),
            admitted: by_token(&mut admitted),
            offered: by_token(&mut outcome.offered),
            spans: outcome.admitted,
            messages: 0.0,
            server: Duration::ZERO,
            callers: Duration::ZERO,
            told: None,
        }
    }

    fn row(&self, case: &Case, system: System) -> [String; 9] {
        let admitted: usize = self.admitted.iter().map(Vec::len).sum();
        // What goes through the proxies is all that they did; it was decided about the limited ones alone.
        let decisions = self.answers.count().max(1) as f64;
        let asked = decisions + self.free.count() as f64;
        let micros = |time: Duration, of: f64| format!("{:.0}", time.as_secs_f64() * 1e6 / of);
        [
            case.name.into(),
            system.name().into(),
            percent(self.admitted_of_permitted(case, system)),
            self.most(),
            self.added(),
            format!("{:.3}", self.messages / admitted.max(1) as f64),
            micros(self.server, decisions),
            micros(self.callers, asked),
            (self.answers.failed + self.free.failed).to_string(),
        ]
    }

    fn killed(&self, case: &Case, system: System) -> [String; 8] {
        let pauses = self.admitted.iter().map(|times| gap(times));
        [
            case.name.into(),
            system.name().into(),
            percent(self.admitted_of_permitted(case, system)),
            self.most(),
            self.answers.refused.count().to_string(),
            (self.answers.failed + self.free.failed).to_string(),
            millis(self.answers.longest()),
            millis(pauses.max().unwrap_or_default()),
        ]
    }

    /// Of any token: as it was seen, and what of it was not only delayed into one interval.
    fn most(&self) -> String {
        let seen = self.admitted.iter().map(|times| most(times, PERIOD));
        let limited = self.spans.iter().filter(|((lane, _), _)| *lane == 0);
        let surely = limited.map(|(_, spans)| most_surely(spans, PERIOD));
        format!("{}, {}", seen.max().unwrap_or(0), surely.max().unwrap_or(0))
    }

    /// The mean of all tokens.
    fn admitted_of_permitted(&self, case: &Case, system: System) -> f64 {
        let of = self.admitted.iter().zip(&self.offered);
        let shares = of.map(|(admitted, offered)| match system {
            System::Vulcan(Algorithm::Fixed) => in_windows(admitted, offered, case.threshold, PERIOD).1,
            _ => admitted_of_permitted(admitted, offered, case.threshold, PERIOD),
        });
        shares.sum::<f64>() / self.admitted.len() as f64
    }

    fn added(&self) -> String {
        let added = |quantile| {
            let of = |answers: &Answers| answers.admitted.quantile(quantile).as_secs_f64() * 1e3;
            of(&self.answers) - of(&self.free)
        };
        format!("{:.2} / {:.2}", added(0.5), added(0.99))
    }
}

pub fn percent(part: f64) -> String {
    format!("{:.1}", part * 100.0)
}
