//! `watch`: changes as they come. A connection that is lost is made again, after the last revision that was printed.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::thread::sleep;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use super::pages::PATIENCE;
use super::revisions::changes;
use crate::args::{Output, Watch};
use crate::client::follow::End;
use crate::client::{Client, items, plain};
use crate::failure::Failure;
use crate::terminal;

const RETRY_EVERY: Duration = Duration::from_secs(1);
/// Without a word.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

pub fn run(args: Watch) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let mut since = match args.since {
        Some(since) => since,
        // Said from the beginning, so that nothing is left out when the first connection breaks at once.
        None => {
            let fleet = client.call(Method::GET, "/v1/fleet?limit=1", PATIENCE)?;
            fleet.body["head"].as_u64().unwrap_or(0)
        }
    };
    let mut heard: Option<Instant> = None;
    let mut told = false;
    loop {
        let end = client.follow(&format!("/v1/watch?since={since}"), |line| {
            (heard, told) = (Some(Instant::now()), false);
            take(line, args.remote.output, &mut since)
        });
        match (end, heard) {
            (End::Enough, _) => return Ok(()),
            (End::Refused(failure), _) => return Err(failure),
            (End::Lost(detail), None) => return Err(Failure::refused(detail)),
            (End::Lost(detail), Some(heard)) if heard.elapsed() > GIVE_UP_AFTER => {
                return Err(Failure::refused(detail));
            }
            (End::Lost(detail), Some(_)) => {
                if !told {
                    told = true;
                    let detail = detail.lines().next().unwrap_or_default();
                    eprintln!("note: {detail}; trying again, after revision {since}");
                }
                sleep(RETRY_EVERY);
            }
        }
    }
}

/// Prints a line of the stream, and notes the revision that it shows.
fn take(line: &str, output: Output, since: &mut u64) -> ControlFlow<()> {
    let shown: Value = serde_json::from_str(line).unwrap_or_default();
    let printed = match (output, shown["revision"].as_u64()) {
        (Output::Json, _) => writeln!(io::stdout(), "{line}"),
        (Output::Table, Some(_)) => writeln!(io::stdout(), "{}", row(&shown)),
        (Output::Table, None) => Ok(()),
    };
    if let Some(revision) = shown["revision"].as_u64() {
        *since = revision;
    }
    match printed.is_ok() && terminal::is_read() {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}

fn row(revision: &Value) -> String {
    let [number, at, actor] = ["revision", "at", "actor"].map(|of| plain(&revision[of]));
    format!("{number:>8}  {at}  {actor}  {}", changes(items(&revision["ops"])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_revision_is_a_line() {
        let revision = json!({"revision": 7, "at": "2026-01-02T03:04:05.678Z", "actor": "an\nna",
            "ops": [{"verb": "delete", "kind": "upstream", "key": "web/a"}]});
        assert_eq!(
            row(&revision),
            "       7  2026-01-02T03:04:05.678Z  an na  delete upstream web/a"
        );
    }

    #[test]
    fn a_beat_moves_nothing() {
        let mut since = 7;
        assert!(take(r#"{"beat": 9}"#, Output::Table, &mut since).is_continue());
        assert_eq!(since, 7, "revisions up to 9 may still come");
    }
}
