//! Lists of objects, a row each.

use serde_json::Value;

use crate::args::{Output, Remote};
use crate::client::{Client, encode, items, plain};
use crate::columns;
use crate::command::{pages, print};
use crate::failure::Failure;

/// Words of one cell that are shown; the others are counted.
const WORDS: usize = 3;

/// How a kind of object is listed.
struct Listing<'a> {
    heading: &'a [&'a str],
    row: fn(&Value) -> Vec<String>,
    /// Lines below the table, of what does not fit in a row.
    below: fn(&Value) -> Vec<String>,
}

pub fn services(remote: &Remote) -> Result<(), Failure> {
    let listing = Listing {
        heading: &["SERVICE", "TAKES", "AUTHORIZER", "REVISION"],
        row: |service| {
            let [name, authorizer, revision] = ["name", "authorizer", "revision"].map(|of| plain(&service[of]));
            vec![name, takes(items(&service["match"])), authorizer, revision]
        },
        below: |_| Vec::new(),
    };
    list("/v1/services", &listing, remote)
}

pub fn upstreams(service: Option<&str>, address: Option<&str>, status: bool, remote: &Remote) -> Result<(), Failure> {
    let path = match (service, address) {
        (_, Some(address)) => format!("/v1/upstreams?address={}&status={status}", encode(address)),
        (service, None) => format!(
            "/v1/services/{}/upstreams?status={status}",
            encode(service.unwrap_or_default())
        ),
    };
    let mut listing = Listing {
        heading: &["UPSTREAM", "ADDRESS", "WEIGHT", "STATE", "TTL", "REVISION"],
        row: upstream,
        below: |_| Vec::new(),
    };
    if status {
        listing = Listing {
            heading: &[
                "UPSTREAM",
                "ADDRESS",
                "WEIGHT",
                "STATE",
                "TTL",
                "REVISION",
                "UP ON",
                "IN FLIGHT",
            ],
            row: |of| [upstream(of), health(of)].concat(),
            below: unwell,
        };
    }
    list(&path, &listing, remote)
}

pub fn limits(remote: &Remote) -> Result<(), Failure> {
    let listing = Listing {
        heading: &["LIMIT", "THRESHOLD", "PERIOD", "OF", "KEY", "MODE", "REVISION"],
        row: |limit| {
            let [id, threshold, period, key, mode, revision] =
                ["id", "threshold", "period", "key", "mode", "revision"].map(|of| plain(&limit[of]));
            vec![id, threshold, period, applies_to(limit), key, mode, revision]
        },
        below: |_| Vec::new(),
    };
    list("/v1/limits", &listing, remote)
}

pub fn authorizers(remote: &Remote) -> Result<(), Failure> {
    let listing = Listing {
        heading: &[
            "AUTHORIZER",
            "SERVICE",
            "PATH",
            "STYLE",
            "TIMEOUT",
            "TTL",
            "ON FAILURE",
            "REVISION",
        ],
        row: |authorizer| {
            let [name, service, path, style, timeout] =
                ["name", "service", "path", "style", "timeout"].map(|of| plain(&authorizer[of]));
            let ttl = plain(&authorizer["cache"]["ttl"]);
            let [on_failure, revision] = ["on_failure", "revision"].map(|of| plain(&authorizer[of]));
            vec![name, service, path, style, timeout, ttl, on_failure, revision]
        },
        below: |_| Vec::new(),
    };
    list("/v1/authorizers", &listing, remote)
}

fn list(path: &str, listing: &Listing, remote: &Remote) -> Result<(), Failure> {
    let client = Client::new(remote)?;
    let (mut rows, mut below) = (Vec::new(), Vec::new());
    pages::each(&client, path, pages::PATIENCE, |page| match remote.output {
        Output::Json => print(&page.text),
        Output::Table => {
            for item in items(&page.body["items"]) {
                rows.push((listing.row)(item));
                below.extend((listing.below)(item));
            }
            Ok(())
        }
    })?;
    if remote.output == Output::Table {
        print(&format!(
            "{}{}",
            columns::render(listing.heading, &rows),
            below.join("\n")
        ))?;
    }
    Ok(())
}

fn upstream(of: &Value) -> Vec<String> {
    let name = format!("{}/{}", plain(&of["service"]), plain(&of["id"]));
    let said = ["address", "weight", "state", "ttl", "revision"].map(|member| plain(&of[member]));
    std::iter::once(name).chain(said).collect()
}

/// On how many proxies it is up, and what is in flight to it on all of them.
fn health(of: &Value) -> Vec<String> {
    let seen = items(&of["status"]);
    let up = seen.iter().filter(|proxy| proxy["health"] == "up").count();
    let in_flight: u64 = seen.iter().filter_map(|proxy| proxy["in_flight"].as_u64()).sum();
    vec![format!("{up} of {}", seen.len()), in_flight.to_string()]
}

/// A line for each proxy that finds it other than up; one that cannot be asked has no say.
fn unwell(of: &Value) -> Vec<String> {
    let unwell = items(&of["status"]).iter().filter(|proxy| proxy["health"] != "up");
    let line = |proxy: &Value| {
        let (name, upstream) = (plain(&proxy["proxy"]), &upstream(of)[0]);
        match proxy["health"].as_str() {
            Some(_) => format!("  {name} finds {upstream} {}", plain(&proxy["health"])),
            None => format!("  {name} does not say how {upstream} is"),
        }
    };
    unwell.map(line).collect()
}

fn takes(matches: &[Value]) -> String {
    match matches {
        [] => "nothing from outside".to_owned(),
        matches => few(matches.iter().flat_map(one_match).collect()),
    }
}

/// Of requests, host by host; of mail, recipient by recipient.
fn one_match(of: &Value) -> Vec<String> {
    let recipients = items(&of["recipients"]);
    if !recipients.is_empty() {
        return recipients
            .iter()
            .map(|pattern| format!("mail to {}", plain(pattern)))
            .collect();
    }
    let methods: Vec<String> = items(&of["methods"]).iter().map(plain).collect();
    let mut before = methods.join("|");
    if !before.is_empty() {
        before.push(' ');
    }
    let path = [&of["path_prefix"], &of["path_regex"]]
        .into_iter()
        .find(|path| !path.is_null());
    let path = path.map_or_else(String::new, plain);
    match items(&of["hosts"]) {
        [] => vec![format!("{before}*{path}")],
        hosts => hosts
            .iter()
            .map(|host| format!("{before}{}{path}", plain(host)))
            .collect(),
    }
}

/// Which requests a limit is about: what it says other than "any".
fn applies_to(limit: &Value) -> String {
    let said = ["service", "auth_token", "protocol", "method", "path"]
        .into_iter()
        .filter(|name| limit[*name].is_string() && limit[*name] != ".*")
        .map(|name| format!("{name} {}", plain(&limit[name])));
    let mut said: Vec<String> = said.collect();
    if limit["data_size"].as_u64().is_some_and(|size| size > 0) || limit["data_size"].is_string() {
        said.push(format!("data_size {}", plain(&limit["data_size"])));
    }
    match said.is_empty() {
        true => "everything".to_owned(),
        false => said.join(", "),
    }
}

fn few(words: Vec<String>) -> String {
    let mut shown = words[..words.len().min(WORDS)].join(", ");
    if words.len() > WORDS {
        shown.push_str(&format!(" and {} more", words.len() - WORDS));
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_takes_hosts_paths_and_mail() {
        let of = |matches: Value| takes(items(&matches));
        assert_eq!(of(json!([])), "nothing from outside");
        assert_eq!(of(json!([{}])), "*");
        assert_eq!(of(json!([{"path_prefix": "/v2", "path_regex": null}])), "*/v2");
        assert_eq!(
            of(json!([{"hosts": ["a.example"], "methods": ["GET", "HEAD"]}])),
            "GET|HEAD a.example"
        );
        assert_eq!(
            of(json!([{"recipients": ["example.com"]}, {"hosts": ["a"]}])),
            "mail to example.com, a"
        );
        assert_eq!(of(json!([{"hosts": ["a", "b", "c", "d", "e"]}])), "a, b, c and 2 more");
    }

    #[test]
    fn a_limit_says_what_is_not_any() {
        let limit = json!({"auth_token": ".*", "protocol": "SMTP", "method": ".*", "path": "/login", "data_size": 0,
            "service": null});
        assert_eq!(applies_to(&limit), "protocol SMTP, path /login");
        assert_eq!(applies_to(&json!({"auth_token": ".*", "data_size": 0})), "everything");
        assert_eq!(applies_to(&json!({"data_size": 1000})), "data_size 1000");
    }

    #[test]
    fn an_upstream_is_up_where_proxies_say_so() {
        let of = json!({"service": "web", "id": "a", "status": [
            {"proxy": "edge-1", "health": "up", "in_flight": 2}, {"proxy": "edge-2", "health": "down", "in_flight": 1},
            {"proxy": "edge-3", "health": null}]});
        assert_eq!(health(&of), ["1 of 3", "3"]);
        assert_eq!(
            unwell(&of),
            ["  edge-2 finds web/a down", "  edge-3 does not say how web/a is"]
        );
    }
}
