//! What a write answers and leaves behind: waits, other registrations, history, watch, fleet, backup.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::{Value, json};
use vulcan_tests::script::Script;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

const WEB: &str = "/v1/services/web";

#[tokio::test(flavor = "multi_thread")]
async fn a_write_answers_with_the_fleet() {
    let world = World::new();
    let (control, mut fleet) = world.fleet(2, &["--lease", "1s"]).await;
    let api = control.api();
    let reply = api.put(WEB, json!({"match": []})).await.live();
    assert!(reply.body["wait"]["took_ms"].is_number(), "{}", reply.text);
    let mut body = reply.body.clone();
    body["wait"]["took_ms"] = Value::Null;
    let fleet_of_two = json!({"members": 2, "reached": 2, "lagging": [], "refused": [], "warming": [],
        "draining": [], "detached": []});
    let expected = json!({"revision": reply.revision(), "committed": true, "also_in": [],
        "wait": {"for": "applied", "reached": true, "took_ms": null}, "fleet": fleet_of_two});
    assert_eq!(body, expected);
    assert_eq!(reply.head.field("content-type"), Some("application/json"));

    let unwaited = api
        .put(&format!("{WEB}?wait=none"), json!({"match": [], "max_body": 1}))
        .await
        .expect(202);
    assert_eq!(unwaited.body["committed"], true);
    for wait in ["applied", "drained"] {
        let reply = api
            .put(
                &format!("{WEB}/upstreams/a?wait={wait}"),
                json!({"address": "127.0.0.1:1"}),
            )
            .await
            .live();
        assert_eq!(reply.body["wait"]["for"], wait);
    }

    // A proxy that has left properly is no member; one that was killed is, until its lease has ended.
    fleet[0].terminate();
    assert_eq!(fleet[0].exit().await, Some(0));
    let reply = api.put(WEB, json!({"match": [], "max_body": 2})).await.live();
    assert_eq!(reply.body["fleet"]["members"], 1, "{}", reply.text);
    fleet[1].kill();
    let reply = api
        .put(&format!("{WEB}?timeout=100ms"), json!({"match": []}))
        .await
        .problem(504, "wait-not-reached");
    assert_eq!(
        (reply.body["committed"].clone(), reply.named("lagging")),
        (json!(true), vec!["p2".to_owned()])
    );
    let empty = api
        .put(&format!("{WEB}?timeout=5s"), json!({"match": []}))
        .await
        .problem(504, "wait-not-reached");
    assert_eq!(empty.body["fleet"]["reached"], 0, "nobody reached is no success");
    assert_eq!(empty.named("detached"), ["p2"], "{}", empty.text);
    let forgotten = api.delete("/v1/fleet/p2").await.expect(200);
    drop(forgotten);
    let alone = api.put(WEB, json!({"match": [], "max_body": 3})).await.live();
    assert_eq!(alone.body["fleet"]["members"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_tells_where_else_its_address_is_registered() {
    let world = World::new();
    let up = world.up(&[]).await;
    let api = up.api();
    for name in ["web", "shop"] {
        api.service(name, json!({})).await;
    }
    api.register("web", "a", "127.0.0.1:9").await;
    api.register("shop", "b", "127.0.0.1:9").await;
    api.register("web", "other", "127.0.0.1:10").await;
    api.register("web", "twin", "127.0.0.1:9").await;
    let reply = api.delete(&format!("{WEB}/upstreams/a")).await.live();
    assert_eq!(reply.body["also_in"], json!(["shop/b", "web/twin"]), "{}", reply.text);
    api.patch("/v1/services/shop/upstreams/b", json!({"state": "draining"}))
        .await
        .live();
    // What is absent already is asked about as well, as long as its address is known: the id may be it.
    let listed = api.get("/v1/upstreams?address=127.0.0.1:9").await.expect(200);
    assert_eq!(listed.body["items"].as_array().unwrap().len(), 2, "{}", listed.text);
    let reply = api.delete("/v1/upstreams?address=127.0.0.1:9").await.live();
    assert_eq!(
        (reply.body["also_in"].clone(), reply.body["wait"]["for"].clone()),
        (json!([]), json!("drained"))
    );
    let one = api
        .get(&format!("/v1/revisions/{}", reply.revision()))
        .await
        .expect(200);
    assert_eq!(
        one.body["ops"].as_array().unwrap().len(),
        2,
        "all in one revision: {}",
        one.text
    );
    assert_eq!(
        api.get("/v1/upstreams?address=127.0.0.1:9").await.body["items"],
        json!([])
    );
    let again = api.delete("/v1/upstreams?address=127.0.0.1:9").await.live();
    assert_eq!(again.revision(), reply.revision(), "nothing is left to unregister");
    assert_eq!(api.get(&format!("{WEB}/upstreams/other")).await.status, 200);
    api.delete("/v1/upstreams")
        .await
        .problem(422, "invalid")
        .blames("address");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_shows_what_was_replaced() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    api.put(WEB, json!({"match": []})).await.live();
    let second = api.put(WEB, json!({"match": [], "max_body": 5})).await.live();
    api.register("web", "a", "127.0.0.1:1").await;
    let third = api.delete(WEB).await.live();
    let all = api.get("/v1/revisions?since=0").await.expect(200);
    let items = all.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 4, "{}", all.text);
    let change = &items[1];
    assert_eq!(change["revision"], second.revision());
    assert!(
        change["at"].is_string() && change["actor"].is_string() && change["op_id"].is_string(),
        "{change}"
    );
    let op = &change["ops"][0];
    assert_eq!(
        (&op["verb"], &op["kind"], &op["key"]),
        (&json!("put"), &json!("service"), &json!("web"))
    );
    assert_eq!(op["body"]["max_body"], 5);
    assert!(op["before"]["body"]["match"].is_array(), "{op}");
    let gone: Vec<&Value> = items[3]["ops"]
        .as_array()
        .unwrap()
        .iter()
        .map(|op| &op["key"])
        .collect();
    assert!(
        gone.contains(&&json!("web")) && gone.contains(&&json!("web/a")),
        "{gone:?}"
    );
    let page = api
        .get(&format!("/v1/revisions?since={}&limit=1", second.revision()))
        .await
        .expect(200);
    assert_eq!(page.body["items"][0]["revision"], second.revision() + 1);
    assert!(!page.body["next"].is_null());
    let by_mark = api
        .get(&format!("/v1/revisions?op_id={}", change["op_id"].as_str().unwrap()))
        .await
        .expect(200);
    assert_eq!(
        by_mark.body["items"][0]["revision"],
        second.revision(),
        "{}",
        by_mark.text
    );
    let one = api
        .get(&format!("/v1/revisions/{}", third.revision()))
        .await
        .expect(200);
    assert_eq!(one.body["revision"], third.revision());
    assert_eq!(one.body["fleet"]["members"], 0);
    api.get("/v1/revisions/999").await.problem(404, "not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_see_every_revision_in_order() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    api.service("old", json!({})).await;
    let mut from_start = api.follow("/v1/watch?since=0").await;
    assert_eq!(from_start.next_with("revision").await["ops"][0]["key"], "old");
    for n in 0..20 {
        api.put(&format!("{WEB}?wait=none"), json!({"match": [], "max_body": n}))
            .await
            .expect(202);
    }
    for n in 0..20 {
        let line = from_start.next_with("revision").await;
        assert_eq!(
            (line["revision"].clone(), line["ops"][0]["body"]["max_body"].clone()),
            (json!(n + 2), json!(n))
        );
    }
    let mut late = api.follow("/v1/watch?since=20").await;
    assert_eq!(late.next_with("revision").await["revision"], 21);
    assert_eq!(late.next_with("beat").await["beat"], 21);
    assert_eq!(late.next_with("beat").await["beat"], 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_shows_its_members() {
    let world = World::new();
    let (control, mut fleet) = world.fleet(2, &["--lease", "1s"]).await;
    let api = control.api();
    let written = api.put(WEB, json!({"match": []})).await.live();
    let reply = api.get("/v1/fleet").await.expect(200);
    assert!(reply.body["head"].as_u64().unwrap() >= written.revision() && reply.body["epoch"].is_string());
    let names: Vec<&Value> = reply.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["name"])
        .collect();
    assert_eq!(names, ["p1", "p2"]);
    let p1 = api.get("/v1/fleet/p1").await.expect(200);
    for (key, value) in [
        ("state", json!("present")),
        ("lag", json!(0)),
        ("lease", json!("1s")),
        ("persisted", json!(true)),
        ("draining", json!([])),
        ("refused", json!([])),
        ("warming", json!([])),
    ] {
        assert_eq!(p1.body[key], value, "{key}: {}", p1.text);
    }
    assert!(p1.body["build"].is_string(), "{}", p1.text);
    api.get("/v1/fleet/p9").await.problem(404, "not-found");
    api.delete("/v1/fleet/p1").await.problem(409, "conflict");
    fleet[0].kill();
    let mut states = Vec::new();
    vulcan_tests::eventually("p1 is detached", async || {
        let state = api.get("/v1/fleet/p1").await.body["state"]
            .as_str()
            .unwrap_or("gone")
            .to_owned();
        if states.last() != Some(&state) {
            states.push(state.clone());
        }
        state == "detached"
    })
    .await;
    assert!(
        states.ends_with(&["absent".to_owned(), "detached".to_owned()]),
        "{states:?}"
    );
    let reply = api.put(WEB, json!({"match": [], "max_body": 1})).await.live();
    assert_eq!(reply.named("detached"), ["p1"]);
    api.delete("/v1/fleet/p1").await.live();
    api.get("/v1/fleet/p1").await.problem(404, "not-found");
    // Whoever was forgotten may come back.
    fleet[0].start();
    fleet[0].ready().await;
    assert_eq!(api.get("/v1/fleet/p1").await.expect(200).body["state"], "present");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_shows_how_its_upstreams_are() {
    let world = World::new();
    let (control, mut fleet) = world.fleet(2, &[]).await;
    let (api, origin) = (control.api(), Script::listen().await);
    api.service("web", json!({"retries": {"attempts": 0}})).await;
    api.register("web", "a", origin.address).await;
    let shown = async |name: &str| api.get(&format!("/v1/fleet/{name}")).await.expect(200).body["upstreams"].clone();
    let line = |upstream: &str, health: &str, in_flight: u64| json!({"upstream": upstream, "health": health, "in_flight": in_flight});
    assert_eq!(shown("p1").await, json!([line("web/a", "up", 0)]));

    let mut client = Connection::connect(fleet[0].http()).await.unwrap();
    let request = Request::new("GET", "/", "web").encode();
    client.writer.send(&request).await.unwrap();
    let _asked = origin.request().await;
    assert_eq!(shown("p1").await, json!([line("web/a", "up", 1)]));
    assert_eq!(shown("p2").await, json!([line("web/a", "up", 0)]), "each says its own");

    // Nobody listens there: one failure after another keeps it down for long enough to be seen.
    api.service("dead", json!({"retries": {"attempts": 0}})).await;
    api.register("dead", "b", "127.0.0.1:1").await;
    vulcan_tests::eventually("the dead one is seen as down", async || {
        let mut client = Connection::connect(fleet[0].http()).await.unwrap();
        client.exchange(&Request::new("GET", "/", "dead")).await.unwrap();
        shown("p1").await == json!([line("dead/b", "down", 0), line("web/a", "up", 1)])
    })
    .await;

    fleet[1].kill();
    vulcan_tests::eventually("p2 cannot be asked", async || shown("p2").await.is_null()).await;
    let listed = api.get("/v1/fleet").await.expect(200);
    assert!(listed.body["items"][0].get("upstreams").is_none(), "{}", listed.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_within_the_lease_waits_for_its_end() {
    let world = World::new();
    let (control, mut fleet) = world.fleet(2, &["--lease", "2s"]).await;
    let api = control.api();
    fleet[0].kill();
    vulcan_tests::eventually("p1 is absent", async || {
        let state = api.get("/v1/fleet/p1").await.body["state"].clone();
        assert_ne!(state, "detached", "absence comes first");
        state == "absent"
    })
    .await;
    let early = api.delete("/v1/fleet/p1?timeout=100ms").await;
    let early = early.problem(504, "wait-not-reached");
    let expected = json!({"for": "lease", "reached": false, "took_ms": early.body["wait"]["took_ms"]});
    assert_eq!(early.body["wait"], expected, "{}", early.text);
    assert!(early.body["wait"]["took_ms"].as_u64() >= Some(100), "{}", early.text);
    assert_eq!(
        (&early.body["proxy"], &early.body["committed"]),
        (&json!("p1"), &json!(false))
    );
    assert_eq!(early.body["fleet"]["members"], 2, "{}", early.text);
    api.get("/v1/fleet/p1").await.expect(200);
    let forget = api.delete("/v1/fleet/p1?timeout=30s").await.live();
    assert_eq!(forget.body["wait"]["for"], "lease", "{}", forget.text);
    assert_eq!(forget.named("detached"), ["p1"], "it may come back to life");
    assert_eq!(forget.body["fleet"]["reached"], 1, "{}", forget.text);
    api.get("/v1/fleet/p1").await.problem(404, "not-found");
    fleet[0].start();
    fleet[0].ready().await;
    assert_eq!(api.get("/v1/fleet/p1").await.expect(200).body["state"], "present");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_an_apply_document_or_the_snapshot() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    api.register("web", "a", "127.0.0.1:1").await;
    let json = api
        .send(&api.request("GET", "/v1/snapshot").with("accept", "application/json"))
        .await
        .expect(200);
    assert_eq!(
        json.body["services"]["web"]["match"][0]["hosts"],
        json!(["web"]),
        "{}",
        json.text
    );
    assert_eq!(json.body["services"]["web"]["upstreams"]["a"]["address"], "127.0.0.1:1");
    let stream = api.get("/v1/snapshot").await.expect(200);
    assert!(
        !stream.text.is_empty() && stream.body.is_null(),
        "compressed lines, not one JSON value"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_api_to_its_bearer_only() {
    let world = World::new();
    let tokens = world.path("tokens.toml");
    // SHA-256 of `secret`.
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    std::fs::write(
        &tokens,
        format!("[[token]]\nname = \"ops\"\nsha256 = \"{hash}\"\nrole = \"admin\"\n"),
    )
    .unwrap();
    let control = world
        .control_plane("control", &["--tokens", tokens.to_str().unwrap()])
        .await;
    let api = control.api();
    api.get("/v1/services").await.problem(401, "unauthenticated");
    api.put(WEB, json!({"match": []})).await.problem(401, "unauthenticated");
    api.clone()
        .with_token("wrong")
        .get("/v1/services")
        .await
        .problem(401, "unauthenticated");
    for open in ["/healthz", "/readyz"] {
        api.get(open).await.expect(200);
    }
    let ops = api.clone().with_token("secret");
    ops.put(WEB, json!({"match": []})).await.live();
    let history = ops.get("/v1/revisions?since=0").await.expect(200);
    assert_eq!(history.body["items"][0]["actor"], "ops", "the bearer is the actor");
    let token = world.path("token");
    std::fs::write(&token, "secret\n").unwrap();
    let stranger = world.proxy_launched("stranger", &api.url(), &[]);
    let mut friend = world.proxy_launched("friend", &api.url(), &["--token-file", token.to_str().unwrap()]);
    friend.ready().await;
    vulcan_tests::eventually("the stranger is refused", async || {
        stranger.logged().contains("refuses this proxy: 401")
    })
    .await;
    assert!(!stranger.lines().contains(&"ready".to_owned()));
    let fleet = ops.get("/v1/fleet").await.expect(200);
    assert_eq!(fleet.body["items"].as_array().unwrap().len(), 1, "{}", fleet.text);
    let turned_away = "a stream is turned away";
    let logged = control.logged();
    assert_eq!(
        logged.matches(turned_away).count(),
        1,
        "once, however often it asks: {logged}"
    );
    assert!(logged.contains("joined proxy=friend"), "{logged}");
    assert!(
        !control.logged().contains("secret") && !friend.logged().contains("secret"),
        "secrets are never logged"
    );
}
