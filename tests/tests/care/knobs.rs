//! Every setting of how a service's upstreams are chosen and cared for: its default, its limits, and where it is explained.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::world::World;

const GUIDE: &str = include_str!("../../../docs/configuration.md");
const WEB: &str = "/v1/services/web";

struct Knob {
    /// Where it stands in a service.
    field: &'static str,
    /// How its row in the guide begins.
    row: &'static str,
    /// Null also where there is none.
    default: Value,
    /// The second is shown as the first.
    good: [Value; 2],
    bad: Vec<Value>,
}

fn knob(field: &'static str, row: &'static str, default: Value, good: [Value; 2], bad: Value) -> Knob {
    let bad = bad.as_array().unwrap().clone();
    Knob {
        field,
        row,
        default,
        good,
        bad,
    }
}

// One line for each says more than six.
#[rustfmt::skip]
fn knobs() -> Vec<Knob> {
    let count = |most: i64| json!([-1, most + 1, 1.5, "5", null, [1]]);
    let positive = || json!(["0s", "5", 5, "1.5s", "-1s", "25h", "5 s", "", null, {}]);
    let duration = || json!(["5", 5, "1.5s", "-1s", "25h", "5 s", "", null, {}]);
    let same = |value: Value| [value.clone(), value];
    vec![
        knob("balance.consistent_hash.header", "| `balance` | `least_request` |", json!(null),
            [json!("x-user"), json!("X-User")], json!(["", "x user", "x:user", 7, null, "x".repeat(129)])),
        knob("health_check.path", "| `path` | required |", json!(null),
            same(json!("/up?deep=1")), json!(["", "up", "/a b", "/a#b", "/ü", 7, null, format!("/{}", "x".repeat(2048))])),
        knob("health_check.interval", "| `interval` | `5s` |", json!("5s"),
            [json!("1s"), json!("1000ms")], json!(["9ms", "0s", "5", 5, "25h", null])),
        knob("health_check.timeout", "| `timeout` | `1s` |", json!("1s"), same(json!("250ms")), positive()),
        knob("health_check.unhealthy_after", "| `unhealthy_after` | `3` |", json!(3), same(json!(100)), json!([0, 101, 1.5, "3", null])),
        knob("health_check.healthy_after", "| `healthy_after` | `2` |", json!(2), same(json!(1)), json!([0, 101, 1.5, "3", null])),
        knob("health_check.expect", "| `expect` | `2xx` |", json!("2xx"),
            [json!("2xx,401"), json!("200-299, 401")], json!(["", "all", "199", "600", "300-200", "6xx", "20", 200, null])),
        knob("timeouts.connect", "| `timeouts.connect` | `1s` |", json!("1s"), same(json!("50ms")), positive()),
        knob("timeouts.response", "| `timeouts.response` | `60s` |", json!("60s"), [json!("2m"), json!("120s")], positive()),
        knob("timeouts.idle", "| `timeouts.idle` | `60s` |", json!("60s"), [json!("1h"), json!("60m")], positive()),
        knob("timeouts.drain", "| `timeouts.drain` | the longer of `30s` and `response` |", json!("60s"), same(json!("0s")), duration()),
        knob("retries.attempts", "| `retries.attempts` | `2` |", json!(2), same(json!(10)), count(10)),
        knob("max_body", "| `max_body` | `50MB` |", json!("50MB"),
            [json!("10MB"), json!(10_000_000)], json!([-1, 1.5, "ten", "10 MB", "10mb", null])),
        knob("upstream_care.eject_after", "| `upstream_care.eject_after` | `5` |", json!(5), same(json!(0)), count(1_000)),
        knob("upstream_care.eject_for", "| `upstream_care.eject_for` | `10s` |", json!("10s"), same(json!("1ms")), positive()),
        knob("upstream_care.max_in_flight", "| `upstream_care.max_in_flight` | no limit |", json!(null),
            same(json!(1_000_000)), json!([0, 1_000_001, 1.5, "5"])),
        knob("upstream_care.queue", "| `upstream_care.queue` | `0` |", json!(0), same(json!(10_000)), count(10_000)),
        knob("upstream_care.queue_for", "| `upstream_care.queue_for` | `1s` |", json!("1s"), same(json!("5s")), positive()),
        knob("upstream_care.slow_start", "| `upstream_care.slow_start` | `0s` |", json!("0s"), same(json!("30s")), duration()),
    ]
}

/// A service that says this, and of the rest only what it must.
fn saying(field: &str, value: &Value) -> Value {
    let mut service = json!({"match": []});
    if field.starts_with("health_check") {
        service["health_check"] = json!({"path": "/"});
    }
    *place(&mut service, field) = value.clone();
    service
}

fn place<'a>(within: &'a mut Value, field: &str) -> &'a mut Value {
    field.split('.').fold(within, |value, name| &mut value[name])
}

/// The paths of all values that hold no others, within the members that are about upstreams.
fn fields(shown: &Value) -> BTreeSet<String> {
    let members = [
        "balance",
        "health_check",
        "timeouts",
        "retries",
        "max_body",
        "upstream_care",
    ];
    let mut open: Vec<(String, &Value)> = members.iter().map(|name| ((*name).to_owned(), &shown[*name])).collect();
    let mut found = BTreeSet::new();
    while let Some((path, value)) = open.pop() {
        match value.as_object() {
            Some(members) => open.extend(members.iter().map(|(name, value)| (format!("{path}.{name}"), value))),
            None => drop(found.insert(path)),
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_knob_is_checked_pushed_shown_and_explained() {
    let world = World::new();
    let (control, _fleet) = world.fleet(1, &[]).await;
    let api = control.api();
    let balance = json!({"consistent_hash": {"header": "x"}});
    let everything = json!({"match": [], "health_check": {"path": "/"}, "balance": balance});
    api.put(WEB, everything).await.live();
    let shown = api.get(WEB).await.expect(200).body;
    let knobs = knobs();
    let known: BTreeSet<String> = knobs.iter().map(|knob| knob.field.to_owned()).collect();
    assert_eq!(
        fields(&shown),
        known,
        "each field has its line in this table, and no other has"
    );

    let mut wrong = Vec::new();
    for knob in &knobs {
        wrong.extend(faults(&api, knob, shown.clone()).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn faults(api: &Api, knob: &Knob, mut shown: Value) -> Vec<String> {
    let Knob { field, row, .. } = knob;
    let mut wrong = Vec::new();
    if !GUIDE.lines().any(|line| line.starts_with(row)) {
        wrong.push(format!("{field}: the guide has no row {row}"));
    }
    let default = place(&mut shown, field).take();
    if !knob.default.is_null() && default != knob.default {
        wrong.push(format!("{field}: its default is {default}"));
    }
    for bad in &knob.bad {
        let reply = api.put(WEB, saying(field, bad)).await;
        let blamed = reply.body["errors"].as_array().cloned().unwrap_or_default();
        if reply.status != 422 || !blamed.iter().any(|error| error["field"] == *field) {
            wrong.push(format!("{field} {bad}: {} {}", reply.status, reply.text));
        }
    }
    for good in &knob.good {
        let reply = api.put(WEB, saying(field, good)).await;
        let mut shown = api.get(WEB).await.expect(200).body;
        let held = place(&mut shown, field);
        if reply.status != 200 || reply.body["fleet"]["reached"] != 1 || *held != knob.good[0] {
            wrong.push(format!("{field} {good}: {held}, {} {}", reply.status, reply.text));
        }
    }
    wrong
}
