use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::print;
use crate::args::{Leave, Output};
use crate::client::{Client, encode, holdouts, plain};
use crate::failure::Failure;

/// The longest that the API lets a write wait.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// For the commit before the wait, and for the way.
const BESIDE_WAIT: Duration = Duration::from_secs(15);

pub fn run(args: Leave) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let mut path = format!("/v1/upstreams?address={}", encode(&args.address));
    if let Some(timeout) = args.timeout {
        path.push_str(&format!("&timeout={}ms", timeout.as_millis()));
    }
    let answer = client.call(Method::DELETE, &path, args.timeout.unwrap_or(WAIT_MAX) + BESIDE_WAIT)?;
    match args.remote.output {
        Output::Json => print(&answer.text),
        Output::Table => print(&report(&args.address, &answer.body)),
    }
    // 202 is a success that waited for nothing; only what was reached is safe to kill.
    match answer.body["wait"]["reached"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(Failure::refused("the control plane does not say that it was reached")),
    }
}

fn report(address: &str, body: &Value) -> String {
    let (revision, wait, fleet) = (&body["revision"], &body["wait"], &body["fleet"]);
    let (condition, took) = (plain(&wait["for"]), plain(&wait["took_ms"]));
    let (reached, members) = (plain(&fleet["reached"]), plain(&fleet["members"]));
    let mut lines = vec![format!(
        "{address}: {condition} on {reached} of {members} proxies at revision {} in {took} ms",
        plain(revision)
    )];
    lines.extend(holdouts(fleet));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_report_says_what_was_waited_for() {
        let body = json!({
            "revision": 42, "committed": true, "wait": {"for": "drained", "reached": true, "took_ms": 38},
            "fleet": {"members": 3, "reached": 3, "lagging": [], "detached": ["edge-9"]}, "also_in": []
        });
        assert_eq!(
            report("10.0.0.5:3001", &body),
            "10.0.0.5:3001: drained on 3 of 3 proxies at revision 42 in 38 ms\n  edge-9 is detached: beyond its lease, not waited for"
        );
    }
}
