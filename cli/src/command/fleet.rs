use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::print;
use crate::args::{Fleet, Output};
use crate::client::{Client, encode, holdouts, items, plain};
use crate::columns;
use crate::failure::Failure;

const PATIENCE: Duration = Duration::from_secs(30);
/// The most that one answer lists.
const PAGE: usize = 1000;

pub fn run(args: Fleet) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let mut cursor: Option<String> = None;
    let mut proxies = Vec::new();
    loop {
        let from = cursor.map_or_else(String::new, |cursor| format!("&cursor={}", encode(&cursor)));
        let answer = client.call(Method::GET, &format!("/v1/fleet?limit={PAGE}{from}"), PATIENCE)?;
        if args.remote.output == Output::Json {
            print(&answer.text);
        }
        proxies.extend(items(&answer.body["items"]).iter().cloned());
        cursor = answer.body["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            if args.remote.output == Output::Table {
                print(&report(&proxies, &answer.body));
            }
            return Ok(());
        }
    }
}

fn report(proxies: &[Value], body: &Value) -> String {
    let rows: Vec<Vec<String>> = proxies
        .iter()
        .map(|proxy| {
            ["name", "state", "applied", "lag", "lease", "persisted", "build"]
                .map(|of| plain(&proxy[of]))
                .into()
        })
        .collect();
    let mut text = columns::render(
        &["PROXY", "STATE", "APPLIED", "LAG", "LEASE", "PERSISTED", "BUILD"],
        &rows,
    );
    for proxy in proxies {
        for line in holdouts(&of_proxy(proxy)) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    for held in items(&body["lapsed"]) {
        let [service, lapsed, of] = ["service", "lapsed", "of"].map(|member| plain(&held[member]));
        text.push_str(&format!(
            "  {lapsed} of {of} upstreams of {service} were not renewed: too many at once, none is unregistered\n"
        ));
    }
    text.push_str(&format!(
        "head {}, epoch {}",
        plain(&body["head"]),
        plain(&body["epoch"])
    ));
    text
}

/// What one proxy reports, in the form in which a write's answer names it.
fn of_proxy(proxy: &Value) -> Value {
    let mut fleet = serde_json::Map::new();
    for list in ["draining", "warming", "refused"] {
        let named = items(&proxy[list]).iter().map(|item| {
            let mut item = item.clone();
            item["proxy"] = proxy["name"].clone();
            item
        });
        fleet.insert(list.to_owned(), named.collect());
    }
    Value::Object(fleet)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_for_each_proxy_and_a_line_for_what_it_waits_for() {
        let proxies = [
            json!({"name": "edge-1", "state": "present", "applied": 42, "lag": 0, "build": "0.1.0", "lease": "10s",
                "persisted": true, "draining": [{"upstream": "web/a", "in_flight": 2}], "warming": [], "refused": []}),
            json!({"name": "edge-22", "state": "detached", "applied": 40, "lag": 2, "build": "0.1.0", "lease": "10s",
                "persisted": true, "draining": [], "warming": [], "refused": []}),
        ];
        let expected = "\
PROXY    STATE     APPLIED  LAG  LEASE  PERSISTED  BUILD
edge-1   present   42       0    10s    yes        0.1.0
edge-22  detached  40       2    10s    yes        0.1.0
  edge-1 drains web/a: 2 in flight
  4 of 5 upstreams of web were not renewed: too many at once, none is unregistered
head 42, epoch e";
        let body = json!({"head": 42, "epoch": "e", "lapsed": [{"service": "web", "lapsed": 4, "of": 5}]});
        assert_eq!(report(&proxies, &body), expected);
    }
}
