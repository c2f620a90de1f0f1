use serde_json::json;
use vulcan_tests::eventually;
use vulcan_tests::script::Script;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use crate::{assert_calm, browser, open};

const UPSTREAM: &str = "/v1/services/web/upstreams/a";
const DIALOG: &str = "dialog[open]";

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_is_registered_drained_and_unregistered() {
    let world = World::new();
    let (control, proxies) = world.fleet(2, &[]).await;
    let (api, origin) = (control.api(), Script::listen().await);
    api.service("web", json!({})).await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    page.press("link", "Services").await;
    page.press("link", "web").await;

    page.press("button", "Register an upstream").await;
    page.fill("Address", &origin.address.to_string()).await;
    page.fill("Id", "a").await;
    page.fill("Weight", "7").await;
    page.press("button", "Register").await;
    page.shows(DIALOG, "It is registered.").await;
    page.shows(DIALOG, "2 of 2 proxies").await;
    let stored = api.get(UPSTREAM).await.expect(200).body;
    assert_eq!(
        (&stored["address"], &stored["weight"]),
        (&json!(origin.address.to_string()), &json!(7))
    );
    page.press("button", "Close").await;
    page.shows("main table", "up on 2").await;

    // Whoever is waited for is named for as long as it is waited for.
    let mut client = Connection::connect(proxies[1].http()).await.unwrap();
    client
        .writer
        .send(&Request::new("GET", "/", "web").encode())
        .await
        .unwrap();
    let (mut server, _, _) = origin.request().await;
    page.press("button", "Drain: a").await;
    page.press("button", "Drain").await;
    page.shows(DIALOG, "p2 drains web/a: 1 in flight").await;
    page.shows("main", "p2 drains web/a: 1 in flight").await;
    assert_eq!(api.get(UPSTREAM).await.expect(200).body["state"], "draining");
    page.until("!document.querySelector('dialog[open] .well')").await;
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    server.writer.send(answer).await.unwrap();
    assert_eq!(client.reader.final_head().await.unwrap().status, 200);
    page.shows(DIALOG, "Nothing is in flight to it.").await;
    page.press("button", "Close").await;

    page.press("button", "Let it serve: a").await;
    page.press("button", "Let it serve").await;
    page.shows(DIALOG, "It serves.").await;
    page.press("button", "Close").await;
    page.press("button", "Unregister a").await;
    page.press("button", "Unregister").await;
    page.shows(DIALOG, "It gets no more traffic from this service").await;
    api.get(UPSTREAM).await.problem(404, "not-found");
    page.press("button", "Close").await;
    page.shows("main", "No upstream is registered").await;
    assert_calm(&mut page, &[(404, "/v1/services/web/hold")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_or_not_reached_is_said_in_words() {
    let world = World::new();
    let (control, proxies) = world.fleet(2, &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    api.register("web", "a", "127.0.0.1:9").await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    page.go(&format!("{}/#/services/web", api.url())).await;
    page.press("button", "Register an upstream").await;
    page.fill("Address", "no address").await;
    page.press("button", "Register").await;
    page.shows(DIALOG, "Nothing was changed.").await;
    // It is put right where it stands.
    page.fill("Address", "127.0.0.1:8").await;
    page.press("button", "Try again").await;
    page.shows(DIALOG, "It is registered.").await;
    page.press("button", "Close").await;

    // A proxy that stands still is waited for by name, and the answer comes beside a dialog that is closed.
    proxies[1].freeze();
    page.press("button", "Register an upstream").await;
    page.fill("Address", "127.0.0.1:7").await;
    page.press("button", "Register").await;
    page.shows(DIALOG, "p2 is at revision").await;
    page.press("button", "Close, and go on waiting").await;
    page.shows("#notices", "1 of 2 proxies").await;
    page.shows("#notices", "1 proxy is beyond the lease, and not waited for")
        .await;
    proxies[1].thaw();
    page.shows("main table", "127.0.0.1:7").await;
    assert_eq!(page.complaints().await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_held_and_resumed() {
    let world = World::new();
    let (control, _proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    page.go(&format!("{}/#/services/web", api.url())).await;
    page.press("button", "Hold").await;
    page.fill("For at most", "5m").await;
    page.press("button", "Hold").await;
    page.shows(DIALOG, "It is held, and nothing is in flight.").await;
    assert_eq!(api.get("/v1/services/web/hold").await.expect(200).body["max"], "5m");
    page.press("button", "Close").await;
    page.shows("main", "The service is held, for 5m").await;
    page.press("button", "Resume").await;
    page.press("button", "Resume").await;
    page.shows(DIALOG, "It is resumed.").await;
    api.get("/v1/services/web/hold").await.problem(404, "not-found");
    page.press("button", "Close").await;
    page.until("!document.querySelector('main').innerText.includes('The service is held')")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_gone_back_to() {
    let world = World::new();
    let (control, _proxies) = world.fleet(1, &[]).await;
    let api = control.api();
    let good = api.service("web", json!({})).await.revision();
    let path = "/v1/services/web";
    api.patch(path, json!({"max_body": "1MB"})).await.live();
    let exists = api
        .post(&format!("/v1/revisions/{good}/revert?dry_run=true"), json!({}))
        .await
        .status
        != 404;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    page.go(&format!("{}/#/revisions/{good}", api.url())).await;
    page.press("button", "Revert to this revision").await;
    if !exists {
        page.shows(DIALOG, "This control plane may have no revert yet.").await;
        return;
    }
    page.shows(DIALOG, "That changes 1 object").await;
    page.shows("dialog .diff", "max_body").await;
    assert_eq!(api.get(path).await.body["max_body"], "1MB", "only asked about");
    page.press("button", "Revert").await;
    page.shows(DIALOG, &format!("All stands as at revision {good}.")).await;
    eventually("it is back", async || api.get(path).await.body["max_body"] == "50MB").await;
    assert_calm(&mut page, &[]).await;
}
