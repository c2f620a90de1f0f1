//! Mail to an HTTP application: Vulcan, with an authorizer and a limit, beside Haraka with a plugin that posts.

mod contender;
mod sessions;
mod sink;
mod source;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::contender::{ANYBODY, AUTHORIZED, Contender, Installed, NOTHING};
use self::sessions::{Load, Outcome, data};
use self::sink::Sink;
use crate::process::{peak, pin};
use crate::report::{Table, median, megabytes, micros, millis};
use crate::vulcan::Vulcan;

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const SMALL: usize = 4 << 10;
const LARGE: usize = 1 << 20;
/// For each session of smtp-source to begin with; and the most that half a run has.
const FIRST: usize = 2;
const MESSAGES_MAX: usize = 200_000;
const HUGE: usize = 50_000_000;
/// At a time, in memory or in a file.
const HUGE_SESSIONS: usize = 50;
const MANY: usize = 1_000;
const WARM_UP: Duration = Duration::from_millis(500);
/// Of Haraka's rate, of resident megabytes and of added milliseconds.
const RATE_GOAL: f64 = 3.0;
const MEMORY_GOAL: f64 = 50.0;
const ADDED_GOAL: f64 = 5.0;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The directory with Haraka below `node_modules` and the plugin, as `bench/run` makes it.
    #[arg(long)]
    haraka: PathBuf,
    /// Debian's Postfix, unpacked.
    #[arg(long)]
    postfix: PathBuf,
    /// Interleaved rounds; the tables show medians over them.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long is sent in each round.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    #[arg(long, value_delimiter = ',', default_values_t = [1, 20, 100, 1_000])]
    sessions: Vec<usize>,
    /// Leaves out 50 messages of 50 MB at a time, which need 3 GB on the disk.
    #[arg(long)]
    no_huge: bool,
}

/// One contender in one row.
#[derive(Default)]
struct Figures {
    rate: Vec<f64>,
    /// Seconds of the server's processor time a message.
    cpu: Vec<f64>,
    /// Seconds.
    p50: Vec<f64>,
    p99: Vec<f64>,
    failures: u64,
    failure: Option<String>,
}

pub fn run(vulcan: &Vulcan, options: &Options, scratch: &Path) -> io::Result<()> {
    let installed = Installed {
        haraka: options.haraka.clone(),
        postfix: options.postfix.clone(),
    };
    pin(LOAD_CORE)?;
    let sink = Sink::start()?;
    let contenders = [
        Contender::vulcan(vulcan, sink.address(), SERVER_CORE, scratch)?,
        Contender::haraka(&installed, sink.address(), SERVER_CORE, scratch)?,
        Contender::nothing(&installed, SERVER_CORE, scratch)?,
    ];
    println!(
        "\n## Mail\n\nMedians of {} interleaved rounds. Each server on one core with one worker or process, load and \
         application on the other; smtp-sink takes mail and does nothing with it. All of Vulcan's mail is under a limit. \
         Processor time is the server's alone.",
        options.rounds
    );
    // Before anything else has taken some.
    many(&contenders)?;
    if !options.no_huge {
        huge(&contenders)?;
    }
    for bytes in [SMALL, LARGE] {
        by_source(&installed, &contenders, &sink, options, bytes)?;
        by_sessions(&contenders, options, bytes)?;
    }
    Ok(())
}

fn named(bytes: usize) -> &'static str {
    if bytes == SMALL { "4 KiB" } else { "1 MiB" }
}

/// smtp-source, to recipients who take mail from anybody.
fn by_source(
    installed: &Installed,
    contenders: &[Contender; 3],
    sink: &Sink,
    options: &Options,
    bytes: usize,
) -> io::Result<()> {
    println!(
        "\n### {} by smtp-source: a command at a time, nobody logs in\n\nThe rate is that of the second half of the \
         messages, without greetings.\n",
        named(bytes)
    );
    let mut table = Table::new([
        "sessions",
        "server",
        "messages/s",
        "÷ haraka",
        "CPU µs/message",
        "failed",
    ]);
    for sessions in options.sessions.iter().copied() {
        let mut figures: [Figures; 3] = Default::default();
        for _ in 0..options.rounds {
            for (contender, figures) in contenders.iter().zip(&mut figures) {
                let send = |messages| {
                    let (cpu, taken) = (contender.server.usage()?.cpu, sink.taken());
                    let took = source::send(installed, contender, sessions, messages, bytes, LOAD_CORE)?;
                    let came = sink.taken() - taken;
                    if contender.name != NOTHING && came < messages as u64 {
                        return Err(io::Error::other(format!("{came} of {messages} arrived")));
                    }
                    Ok((took, contender.server.usage()?.cpu - cpu))
                };
                match marginal(send, (FIRST * sessions).max(100), options.seconds) {
                    Ok((rate, cpu)) => {
                        figures.rate.push(rate);
                        figures.cpu.push(cpu);
                    }
                    Err(error) => figures.fail(error.to_string()),
                }
            }
        }
        for (contender, row) in contenders.iter().zip(&figures) {
            table.row([
                sessions.to_string(),
                contender.name.into(),
                format!("{:.0}", median(&row.rate)),
                ratio(row, &figures[1]),
                us(&row.cpu),
                row.failures.to_string(),
            ]);
        }
        tell_failures(contenders, &figures);
    }
    print!("{table}");
    Ok(())
}

/// Messages a second, and seconds of processor time each, by what twice as many messages take more: greetings and the like
/// come with both. The larger number takes so many seconds.
fn marginal(
    mut send: impl FnMut(usize) -> io::Result<(Duration, Duration)>,
    first: usize,
    seconds: f64,
) -> io::Result<(f64, f64)> {
    let (mut messages, mut before) = (first, send(first)?);
    loop {
        let after = send(2 * messages)?;
        if after.0.as_secs_f64() >= seconds || messages > MESSAGES_MAX {
            let took = after.0.saturating_sub(before.0).as_secs_f64();
            let cpu = after.1.saturating_sub(before.1).as_secs_f64();
            return Ok((messages as f64 / took, cpu / messages as f64));
        }
        (messages, before) = (2 * messages, after);
    }
}

/// Our own clients; those of Vulcan log in.
fn by_sessions(contenders: &[Contender; 3], options: &Options, bytes: usize) -> io::Result<()> {
    println!(
        "\n### {} by our own clients: sent ahead, logged in at Vulcan\n",
        named(bytes)
    );
    let heads = [
        "sessions",
        "server",
        "messages/s",
        "÷ haraka",
        "CPU µs/message",
        "p50 ms",
        "p99 ms",
        "failed",
    ];
    let mut table = Table::new(heads);
    let lasting = Duration::from_secs_f64(options.seconds);
    for sessions in options.sessions.iter().copied() {
        let mut figures: [Figures; 3] = Default::default();
        for _ in 0..options.rounds {
            for (contender, figures) in contenders.iter().zip(&mut figures) {
                let load = load(contender, sessions, bytes);
                // One after the other, so that what it has taken before is answered before it is measured.
                if let Err(error) = load.run(WARM_UP, || Ok(())) {
                    figures.fail(error.to_string());
                    continue;
                }
                let cpu = contender.server.usage()?.cpu;
                match load.run(lasting, || Ok(())) {
                    Ok(outcome) => figures.take(&outcome, contender.server.usage()?.cpu - cpu),
                    Err(error) => figures.fail(error.to_string()),
                }
            }
        }
        for (contender, row) in contenders.iter().zip(&figures) {
            let ms = |values: &[f64]| millis(seconds(median(values)));
            table.row([
                sessions.to_string(),
                contender.name.into(),
                format!("{:.0}", median(&row.rate)),
                ratio(row, &figures[1]),
                us(&row.cpu),
                ms(&row.p50),
                ms(&row.p99),
                row.failures.to_string(),
            ]);
        }
        tell_failures(contenders, &figures);
        goals(sessions, &figures);
    }
    print!("\n{table}");
    Ok(())
}

fn load(contender: &Contender, sessions: usize, bytes: usize) -> Load {
    Load {
        server: contender.smtp,
        sessions,
        is_authorized: contender.knows_users,
        to: if contender.knows_users { AUTHORIZED } else { ANYBODY },
        data: data(bytes),
    }
}

fn goals(sessions: usize, figures: &[Figures; 3]) {
    let [vulcan, haraka, nothing] = figures;
    let times = median(&vulcan.rate) / median(&haraka.rate);
    let added = (median(&vulcan.p99) - median(&nothing.p99)) * 1e3;
    let met = |is_met: bool| if is_met { "met" } else { "MISSED" };
    println!(
        "- {sessions} sessions: {times:.2} × Haraka's rate (goal {RATE_GOAL}: {}); p99 is {added:.2} ms above smtp-sink's \
         (goal {ADDED_GOAL}: {})",
        met(times >= RATE_GOAL),
        met(added <= ADDED_GOAL),
    );
}

/// Resident bytes while many sessions are open and idle, each of which has sent a message.
fn many(contenders: &[Contender; 3]) -> io::Result<()> {
    println!("\n### Memory: {MANY} sessions, idle after a few messages of 4 KiB\n");
    let mut table = Table::new(["server", "before MB", "with them MB", "goal MB", ""]);
    for contender in contenders {
        let before = contender.server.usage()?.memory;
        let mut with = 0;
        let run = load(contender, MANY, SMALL).run(Duration::from_secs(1), || {
            // What is idle is given back after a moment.
            std::thread::sleep(Duration::from_secs(2));
            with = contender.server.usage()?.memory;
            Ok(())
        });
        let outcome = match run {
            Ok(outcome) => outcome,
            Err(error) => {
                println!("{}: {error}\n", contender.name);
                continue;
            }
        };
        if let Some(failure) = outcome.failure {
            println!("{}: {} failed: {failure}\n", contender.name, outcome.failures);
        }
        let is_goal = contender.name == "vulcan";
        let verdict = match with as f64 / 1e6 <= MEMORY_GOAL {
            true => "met",
            false => "MISSED",
        };
        table.row([
            contender.name.into(),
            megabytes(before),
            megabytes(with),
            if is_goal {
                format!("{MEMORY_GOAL}")
            } else {
                String::new()
            },
            if is_goal { verdict.into() } else { String::new() },
        ]);
    }
    print!("{table}");
    Ok(())
}

fn huge(contenders: &[Contender; 3]) -> io::Result<()> {
    println!("\n### Memory: {HUGE_SESSIONS} messages of 50 MB at a time\n");
    let mut table = Table::new(["server", "before MB", "most at any time MB", "seconds", "failed"]);
    for contender in &contenders[..2] {
        let before = contender.server.usage()?.memory;
        // Each session sends one.
        let outcome = match load(contender, HUGE_SESSIONS, HUGE).run(Duration::from_nanos(1), || Ok(())) {
            Ok(outcome) => outcome,
            Err(error) => {
                println!("{}: {error}\n", contender.name);
                continue;
            }
        };
        if let Some(failure) = &outcome.failure {
            println!("{}: {failure}\n", contender.name);
        }
        table.row([
            contender.name.into(),
            megabytes(before),
            megabytes(peak(contender.server.pid())?),
            format!("{:.1}", outcome.elapsed.as_secs_f64()),
            outcome.failures.to_string(),
        ]);
    }
    print!("{table}");
    Ok(())
}

impl Figures {
    fn take(&mut self, outcome: &Outcome, cpu: Duration) {
        let messages = outcome.latencies.count();
        self.rate.push(messages as f64 / outcome.elapsed.as_secs_f64());
        self.cpu.push(cpu.as_secs_f64() / messages.max(1) as f64);
        self.p50.push(outcome.latencies.quantile(0.5).as_secs_f64());
        self.p99.push(outcome.latencies.quantile(0.99).as_secs_f64());
        self.failures += outcome.failures;
        self.failure = self.failure.take().or(outcome.failure.clone());
    }

    fn fail(&mut self, failure: String) {
        self.failures += 1;
        self.failure.get_or_insert(failure);
    }
}

fn tell_failures(contenders: &[Contender; 3], figures: &[Figures; 3]) {
    for (contender, figures) in contenders.iter().zip(figures) {
        if let Some(failure) = &figures.failure {
            println!("{}: first failure: {failure}\n", contender.name);
        }
    }
}

fn ratio(figures: &Figures, haraka: &Figures) -> String {
    format!("{:.2}", median(&figures.rate) / median(&haraka.rate))
}

fn us(values: &[f64]) -> String {
    micros(seconds(median(values)))
}

/// None of nothing.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}
