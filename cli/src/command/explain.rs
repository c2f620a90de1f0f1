use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::print;
use crate::args::{Explain, Output};
use crate::client::{Client, encode, items, plain};
use crate::columns;
use crate::failure::Failure;

const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(args: Explain) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let given = [
        ("url", &args.target),
        ("method", &args.method),
        ("recipient", &args.recipient),
        ("proxy", &args.proxy),
        ("auth_token", &args.auth_token),
    ];
    let given = given
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let headers = args.header.iter().map(|header| ("header", header));
    let query: Vec<String> = given
        .chain(headers)
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    let answer = client.call(Method::GET, &format!("/v1/explain?{}", query.join("&")), PATIENCE)?;
    match args.remote.output {
        Output::Json => print(&answer.text),
        Output::Table => print(&report(&answer.body)),
    }
    Ok(())
}

fn report(body: &Value) -> String {
    let mut text = format!("{}\n", head(body));
    if let Some(authorizer) = body["authorizer"].as_object() {
        let of = |name: &str| authorizer.get(name).map_or_else(|| "-".to_owned(), plain);
        text.push_str(&format!(
            "authorizer  {} asks service {} at {}\n",
            of("name"),
            of("service"),
            of("path")
        ));
    }
    if body["held"] == true {
        text.push_str("held        its requests wait until it is resumed\n");
    }
    for limit in items(&body["limits"]) {
        text.push_str(&format!(
            "limit       {}: {} in {} s, counted under {}\n",
            plain(&limit["id"]),
            plain(&limit["threshold"]),
            plain(&limit["period"]),
            plain(&limit["key"])
        ));
    }
    let candidates: Vec<Vec<String>> = items(&body["candidates"])
        .iter()
        .map(|one| {
            let mark = if one["wins"] == true { "->" } else { "" };
            vec![
                mark.to_owned(),
                format!("{}[{}]", plain(&one["service"]), plain(&one["match"])),
                plain(&one["why"]),
            ]
        })
        .collect();
    if !candidates.is_empty() {
        text.push('\n');
        text.push_str(&columns::render(&["", "MATCH", "WHY"], &candidates));
    }
    if let Some(more) = body["more"].as_u64() {
        text.push_str(&format!("and {more} more\n"));
    }
    text.push_str(&upstreams(body));
    text
}

fn head(body: &Value) -> String {
    let asked = match body["recipient"].as_str() {
        Some(_) => format!("mail to {}", plain(&body["recipient"])),
        None => ["method", "host", "path"].map(|name| plain(&body[name])).join(" "),
    };
    match (body["service"].as_str(), body["answer"]["status"].as_u64()) {
        (Some(service), _) => format!("{asked}\nservice     {service}, by its match {}", plain(&body["match"])),
        (None, Some(status)) => format!("{asked}\nanswer      {status}: {}", plain(&body["answer"]["detail"])),
        (None, None) => asked,
    }
}

fn upstreams(body: &Value) -> String {
    let upstreams = items(&body["upstreams"]);
    if upstreams.is_empty() {
        let none = "\nno upstream is registered\n".to_owned();
        return if body["service"].is_string() {
            none
        } else {
            String::new()
        };
    }
    let seen = body["proxy"].is_object();
    let rows: Vec<Vec<String>> = upstreams
        .iter()
        .map(|one| {
            let mut row: Vec<String> = ["id", "address", "weight", "state"]
                .map(|name| plain(&one[name]))
                .into();
            if seen {
                row.extend(["health", "in_flight"].map(|name| plain(&one["seen"][name])));
            }
            row
        })
        .collect();
    let mut heading = vec!["UPSTREAM", "ADDRESS", "WEIGHT", "STATE"];
    if seen {
        heading.extend(["HEALTH", "IN FLIGHT"]);
    }
    format!("\n{}", columns::render(&heading, &rows))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_winner_stands_first_and_each_other_says_why_not() {
        let body = json!({
            "protocol": "HTTP", "method": "GET", "host": "a.test", "path": "/x", "service": "web", "match": 0,
            "authorizer": {"name": "main", "service": "auth", "path": "/authorize"}, "held": false,
            "candidates": [
                {"service": "web", "match": 0, "wins": true, "fits": true, "why": "it fits"},
                {"service": "other", "match": 2, "wins": false, "fits": false, "why": "it names other methods"},
            ],
            "limits": [{"id": "5b1f", "threshold": 5, "period": 60, "key": "auth_token"}],
            "upstreams": [{"id": "a", "address": "h:1", "weight": 1, "state": "active", "seen": {"health": "up", "in_flight": 2}}],
            "proxy": {"name": "p1", "applied": 7},
        });
        let expected = "\
GET a.test /x
service     web, by its match 0
authorizer  main asks service auth at /authorize
limit       5b1f: 5 in 60 s, counted under auth_token

    MATCH     WHY
->  web[0]    it fits
    other[2]  it names other methods

UPSTREAM  ADDRESS  WEIGHT  STATE   HEALTH  IN FLIGHT
a         h:1           1  active  up              2
";
        assert_eq!(report(&body), expected);
        let none =
            json!({"recipient": "a@b", "service": null, "answer": {"status": 404, "detail": "no service takes it"}});
        assert_eq!(report(&none), "mail to a@b\nanswer      404: no service takes it\n");
    }
}
