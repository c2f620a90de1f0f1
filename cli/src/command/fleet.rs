use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::{pages, print};
use crate::args::{Fleet, Output};
use crate::client::{Client, encode, holdouts, items, plain};
use crate::columns;
use crate::failure::Failure;

mod live;

pub fn run(args: Fleet) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    if args.watch {
        return live::run(&client, &args);
    }
    print(&look(&client, &args, pages::PATIENCE)?)?;
    Ok(())
}

/// What there is to see, as it is to be printed.
fn look(client: &Client, args: &Fleet, patience: Duration) -> Result<String, Failure> {
    if let Some(name) = &args.proxy {
        let answer = client.call(Method::GET, &format!("/v1/fleet/{}", encode(name)), patience)?;
        return Ok(match args.remote.output {
            Output::Json => answer.text,
            Output::Table => one(&answer.body),
        });
    }
    let (mut proxies, mut bodies) = (Vec::new(), String::new());
    let last = pages::each(client, "/v1/fleet", patience, |page| {
        match args.remote.output {
            Output::Json => bodies.push_str(&page.text),
            Output::Table => proxies.extend(items(&page.body["items"]).iter().cloned()),
        }
        Ok(())
    })?;
    match args.remote.output {
        Output::Json => Ok(bodies),
        Output::Table => Ok(report(&proxies, &last)),
    }
}

fn report(proxies: &[Value], body: &Value) -> String {
    let (head, epoch) = (plain(&body["head"]), plain(&body["epoch"]));
    let mut text = table(proxies);
    for held in items(&body["lapsed"]) {
        let [service, lapsed, of] = ["service", "lapsed", "of"].map(|member| plain(&held[member]));
        text.push_str(&format!(
            "  {lapsed} of {of} upstreams of {service} were not renewed: too many at once, none is unregistered\n"
        ));
    }
    text + &format!("head {head}, epoch {epoch}")
}

/// One proxy, and how it finds its upstreams.
fn one(proxy: &Value) -> String {
    let mut text = table(std::slice::from_ref(proxy));
    if !proxy["upstreams"].is_array() {
        return text + "how it finds its upstreams cannot be asked now";
    }
    let rows: Vec<Vec<String>> = items(&proxy["upstreams"])
        .iter()
        .map(|of| {
            ["upstream", "health", "in_flight"]
                .map(|member| plain(&of[member]))
                .into()
        })
        .collect();
    text.push('\n');
    text.push_str(&columns::render(&["UPSTREAM", "HEALTH", "IN FLIGHT"], &rows));
    if let Some(more) = proxy["more"].as_u64() {
        text.push_str(&format!("and {more} more"));
    }
    text
}

fn table(proxies: &[Value]) -> String {
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
edge-1   present        42    0  10s    yes        0.1.0
edge-22  detached       40    2  10s    yes        0.1.0
  edge-1 drains web/a: 2 in flight
  4 of 5 upstreams of web were not renewed: too many at once, none is unregistered
head 42, epoch e";
        let body = json!({"head": 42, "epoch": "e", "lapsed": [{"service": "web", "lapsed": 4, "of": 5}]});
        assert_eq!(report(&proxies, &body), expected);
    }

    #[test]
    fn one_proxy_is_shown_with_its_upstreams() {
        let mut proxy = json!({"name": "edge-1", "state": "present", "applied": 42, "lag": 0, "build": "0.1.0",
            "lease": "10s", "persisted": true, "upstreams": [{"upstream": "web/a", "health": "up", "in_flight": 12}]});
        let upstreams = "\nUPSTREAM  HEALTH  IN FLIGHT\nweb/a     up             12\n";
        assert!(one(&proxy).ends_with(upstreams), "{}", one(&proxy));
        proxy["upstreams"] = Value::Null;
        assert!(one(&proxy).ends_with("cannot be asked now"));
    }
}
