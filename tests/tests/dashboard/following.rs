use serde_json::json;
use vulcan_tests::binary;
use vulcan_tests::eventually;
use vulcan_tests::origin;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use crate::{assert_calm, browser, open};

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_and_each_revision_appear_by_themselves() {
    let world = World::new();
    let (control, mut proxies) = world.fleet(2, &[]).await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    page.shows("main", "2 of 2").await;
    page.shows("main", "All proxies serve the head.").await;
    // Gone, should the page be loaded again.
    page.eval("window.isTheSame = true").await;

    let reply = control.api().service("shop", json!({})).await;
    page.shows(".latest", &format!("Revision {}", reply.revision())).await;
    page.shows(".latest", "create service shop").await;
    page.press("link", "Services").await;
    page.shows("main table", "shop").await;
    control.api().service("other", json!({})).await;
    page.shows("main table", "other").await;
    control.api().delete("/v1/services/other").await.live();
    page.until("!document.querySelector('main table').innerText.includes('other')")
        .await;

    let reply = control
        .api()
        .patch("/v1/services/shop", json!({"timeouts": {"connect": "3s"}}))
        .await
        .live();
    page.press("link", "Revisions").await;
    let title = format!("Revision {}", reply.revision());
    page.shows(".history", &title).await;
    page.eval("document.querySelector('.history summary').click()").await;
    page.shows(".history .diff", "timeouts.connect").await;
    page.shows(".history .diff ins", "\"3s\"").await;

    page.press("link", "Fleet").await;
    page.shows("main table", "p2").await;
    proxies[1].kill();
    page.shows("main table tbody tr:first-child", "p2").await;
    page.until("/absent|detached/.test(document.querySelector('main table tbody tr').innerText)")
        .await;
    page.press("link", "p1").await;
    page.shows("h1", "p1").await;
    page.shows("main .facts", "present").await;
    assert_eq!(page.eval("window.isTheSame").await, true);
    assert_calm(&mut page, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_a_control_plane_that_was_away() {
    let world = World::new();
    let mut control = world.control_plane("control", &[]).await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    control.kill();
    page.shows("#connection", "Reconnecting").await;
    page.shows("#trouble", "The control plane is not reached.").await;
    control.start();
    control.ready().await;
    let reply = control.api().service("shop", json!({})).await;
    page.shows("#connection", "Live").await;
    page.until("document.querySelector('#trouble').hidden").await;
    page.shows(".latest", &format!("Revision {}", reply.revision())).await;
    assert_eq!(page.complaints().await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_used_by_the_keyboard_alone() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    control.api().service("shop", json!({})).await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    let named = "document.activeElement.textContent.trim()";
    let mut seen = Vec::new();
    // The first link leads past the views, and to no view.
    page.key("Tab").await;
    assert_eq!(page.eval(named).await, "To the content");
    page.key("Enter").await;
    page.until("document.activeElement.id === 'main'").await;
    page.shows("h1", "Overview").await;
    assert_eq!(page.eval("location.hash").await, "");
    page.eval("document.querySelector('.skip').focus()").await;
    // Then the name, and the views.
    while seen.last().is_none_or(|name| name != "Services") {
        assert!(seen.len() < 10, "{seen:?}");
        page.key("Tab").await;
        seen.push(page.eval(named).await.as_str().unwrap().to_owned());
    }
    page.key("Enter").await;
    page.shows("h1", "Services").await;
    page.until("document.activeElement.id === 'main'").await;
    page.shows("main td a", "shop").await;
    // From the content on: the table, the first service.
    page.key("Tab").await;
    page.key("Tab").await;
    assert_eq!(page.eval(named).await, "shop");
    page.key("Enter").await;
    page.shows("h1", "shop").await;
    page.until("document.querySelector('main button.primary')").await;
    page.eval("document.querySelector('main button.primary').focus()").await;
    page.key("Enter").await;
    page.until("document.querySelector('dialog[open]')?.contains(document.activeElement)")
        .await;
    page.key("Escape").await;
    page.until("!document.querySelector('dialog')").await;
    eventually("the focus is back where it was", async || {
        page.eval(named).await == "Register an upstream"
    })
    .await;
    // Everything that is pressed or filled in has a name.
    let nameless = "[...document.querySelectorAll('a, button, input, summary, svg[role=img]')].filter(\
                    (it) => !(it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent).trim()).length";
    assert_eq!(page.eval(nameless).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_of_a_limit_is_looked_up_by_its_key() {
    let world = World::new();
    let (control, proxies) = world.fleet(1, &[]).await;
    let (api, address) = (control.api(), origin::inside("a").await);
    api.service("web", json!({})).await;
    api.register("web", "a", address).await;
    let id = "0198b8a4-5b7e-7c3a-9f2e-1d4c5b6a7980";
    let limit = json!({"period": 86400, "threshold": 3, "key": "client_ip"});
    api.put(&format!("/v1/limits/{id}"), limit).await.live();
    for status in [200, 200, 200, 429] {
        let mut client = Connection::connect(proxies[0].http()).await.unwrap();
        let answer = client.exchange(&Request::new("GET", "/status?code=200", "web")).await;
        assert_eq!(answer.unwrap().0.status, status);
    }
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    page.press("link", "Limits").await;
    page.shows("main table", "3 in 86400 s").await;
    page.press("link", id).await;
    page.fill("Key", "127.0.0.1").await;
    page.press("button", "Look it up").await;
    page.shows("main", "3 of 3 admitted").await;
    // Nobody has used it who is called so.
    page.fill("Key", "127.0.0.2").await;
    page.press("button", "Look it up").await;
    page.shows("main", "0 of 3 admitted").await;
    // What is gone is said to be.
    api.delete(&format!("/v1/limits/{id}")).await.live();
    page.shows("main", "there is no limit").await;
    assert_eq!(page.complaints().await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_stands_still_leaves_the_fleet_unknown() {
    let world = World::new();
    let (control, _proxies) = world.fleet(1, &[]).await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    page.shows(".worries", "All proxies serve the head.").await;
    control.freeze();
    page.shows(".worries", "How the fleet stands is not known now").await;
    let certain = "document.querySelector('main').innerText.includes('All proxies serve the head.')";
    assert_eq!(page.eval(certain).await, false);
    page.press("link", "Fleet").await;
    page.shows("main .foot", "1 row, and out of date").await;
    page.press("link", "Overview").await;
    control.thaw();
    page.shows(".worries", "All proxies serve the head.").await;
    assert_eq!(page.complaints().await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_restored_shows_what_it_knows() {
    let world = World::new();
    let mut control = world.control_plane("control", &[]).await;
    let epoch = control.api().get("/v1/fleet").await.body["epoch"].clone();
    control.api().service("shop", json!({})).await;
    let file = world.path("saved.snapshot").to_str().unwrap().to_owned();
    let store = format!("redb:{}", world.store("heir").display());
    let url = control.api().url();
    let restore = [
        "restore",
        "--store",
        &store,
        "--succeed",
        epoch.as_str().unwrap(),
        &file,
    ];
    for arguments in [&["backup", "-o", &file, "--url", &url][..], &restore] {
        assert!(binary::vulcan().args(arguments).output().unwrap().status.success());
    }
    control.kill();
    let heir = world.control_plane("heir", &[]).await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &heir).await;
    page.shows(".latest", "create epoch").await;
    page.press("link", "Revisions").await;
    page.shows(".history", "Revision 2").await;
    heir.api().service("shop", json!({"max_body": 9})).await;
    page.shows(".history", "Revision 3").await;
    page.press("button", "Show older ones").await;
    page.until("document.querySelector('main .card .buttons button:disabled')")
        .await;
    page.eval("document.querySelector('.history li:last-child summary').click()")
        .await;
    page.press("button", "Revert to this revision").await;
    page.shows("dialog", "That changes 1 object").await;
    assert_eq!(page.complaints().await, [] as [String; 0]);
}
