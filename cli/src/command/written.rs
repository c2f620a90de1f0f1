//! What a write answered: told to people, and judged.

use serde_json::Value;

use super::print;
use crate::args::Output;
use crate::client::{Answer, holdouts, items, plain};
use crate::failure::Failure;

/// Prints it, and fails unless it was reached, or was not to be waited for.
pub fn report(subject: &str, output: Output, answer: &Answer) -> Result<(), Failure> {
    match output {
        Output::Json => print(&answer.text)?,
        Output::Table => print(&told(subject, &answer.body))?,
    }
    let wait = &answer.body["wait"];
    if wait["for"] != "none" && wait["reached"].as_bool() != Some(true) {
        return Err(Failure::refused("the control plane does not say that it was reached"));
    }
    for note in [nobody_asked(&answer.body), also_registered(&answer.body)]
        .into_iter()
        .flatten()
    {
        eprintln!("{note}");
    }
    Ok(())
}

pub fn told(subject: &str, body: &Value) -> String {
    let (fleet, wait) = (&body["fleet"], &body["wait"]);
    let (revision, condition) = (plain(&body["revision"]), plain(&wait["for"]));
    if condition == "none" {
        return format!("{subject}: committed at revision {revision}, and nothing was waited for");
    }
    let (reached, members, took) = (
        plain(&fleet["reached"]),
        plain(&fleet["members"]),
        plain(&wait["took_ms"]),
    );
    let mut lines = vec![format!(
        "{subject}: {condition} on {reached} of {members} proxies at revision {revision} in {took} ms"
    )];
    lines.extend(holdouts(fleet));
    lines.join("\n")
}

/// A success that says nothing of any proxy.
pub fn nobody_asked(body: &Value) -> Option<String> {
    let nobody = body["fleet"]["members"].as_u64() == Some(0);
    nobody.then(|| "note: no proxy was asked: the fleet of this control plane has no members".to_owned())
}

fn also_registered(body: &Value) -> Option<String> {
    let upstreams: Vec<String> = items(&body["also_in"]).iter().map(plain).collect();
    let among = upstreams.join(", ");
    (!upstreams.is_empty()).then(|| format!("note: the same address gets requests as {among}, too"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_says_what_was_reached_and_who_was_not_asked() {
        let body = json!({
            "revision": 42, "committed": true, "wait": {"for": "drained", "reached": true, "took_ms": 38},
            "fleet": {"members": 3, "reached": 2, "lagging": [], "detached": ["edge-9"]}, "also_in": ["web/b", "shop/b"]
        });
        assert_eq!(
            told("web/a", &body),
            "web/a: drained on 2 of 3 proxies at revision 42 in 38 ms\n  edge-9 is detached: beyond its lease, not waited for"
        );
        assert_eq!(nobody_asked(&body), None);
        assert_eq!(
            also_registered(&body).unwrap(),
            "note: the same address gets requests as web/b, shop/b, too"
        );
    }

    #[test]
    fn what_was_not_waited_for_is_not_said_to_be_true() {
        let body = json!({
            "revision": 42, "committed": true, "wait": {"for": "none", "reached": false, "took_ms": 0},
            "fleet": {"members": 0, "reached": 0}, "also_in": []
        });
        assert_eq!(
            told("web", &body),
            "web: committed at revision 42, and nothing was waited for"
        );
        assert!(nobody_asked(&body).unwrap().contains("no members"));
    }
}
