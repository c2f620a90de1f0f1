use std::time::Duration;

use http::Method;
use serde_json::Value;
use shared::model::Address;

use super::{BESIDE_WAIT, WAIT_MAX, print, written};
use crate::args::{Leave, Output};
use crate::client::{Client, encode, items, plain};
use crate::failure::Failure;
use crate::waiting::{self, About};

/// Revisions in which a registration of the address is looked for.
const HISTORY: u64 = 1000;
const HISTORY_PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: Leave) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let mut path = format!("/v1/upstreams?address={}", encode(&args.address));
    if let Some(timeout) = args.timeout {
        path.push_str(&format!("&timeout={}ms", timeout.as_millis()));
    }
    let patience = args.timeout.unwrap_or(WAIT_MAX) + BESIDE_WAIT;
    let answer = waiting::during(&args.remote, About::All, || {
        client.call(Method::DELETE, &path, patience)
    })?;
    match args.remote.output {
        Output::Json => print(&answer.text)?,
        Output::Table => print(&written::told(&args.address, &answer.body))?,
    }
    // 202 is a success that waited for nothing; only what was reached is safe to kill.
    if answer.body["wait"]["reached"].as_bool() != Some(true) {
        return Err(Failure::refused("the control plane does not say that it was reached"));
    }
    for note in notes(&client, &args.address, &answer.body) {
        eprintln!("{note}");
    }
    match items(&answer.body["also_in"]) {
        [] => Ok(()),
        anew => Err(Failure::refused(registered_anew(&args.address, anew))),
    }
}

fn registered_anew(address: &str, upstreams: &[Value]) -> String {
    let upstreams: Vec<String> = upstreams.iter().map(plain).collect();
    format!(
        "{address} was registered again meanwhile, and gets requests as {}",
        upstreams.join(", ")
    )
}

/// What a success may hide: it is the same for an address that nobody ever registered, and where nobody was asked.
fn notes(client: &Client, address: &str, body: &Value) -> Vec<String> {
    let mut notes: Vec<String> = written::nobody_asked(body).into_iter().collect();
    if let (Ok(canonical), Some(revision)) = (Address::try_from(address), body["revision"].as_u64()) {
        let look = |span: u64| {
            let path = format!("/v1/revisions?since={}&limit={span}", revision.saturating_sub(span));
            let history = client.call(Method::GET, &path, HISTORY_PATIENCE).ok()?;
            Some(taken_out(&history.body, &canonical, revision))
        };
        // Mostly it is the very revision that was answered.
        let found = match look(1) {
            Some(None) if revision > 1 => look(HISTORY),
            found => found,
        };
        notes.extend(unregistered(address, revision, found));
    }
    notes
}

/// `found`: the last revision that took a registration of the address out, if history could be read, and held one.
fn unregistered(address: &str, revision: u64, found: Option<Option<u64>>) -> Option<String> {
    let spelling = "an address has to be spelled as it was registered";
    match found {
        Some(Some(at)) if at == revision => None,
        Some(Some(at)) => Some(format!(
            "note: {address} was not registered any more since revision {at}; what was left of it was waited for again"
        )),
        Some(None) => Some(format!(
            "note: nothing was registered as {address}, nor in the {HISTORY} revisions before: {spelling}"
        )),
        None => Some(format!(
            "note: whether anything was registered as {address} could not be looked up: {spelling}"
        )),
    }
}

/// The last revision, up to `revision`, that deleted a registration of the address or gave it another.
fn taken_out(history: &Value, address: &Address, revision: u64) -> Option<u64> {
    let had_it = |op: &Value| {
        let id = op["key"].as_str().and_then(|key| key.split_once('/')).map(|(_, id)| id);
        let before = &op["before"]["body"];
        let held = before["address"].as_str().or(id.filter(|_| before.is_object()));
        op["kind"] == "upstream" && held.and_then(|held| Address::try_from(held).ok()).as_ref() == Some(address)
    };
    let commits = items(&history["items"]).iter().rev();
    let mut taking = commits.filter(|commit| items(&commit["ops"]).iter().any(had_it));
    taking.find_map(|commit| commit["revision"].as_u64().filter(|number| *number <= revision))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_success_says_what_it_was_about() {
        let gone = |key: &str, body: Value| json!({"verb": "delete", "kind": "upstream", "key": key, "before": {"body": body}});
        let history = json!({"items": [
            {"revision": 5, "ops": [gone("web/a", json!({"address": "localhost:3002"}))]},
            {"revision": 6, "ops": [gone("web/127.0.0.1:3001", json!({}))]},
            {"revision": 7, "ops": [{"verb": "put", "kind": "upstream", "key": "web/127.0.0.1:3001", "body": {}}]},
        ]});
        let taken = |address: &str, revision| taken_out(&history, &Address::try_from(address).unwrap(), revision);
        assert_eq!(taken("LocalHost:3002", 7), Some(5));
        assert_eq!(taken("127.0.0.1:3001", 7), Some(6), "what is put is not taken out");
        assert_eq!(taken("127.0.0.1:3001", 5), None);
        assert_eq!(taken("127.0.0.1:3002", 7), None, "another spelling is another address");
        assert_eq!(unregistered("a:1", 6, Some(Some(6))), None);
        assert!(
            unregistered("a:1", 7, Some(Some(6)))
                .unwrap()
                .contains("since revision 6")
        );
        assert!(
            unregistered("a:1", 7, Some(None))
                .unwrap()
                .contains("nothing was registered as a:1")
        );
        assert!(unregistered("a:1", 7, None).unwrap().contains("could not be looked up"));
    }
}
