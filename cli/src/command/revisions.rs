use http::Method;
use serde_json::Value;

use super::pages::PATIENCE;
use super::print;
use crate::args::{Output, Revisions};
use crate::client::{Client, items, plain};
use crate::columns;
use crate::failure::Failure;

/// Operations of one revision that a row names.
const NAMED: usize = 4;

pub fn run(args: Revisions) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let since = match args.since {
        Some(since) => since,
        None => before_last(&client, args.limit)?,
    };
    let path = format!("/v1/revisions?since={since}&limit={}", args.limit);
    let answer = client.call(Method::GET, &path, PATIENCE)?;
    match args.remote.output {
        Output::Json => print(&answer.text)?,
        Output::Table => print(&report(&answer.body))?,
    }
    Ok(())
}

/// What the last `limit` revisions come after: the history may begin behind that, as that of a restored store does.
fn before_last(client: &Client, limit: u64) -> Result<u64, Failure> {
    let fleet = client.call(Method::GET, "/v1/fleet?limit=1", PATIENCE)?;
    let head = fleet.body["head"].as_u64().unwrap_or(0);
    let oldest = client.call(Method::GET, "/v1/revisions?limit=1", PATIENCE)?;
    let first = items(&oldest.body["items"]).first();
    let begins = first.and_then(|revision| revision["revision"].as_u64());
    let trimmed = begins.map_or(head, |begins| begins.saturating_sub(1));
    Ok(head.saturating_sub(limit).max(trimmed))
}

fn report(body: &Value) -> String {
    let rows: Vec<Vec<String>> = items(&body["items"])
        .iter()
        .map(|revision| {
            let [number, at, actor] = ["revision", "at", "actor"].map(|of| plain(&revision[of]));
            vec![number, at, actor, changes(items(&revision["ops"]))]
        })
        .collect();
    columns::render(&["REVISION", "AT", "ACTOR", "CHANGES"], &rows)
}

/// What a revision did, on one line.
pub fn changes(ops: &[Value]) -> String {
    let mut words: Vec<String> = ops
        .iter()
        .take(NAMED)
        .map(|op| format!("{} {} {}", plain(&op["verb"]), plain(&op["kind"]), plain(&op["key"])))
        .collect();
    if ops.len() > NAMED {
        words.push(format!("and {} more", ops.len() - NAMED));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_for_each_revision() {
        let op = |key: &str| json!({"verb": "put", "kind": "upstream", "key": key});
        let body = json!({"items": [
            {"revision": 7, "at": "2026-01-02T03:04:05Z", "actor": "anna", "ops": [op("web/a")]},
            {"revision": 8, "at": "2026-01-02T03:04:06Z", "actor": "anna",
                "ops": [op("web/b"), op("web/c"), op("web/d"), op("web/e"), op("web/f"), op("web/g")]},
        ]});
        let expected = "\
REVISION  AT                    ACTOR  CHANGES
       7  2026-01-02T03:04:05Z  anna   put upstream web/a
       8  2026-01-02T03:04:06Z  anna   put upstream web/b, put upstream web/c, put upstream web/d, put upstream web/e, and 2 more
";
        assert_eq!(report(&body), expected);
    }
}
