//! Many objects in one document, on real processes: live everywhere or not at all, taken back, printed and explained.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Output;
use std::time::Duration;

use serde_json::{Map, Value, json};
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::binary;
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::script::Script;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

const APPLY: &str = "/v1/apply";
const LIMIT: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";

/// Who answers a request at each of the proxies.
async fn origins(proxies: &[Node], host: &str) -> Vec<String> {
    let mut names = Vec::new();
    for proxy in proxies {
        let reply = Api::new(proxy.http())
            .send(&Request::new("GET", "/bytes?n=2", host))
            .await;
        let name = reply.head.field("x-origin").unwrap_or("nobody").to_owned();
        names.push(format!("{name} {}", reply.status));
    }
    names
}

fn web(host: &str, id: &str, address: impl std::fmt::Display) -> Value {
    json!({"services": {"web": {"match": [{"hosts": [host]}], "upstreams": {id: {"address": address.to_string()}}}}})
}

async fn head(api: &Api) -> u64 {
    api.get("/v1/fleet?limit=1").await.expect(200).body["head"]
        .as_u64()
        .unwrap()
}

fn vulcan(api: &Api, arguments: &[&str]) -> Output {
    let mut command = binary::vulcan();
    command
        .args(arguments)
        .env("VULCAN_URL", api.url())
        .output()
        .expect("vulcan runs")
}

/// Of a command that ends with 0.
#[track_caller]
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_live_on_every_proxy_and_a_bad_one_changes_nothing() {
    let world = World::new();
    let (control, proxies) = world.fleet(2, &[]).await;
    let api = control.api();
    let (a, b) = (origin::inside("a").await, origin::inside("b").await);
    let mut document = web("web", "a", a);
    document["limits"] = json!({LIMIT: {"threshold": 1000}});
    let first = api.post(APPLY, document.clone()).await.live();
    assert_eq!((&first.body["put"], &first.body["deleted"]), (&json!(3), &json!(0)));
    assert_eq!(first.body["fleet"]["reached"], 2);
    assert_eq!(origins(&proxies, "web").await, ["a 200", "a 200"]);
    let again = api.post(APPLY, document.clone()).await.live();
    assert_eq!((again.revision(), &again.body["put"]), (first.revision(), &json!(0)));

    let mut bad = web("web", "b", b);
    bad["services"]["web"]["upstreams"]["b"]["weight"] = json!(5000);
    bad["services"]["other"] = json!({"match": [{"path_regex": "("}], "authorizer": "nobody"});
    let refused = api.post(APPLY, bad.clone()).await.problem(422, "invalid");
    refused
        .blames("services.web.upstreams[\"b\"].weight")
        .blames("services.other.match[0].path_regex");
    bad["services"]["web"]["upstreams"]["b"]["weight"] = json!(5);
    bad["services"]["other"] = json!({"match": [{"hosts": ["web"]}]});
    let refused = api.post(APPLY, bad.clone()).await.problem(409, "conflict");
    refused.blames("services.other.match[0]");
    bad["services"]["other"] = json!({"match": [], "authorizer": "nobody"});
    let refused = api.post(APPLY, bad).await.problem(422, "invalid");
    refused.blames("services.other.authorizer");
    api.post("/v1/apply?purge=true", json!({}))
        .await
        .problem(400, "malformed");
    api.send(&api.with_json("POST", APPLY, "{\"services\": {}, \"services\": {}}"))
        .await
        .problem(400, "malformed");
    api.get(APPLY).await.problem(405, "method-not-allowed");
    assert_eq!(head(&api).await, first.revision());
    assert_eq!(origins(&proxies, "web").await, ["a 200", "a 200"]);

    let dry = api
        .post("/v1/apply?dry_run=true&prune=true", web("web", "b", b))
        .await
        .expect(200);
    let changes: Vec<(&str, &str)> = dry.body["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["verb"].as_str().unwrap(), change["key"].as_str().unwrap()))
        .collect();
    assert_eq!(changes, [("delete", "web/a"), ("put", "web/b"), ("delete", LIMIT)]);
    assert_eq!(head(&api).await, first.revision(), "a dry run commits nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bad_document_did_is_taken_back() {
    let world = World::new();
    let (control, proxies) = world.fleet(2, &[]).await;
    let api = control.api();
    let (a, b) = (origin::inside("a").await, origin::inside("b").await);
    let good = api.post(APPLY, web("web", "a", a)).await.live();
    let snapshot = api.request("GET", "/v1/snapshot").with("accept", "application/json");
    let before = api.send(&snapshot).await.expect(200);
    assert_eq!(before.etag(), format!("\"{}\"", good.revision()));
    let exported = said(&vulcan(&api, &["export"]));

    api.post("/v1/apply?prune=true", web("elsewhere", "b", b)).await.live();
    api.put("/v1/services/late", json!({"match": []})).await.live();
    assert_eq!(origins(&proxies, "web").await, ["nobody 404", "nobody 404"]);
    let revert = format!("/v1/revisions/{}/revert", good.revision());
    let dry = api.post(&format!("{revert}?dry_run=true"), json!({})).await.expect(200);
    assert_eq!(dry.body["changes"].as_array().unwrap().len(), 4, "{}", dry.text);
    let reverted = api.post(&revert, json!({})).await.live();
    assert_eq!(
        (&reverted.body["put"], &reverted.body["deleted"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(origins(&proxies, "web").await, ["a 200", "a 200"]);
    assert_eq!(api.send(&snapshot).await.expect(200).text, before.text);
    assert_eq!(said(&vulcan(&api, &["export"])), exported);
    // Again: it stands already.
    let again = api.send(&api.request("POST", &revert)).await.live();
    assert_eq!((again.revision(), &again.body["put"]), (reverted.revision(), &json!(0)));

    let shown = api
        .get(&format!("/v1/revisions/{}", reverted.revision()))
        .await
        .expect(200);
    assert_eq!(shown.body["ops"].as_array().unwrap().len(), 4, "one revision");
    api.post("/v1/revisions/0/revert", json!({}))
        .await
        .problem(422, "invalid");
    api.post("/v1/revisions/999/revert", json!({}))
        .await
        .problem(404, "not-found");
    api.post(&revert, json!({"to": 1})).await.problem(422, "invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_retired_has_nothing_in_flight_when_it_is_answered() {
    let world = World::new();
    let (control, proxies) = world.fleet(2, &[]).await;
    let api = control.api();
    let (old, new) = (Script::listen().await, origin::inside("new").await);
    api.post(APPLY, web("web", "old", old.address)).await.live();
    let mut client = Connection::connect(proxies[0].http()).await.unwrap();
    client
        .writer
        .send(&Request::new("GET", "/", "web").encode())
        .await
        .unwrap();
    let (mut server, _, _) = old.request().await;
    let applying = |timeout: &str| {
        let (api, path) = (api.clone(), format!("/v1/apply?prune=true{timeout}"));
        let document = web("web", "new", new);
        tokio::spawn(async move { api.post(&path, document).await })
    };
    let late: Reply = applying("&timeout=300ms")
        .await
        .unwrap()
        .problem(504, "wait-not-reached");
    assert_eq!(
        (&late.body["committed"], &late.body["deleted"]),
        (&json!(true), &json!(1))
    );
    assert_eq!(
        late.body["fleet"]["draining"],
        json!([{"proxy": "p1", "upstream": "web/old", "in_flight": 1}])
    );
    assert_eq!(origins(&proxies, "web").await, ["new 200", "new 200"]);
    // The same again commits nothing, and asks for the same.
    let waiting = applying("");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!waiting.is_finished(), "it is answered with a request in flight");
    server
        .writer
        .send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await
        .unwrap();
    assert_eq!(client.reader.final_head().await.unwrap().status, 200);
    let reply = waiting.await.unwrap().live();
    assert_eq!(
        (&reply.body["wait"]["for"], &reply.body["put"]),
        (&json!("drained"), &json!(0))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_is_well_when_it_is_answered() {
    let world = World::new();
    let (control, _proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    let nowhere = Script::listen().await.address;
    let mut document = web("web", "a", origin::inside("a").await);
    document["services"]["web"]["health_check"] = json!({"path": "/status?code=200", "interval": "1s"});
    document["services"]["web"]["upstreams"]["b"] = json!({"address": nowhere.to_string()});
    let late = api
        .post("/v1/apply?timeout=2s", document.clone())
        .await
        .problem(504, "wait-not-reached");
    assert_eq!(late.body["wait"]["for"], "healthy");
    assert_eq!(late.body["fleet"]["warming"][0]["upstream"], "web/b", "{}", late.text);
    let upstreams = document["services"]["web"]["upstreams"].as_object_mut().unwrap();
    upstreams.remove("b");
    api.post("/v1/apply?prune=true", document).await.live();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_for_one_revision_takes_several() {
    let world = World::new();
    let (control, proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    let service = |n: usize| {
        let upstreams: Map<String, Value> = (1..=4).map(|port| (format!("10.0.0.1:{port}"), json!({}))).collect();
        (
            format!("service-{n}"),
            json!({"match": [{"hosts": [format!("h{n}.test")]}], "upstreams": upstreams}),
        )
    };
    let mut services: Map<String, Value> = (0..4000).map(service).collect();
    let a = origin::inside("a").await;
    services.insert("web".to_owned(), web("web", "a", a)["services"]["web"].clone());
    let document = json!({ "services": services });
    let reply = api.post("/v1/apply?timeout=60s", document.clone()).await.live();
    let span = [&reply.body["revisions"][0], &reply.body["revisions"][1]].map(|of| of.as_u64().unwrap());
    assert_eq!((span[1], &reply.body["put"]), (reply.revision(), &json!(20_002)));
    assert!(span[1] > span[0], "{}", reply.text);
    assert_eq!(origins(&proxies, "web").await, ["a 200"]);
    let again = api.post("/v1/apply?timeout=60s", document).await.live();
    assert_eq!((again.revision(), &again.body["put"]), (reply.revision(), &json!(0)));
    let snapshot = api.request("GET", "/v1/snapshot").with("accept", "application/json");
    let shown = api.send(&snapshot).await.expect(200);
    assert_eq!(shown.body["services"].as_object().unwrap().len(), 4001);
    let pruned = api
        .post("/v1/apply?prune=true&timeout=60s", web("web", "a", a))
        .await
        .live();
    assert_eq!(pruned.body["deleted"], 20_000);
    assert_eq!(origins(&proxies, "web").await, ["a 200"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_apply_export_revert_and_explain_by_command() {
    let world = World::new();
    let (control, proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    let a = origin::inside("a").await;
    let file = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let (yaml, toml) = (file("fleet.yaml"), file("fleet.toml"));
    let text = format!(
        "services:\n  web:\n    match:\n    - hosts: [web]\n    upstreams:\n      a: {{address: \"{a}\", weight: 2}}\n"
    );
    std::fs::write(&yaml, text).unwrap();
    let dry = said(&vulcan(&api, &["apply", "-f", &yaml, "--dry-run"]));
    assert!(
        dry.contains("+ upstream web/a\n") && dry.contains("2 new, 0 changed, 0 deleted"),
        "{dry}"
    );
    let applied = said(&vulcan(&api, &["apply", "-f", &yaml]));
    assert!(
        applied.starts_with("2 put, 0 deleted: applied on 1 of 1 proxies at revision "),
        "{applied}"
    );
    assert_eq!(origins(&proxies, "web").await, ["a 200"]);
    let then = head(&api).await;

    said(&vulcan(&api, &["export", "-o", &toml]));
    let applied = said(&vulcan(&api, &["apply", "-f", &toml, "--prune"]));
    assert!(applied.starts_with("nothing to change: "), "{applied}");
    for format in ["json", "yaml"] {
        let exported = said(&vulcan(&api, &["export", "--format", format]));
        std::fs::write(file("again"), exported).unwrap();
        let dry = said(&vulcan(&api, &["apply", "-f", &file("again"), "--prune", "--dry-run"]));
        assert_eq!(dry, "nothing would change\n", "{format}");
    }

    std::fs::write(&yaml, "services: {web: {match: [{hosts: [other]}]}}").unwrap();
    said(&vulcan(&api, &["apply", "-f", &yaml]));
    assert_eq!(origins(&proxies, "web").await, ["nobody 404"]);
    let then = then.to_string();
    let dry = said(&vulcan(&api, &["revert", &then, "--dry-run"]));
    assert!(
        dry.contains("~ service web\n") && dry.contains("0 new, 1 changed, 0 deleted"),
        "{dry}"
    );
    said(&vulcan(&api, &["revert", &then]));
    assert_eq!(origins(&proxies, "web").await, ["a 200"]);

    let explained = said(&vulcan(
        &api,
        &["explain", "http://web/x?y", "-X", "POST", "--proxy", "p1"],
    ));
    assert!(
        explained.contains("POST web /x\nservice     web, by its match 0\n"),
        "{explained}"
    );
    assert!(explained.contains("->  web[0]"), "{explained}");
    assert!(explained.contains(&a.to_string()), "{explained}");
    let nobody = said(&vulcan(&api, &["explain", "http://nobody.test/"]));
    assert!(nobody.contains("answer      404"), "{nobody}");

    std::fs::write(&yaml, "services: {web: {match: 5}}").unwrap();
    let wrong = vulcan(&api, &["apply", "-f", &yaml]);
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(told.contains("services.web.match"), "{told}");
    assert_eq!(vulcan(&api, &["apply"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_explained_as_it_is_routed() {
    let world = World::new();
    let (control, proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    let document = json!({"services": {
        "auth": {"match": []},
        "any": {"match": [{}]},
        "blue": {"match": [{"hosts": ["web"], "headers": {"x-tenant": "blue"}}], "authorizer": "main", "upstreams": {"a": {"address": origin::inside("a").await.to_string()}}},
        "mail": {"match": [{"recipients": ["example.com"]}]},
    }, "authorizers": {"main": {"service": "auth"}}, "limits": {LIMIT: {"threshold": 3, "path": "/v1/"}}});
    api.post(APPLY, document).await.live();
    let told = api
        .get("/v1/explain?url=http://web/v1/x&header=x-tenant:%20blue&header=a:%20b&proxy=p1")
        .await
        .expect(200);
    let body = &told.body;
    assert_eq!(
        (&body["service"], &body["match"]),
        (&json!("blue"), &json!(0)),
        "{}",
        told.text
    );
    assert_eq!(
        (&body["authorizer"]["name"], &body["limits"][0]["id"]),
        (&json!("main"), &json!(LIMIT))
    );
    assert_eq!(body["upstreams"][0]["seen"], json!({"health": "up", "in_flight": 0}));
    assert_eq!(body["candidates"][1]["service"], "any");
    let other = api.get("/v1/explain?url=web/v2").await.expect(200);
    assert_eq!(
        (&other.body["service"], &other.body["limits"]),
        (&json!("any"), &json!([]))
    );
    let mail = api.get("/v1/explain?recipient=a@example.com").await.expect(200);
    assert_eq!(mail.body["service"], "mail");
    let nobody = api.get("/v1/explain?recipient=a@example.org").await.expect(200);
    assert_eq!(nobody.body["answer"]["status"], 404);
    let dots = api.get("/v1/explain?url=http://web/../x").await.expect(200);
    assert_eq!(dots.body["answer"]["status"], 400);
    for (query, field) in [
        ("", "url"),
        ("?url=/&recipient=a@b", "recipient"),
        ("?url=/&header=x", "header"),
        ("?url=ftp://x/", "url"),
    ] {
        api.get(&format!("/v1/explain{query}"))
            .await
            .problem(422, "invalid")
            .blames(field);
    }
    api.get("/v1/explain?url=/&url=/").await.problem(400, "malformed");
    api.get("/v1/explain?url=/&proxy=p9").await.problem(404, "not-found");
    drop(proxies);
}

/// Who begins to send a document and stands still keeps nobody from applying one, nor from taking one back.
#[tokio::test]
async fn slow_callers_are_in_nobodys_way() {
    let world = World::new();
    let control = world.control_plane("c1", &[]).await;
    let api = control.api();
    api.post(APPLY, web("a.test", "one", "127.0.0.1:1")).await.expect(200);
    let before = head(&api).await;
    let mut stalled = Vec::new();
    for length in ["1000", "50000000"] {
        for _ in 0..2 {
            let mut connection = Connection::connect(control.admin()).await.unwrap();
            let head = format!(
                "POST {APPLY} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
            );
            connection.writer.send(head.as_bytes()).await.unwrap();
            // From then on it is being read.
            assert_eq!(connection.reader.head().await.unwrap().status, 100);
            connection.writer.send(b"{").await.unwrap();
            stalled.push(connection);
        }
    }
    api.post(APPLY, web("b.test", "one", "127.0.0.1:1")).await.expect(200);
    api.post(&format!("/v1/revisions/{before}/revert"), json!({}))
        .await
        .expect(200);
    // They are told, and do not wait for the two minutes that a document has.
    for mut connection in stalled {
        assert_eq!(connection.reader.final_head().await.unwrap().status, 400);
    }
}
