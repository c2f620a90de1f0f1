//! What a long wait hangs on, told while it goes on: the answer names it only at its end.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::args::Remote;
use crate::client::{Client, items, plain};
use crate::failure::Failure;

const EVERY: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(5);
/// Proxies that one look covers, and lines that it tells.
const PAGE: usize = 1000;
const LINES_MAX: usize = 5;

/// Runs `work`, and from its first second on says on stderr who is not there yet, whenever that is another.
pub fn told<T>(remote: &Remote, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let (done, ended) = mpsc::channel::<()>();
    let client = Client::new(remote)?;
    let watching = thread::spawn(move || {
        let began = Instant::now();
        let mut last = Vec::new();
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(EVERY) {
            let path = format!("/v1/fleet?limit={PAGE}");
            let Ok(fleet) = client.call(Method::GET, &path, PATIENCE) else {
                continue;
            };
            let lines = laggards(&fleet.body);
            if lines != last && !lines.is_empty() {
                eprintln!("after {} s:", began.elapsed().as_secs());
                lines.iter().for_each(|line| eprintln!("  {line}"));
            }
            last = lines;
        }
    });
    let result = work();
    drop(done);
    // A look that is under way has a deadline of its own; nobody needs what it finds.
    drop(watching);
    result
}

fn laggards(body: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for proxy in items(&body["items"]) {
        let name = plain(&proxy["name"]);
        if proxy["state"] == "absent" {
            lines.push(format!("{name} is away, and within its lease"));
        }
        if proxy["lag"].as_u64().is_some_and(|lag| lag > 0) {
            lines.push(format!("{name} lags by {}", plain(&proxy["lag"])));
        }
        for one in items(&proxy["draining"]) {
            lines.push(format!(
                "{name} drains {}: {} in flight",
                plain(&one["upstream"]),
                plain(&one["in_flight"])
            ));
        }
        for one in items(&proxy["warming"]) {
            lines.push(format!(
                "{name} warms {}: {}",
                plain(&one["upstream"]),
                plain(&one["last"])
            ));
        }
    }
    if lines.len() > LINES_MAX {
        let more = lines.len() - LINES_MAX;
        lines.truncate(LINES_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_is_not_there_yet_is_named() {
        let body = json!({"items": [
            {"name": "p1", "state": "present", "lag": 0, "draining": [{"upstream": "web/a", "in_flight": 2}], "warming": []},
            {"name": "p2", "state": "absent", "lag": 3, "draining": [], "warming": [{"upstream": "web/b", "last": "503"}]},
            {"name": "p3", "state": "present", "lag": 0, "draining": [], "warming": []},
        ]});
        let expected = [
            "p1 drains web/a: 2 in flight",
            "p2 is away, and within its lease",
            "p2 lags by 3",
            "p2 warms web/b: 503",
        ];
        assert_eq!(laggards(&body), expected);
    }
}
