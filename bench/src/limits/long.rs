//! Whether limits of any size are kept and used up, whoever asks: many of them side by side in one fleet.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::beside::percent;
use super::lane::{Algorithm, Lane, PERIOD, Shape};
use super::load::{self, Answers};
use super::times::{Spans, Times, admitted_of_permitted, in_windows, most, most_surely};
use super::world::World;
use crate::report::Table;
use crate::vulcan::Vulcan;

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How long all of them last.
    #[arg(long, default_value_t = 120.0)]
    seconds: f64,
    /// How long that of 50,000 lasts, which has a fleet of its own.
    #[arg(long, default_value_t = 30.0)]
    large_seconds: f64,
}

const LARGE: u64 = 50_000;

pub fn run(vulcan: &Vulcan, options: &Options, scratch: &Path) -> io::Result<()> {
    println!(
        "\n## Limits for longer\n\nLimits in 10 s, on three proxies, real HTTP: all of one algorithm side by side for {} s, those \
         of 50,000 alone for {} s. Every token offers at least half as much again as it may. *Most in 10 s* of any token is \
         seen at the origin; it is judged by what was sent and answered in them, whatever delayed it on its way. A `fixed` \
         limit may have twice its threshold there, never more than it in one of its periods. \
         *Admitted of permitted* is held against what one exact log admits of the same requests, for `fixed` against the \
         threshold in each whole period: the mean of all tokens and the worst of them; the goal is 95 % for `sliding`, 98 % for \
         `fixed`.\n",
        options.seconds, options.large_seconds
    );
    let mut report = Table::new([
        "",
        "threshold",
        "tokens",
        "load",
        "asked",
        "most in 10 s: seen, surely",
        "",
        "admitted of permitted %, worst",
        "",
        "longest answer ms",
        "failed",
    ]);
    for algorithm in [Algorithm::Sliding, Algorithm::Fixed] {
        let scratch = scratch.join(algorithm.name());
        let seconds = options.seconds;
        together(vulcan, &scratch.join("many"), &lanes(algorithm), seconds, &mut report)?;
        for (n, shape) in [Shape::Even, Shape::Moving].into_iter().enumerate() {
            let lane = lane(algorithm, LARGE, 1, 7_500.0, shape);
            let scratch = scratch.join(format!("large-{n}"));
            together(vulcan, &scratch, &[lane], options.large_seconds, &mut report)?;
        }
    }
    print!("{report}");
    Ok(())
}

fn lane(algorithm: Algorithm, threshold: u64, tokens: usize, rate: f64, shape: Shape) -> Lane {
    Lane {
        limit: Some((threshold, algorithm)),
        tokens,
        rate,
        shape,
    }
}

fn lanes(algorithm: Algorithm) -> Vec<Lane> {
    let mut lanes = Vec::new();
    for shape in [Shape::Even, Shape::Unbalanced, Shape::One, Shape::Moving] {
        let most = if shape == Shape::Even { 300.0 } else { 30.0 };
        for (threshold, rate) in [(1, 20.0), (7, 20.0), (100, most), (1_000, 150.0)] {
            lanes.push(lane(algorithm, threshold, 1, rate, shape));
        }
    }
    for (threshold, rate) in [(1, 500.0), (7, 500.0), (100, 750.0)] {
        lanes.push(lane(algorithm, threshold, 50, rate, Shape::Even));
    }
    lanes
}

fn together(vulcan: &Vulcan, scratch: &Path, lanes: &[Lane], seconds: f64, report: &mut Table) -> io::Result<()> {
    std::fs::create_dir_all(scratch)?;
    let world = World::start(vulcan, scratch, lanes)?;
    let duration = Duration::from_secs_f64(seconds);
    let outcome = load::run(&world.edges(), lanes, duration, |_| Ok(()))?;
    let admitted = world.witness.take();
    for (n, (lane, answers)) in lanes.iter().zip(&outcome.answers).enumerate() {
        if let Some((threshold, algorithm)) = lane.limit {
            report.row(row(
                n,
                lane,
                (threshold, algorithm),
                answers,
                &admitted,
                (&outcome.offered, &outcome.admitted),
            ));
        }
    }
    Ok(())
}

fn row(
    n: usize,
    lane: &Lane,
    (threshold, algorithm): (u64, Algorithm),
    answers: &Answers,
    admitted: &Times,
    (offered, spans): (&Times, &Spans),
) -> [String; 11] {
    let of = |times: &Times, token| times.get(&(n, token)).cloned().unwrap_or_default();
    let tokens = (0..lane.tokens).map(|token| (of(admitted, token), of(offered, token)));
    let (mut highest, mut in_one, mut worst, mut sum) = (0, 0, f64::INFINITY, 0.0);
    for (admitted, offered) in tokens {
        highest = highest.max(most(&admitted, PERIOD));
        let share = match algorithm {
            Algorithm::Sliding => admitted_of_permitted(&admitted, &offered, threshold, PERIOD),
            Algorithm::Fixed => {
                let (most, share) = in_windows(&admitted, &offered, threshold, PERIOD);
                in_one = most.max(in_one);
                share
            }
        };
        worst = share.min(worst);
        sum += share;
    }
    let mine = spans.iter().filter(|((lane, _), _)| *lane == n);
    let surely = mine.map(|(_, spans)| most_surely(spans, PERIOD)).max().unwrap_or(0);
    let mean = sum / lane.tokens as f64;
    let limit = threshold as usize;
    let (shown, is_kept, goal) = match algorithm {
        Algorithm::Sliding => (format!("{highest}, {surely}"), surely <= limit, 0.95),
        Algorithm::Fixed => (
            format!("{highest}, {surely}; {in_one} in a period"),
            in_one <= limit && surely <= 2 * limit,
            0.98,
        ),
    };
    let verdict = |met| if met { "met" } else { "MISSED" };
    [
        algorithm.name().into(),
        threshold.to_string(),
        lane.tokens.to_string(),
        lane.shape.name().into(),
        answers.count().to_string(),
        shown,
        verdict(is_kept).into(),
        format!("{}, {}", percent(mean), percent(worst)),
        if mean.is_nan() {
            String::new()
        } else {
            verdict(mean >= goal).into()
        },
        format!("{:.0}", answers.longest().as_secs_f64() * 1e3),
        answers.failed.to_string(),
    ]
}
