use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::{given, print};
use crate::args::{Apply, Goal, Output, Remote};
use crate::changes;
use crate::client::{Answer, Ask, Client, holdouts, plain};
use crate::document::{self, BYTES_MAX};
use crate::failure::Failure;
use crate::waiting::{self, About};

/// The longest that the API lets a write wait; what nobody limited may take longer.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);
/// For reading, deciding and committing before the wait, and for the way.
const BESIDE_WAIT: Duration = Duration::from_secs(300);

pub fn run(args: Apply) -> Result<(), Failure> {
    let name = args.file.display();
    let refused = |detail: String| Failure::refused(format!("{name}: {detail}"));
    let text = given::read("--file", &args.file, BYTES_MAX)?;
    let format = args.format.or_else(|| document::format_of(&args.file));
    let json = document::to_json(text, format).map_err(refused)?;
    let mut query = Vec::new();
    if args.prune {
        query.push("prune=true".to_owned());
    }
    let wish = Wish {
        dry_run: args.dry_run,
        wait: args.wait,
        timeout: args.timeout,
    };
    submit(&args.remote, "/v1/apply", query, Some(json), &wish)
}

/// What a write of many objects is to come to.
pub struct Wish {
    pub dry_run: bool,
    pub wait: Option<Goal>,
    pub timeout: Option<Duration>,
}

/// Sends a write of many objects, and tells what became of it, or what would.
pub fn submit(
    remote: &Remote,
    path: &str,
    mut query: Vec<String>,
    body: Option<String>,
    wish: &Wish,
) -> Result<(), Failure> {
    let client = Client::new(remote)?;
    if wish.dry_run {
        query.push("dry_run=true".to_owned());
    } else {
        query.extend(wish.wait.map(|goal| format!("wait={}", goal.as_str())));
        query.extend(wish.timeout.map(|timeout| format!("timeout={}ms", timeout.as_millis())));
    }
    let separator = if query.is_empty() { "" } else { "?" };
    let path = format!("{path}{separator}{}", query.join("&"));
    let ask = |patience: Duration| Ask {
        method: Method::POST,
        path: &path,
        body: body.as_deref(),
        headers: &[],
        patience,
    };
    if wish.dry_run {
        let answer = client.ask(&ask(BESIDE_WAIT))?;
        match remote.output {
            Output::Json => print(&answer.text)?,
            Output::Table => print(&changes::render(&answer.body, changes::is_coloured()))?,
        }
        return Ok(());
    }
    let patience = wish.timeout.unwrap_or(WAIT_MAX) + BESIDE_WAIT;
    let answer = waiting::during(remote, About::All, || client.ask(&ask(patience)))?;
    told(remote.output, &answer)
}

fn told(output: Output, answer: &Answer) -> Result<(), Failure> {
    match output {
        Output::Json => print(&answer.text)?,
        Output::Table => print(&report(&answer.body))?,
    }
    if answer.body["fleet"]["members"].as_u64() == Some(0) {
        eprintln!("note: no proxy was asked: the fleet of this control plane has no members");
    }
    let wait = &answer.body["wait"];
    if wait["for"] != "none" && wait["reached"].as_bool() != Some(true) {
        return Err(Failure::refused("the control plane does not say that it was reached"));
    }
    Ok(())
}

fn report(body: &Value) -> String {
    let (wait, fleet) = (&body["wait"], &body["fleet"]);
    let (put, deleted) = (body["put"].as_u64(), body["deleted"].as_u64());
    let done = match (put.unwrap_or(0), deleted.unwrap_or(0)) {
        (0, 0) => "nothing to change".to_owned(),
        (put, deleted) => format!("{put} put, {deleted} deleted"),
    };
    let at = match body["revisions"].as_array().map(Vec::as_slice) {
        Some([from, to]) => format!("revisions {} to {}", plain(from), plain(to)),
        _ => format!("revision {}", plain(&body["revision"])),
    };
    if wait["for"] == "none" {
        return format!("{done}: committed at {at}, and nothing was waited for");
    }
    let (reached, members) = (plain(&fleet["reached"]), plain(&fleet["members"]));
    let (condition, took) = (plain(&wait["for"]), plain(&wait["took_ms"]));
    let mut lines = vec![format!(
        "{done}: {condition} on {reached} of {members} proxies at {at} in {took} ms"
    )];
    lines.extend(holdouts(fleet));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_report_says_what_was_done_and_where_it_is_true() {
        let body = |more: Value| {
            let mut body = json!({"revision": 42, "committed": true, "wait": {"for": "drained", "reached": true, "took_ms": 38},
                "fleet": {"members": 3, "reached": 3, "detached": ["edge-9"]}, "also_in": [], "put": 2, "deleted": 1});
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body
        };
        assert_eq!(
            report(&body(json!({}))),
            "2 put, 1 deleted: drained on 3 of 3 proxies at revision 42 in 38 ms\n  edge-9 is detached: beyond its lease, not waited for"
        );
        assert!(report(&body(json!({"revisions": [40, 42]}))).contains(" at revisions 40 to 42 "));
        assert!(report(&body(json!({"put": 0, "deleted": 0}))).starts_with("nothing to change: "));
        assert_eq!(
            report(&body(json!({"wait": {"for": "none", "reached": false, "took_ms": 0}}))),
            "2 put, 1 deleted: committed at revision 42, and nothing was waited for"
        );
    }
}
