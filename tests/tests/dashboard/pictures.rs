//! The pictures of docs/dashboard.md, of a fleet in use.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use vulcan_tests::api::Api;
use vulcan_tests::browser::Page;
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::script::Script;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use crate::{browser, open};

async fn deployed(api: &Api) {
    for (name, settings) in [
        (
            "shop",
            json!({"match": [{"hosts": ["shop.example.com"], "path_prefix": "/"}]}),
        ),
        (
            "search",
            json!({"match": [{"hosts": ["shop.example.com"], "path_prefix": "/search"}]}),
        ),
        (
            "accounts",
            json!({"match": [{"hosts": ["accounts.example.com"]}, {"hosts": ["login.example.com"]}]}),
        ),
        (
            "support",
            json!({"match": [{"recipients": ["example.com", "sales@example.org"]}]}),
        ),
    ] {
        let mut body = settings;
        if name == "support" {
            body["open"] = true.into();
        }
        api.put(&format!("/v1/services/{name}"), body).await.live();
    }
    let limit = json!({"path": "/search", "period": 60, "threshold": 600, "service": "search"});
    api.put("/v1/limits/0198b8a4-5b7e-7c3a-9f2e-1d4c5b6a7980", limit)
        .await
        .live();
}

/// Requests like those of people: more, and less, and now and then one that fails.
async fn use_it(proxies: &[Node], rounds: u32) {
    for round in 0..rounds {
        for n in 0..4 + (round * 7) % 23 {
            let proxy = &proxies[n as usize % 3];
            let code = if (round + n) % 17 == 0 { 503 } else { 200 };
            let mut client = Connection::connect(proxy.http()).await.unwrap();
            let request = Request::new("GET", &format!("/status?code={code}"), "shop.example.com");
            client.exchange(&request).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

async fn picture(page: &mut Page<'_>, name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
    std::fs::create_dir_all(&folder).unwrap();
    page.picture(&folder.join(format!("{name}.png"))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes the pictures of docs/dashboard.md; run by hand"]
async fn pictures() {
    let world = World::new();
    let (control, mut proxies) = world.fleet(4, &[]).await;
    let (api, script) = (control.api(), Script::listen().await);
    deployed(&api).await;
    let address = origin::inside("a").await;
    api.register("shop", "shop-1", address).await;
    api.register("search", "search-1", address).await;
    api.register("accounts", "accounts-1", script.address).await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    use_it(&proxies, 60).await;
    picture(&mut page, "overview").await;
    page.call(
        "Emulation.setEmulatedMedia",
        json!({"features": [{"name": "prefers-color-scheme", "value": "dark"}]}),
    )
    .await;
    page.press("link", "Fleet").await;
    proxies[3].kill();
    page.shows("main table", "absent").await;
    page.size(1_280, 440).await;
    picture(&mut page, "fleet").await;
    page.size(1_280, 800).await;
    proxies[3].start();
    page.call("Emulation.setEmulatedMedia", json!({"features": []})).await;

    page.go(&format!("{}/#/services/accounts", api.url())).await;
    let mut client = Connection::connect(proxies[1].http()).await.unwrap();
    client
        .writer
        .send(&Request::new("GET", "/", "login.example.com").encode())
        .await
        .unwrap();
    let (_server, _, _) = script.request().await;
    page.press("button", "Unregister accounts-1").await;
    page.press("button", "Unregister").await;
    page.shows("dialog", "p2 drains accounts/accounts-1").await;
    picture(&mut page, "unregister").await;
    page.key("Escape").await;

    api.patch(
        "/v1/services/shop",
        json!({"timeouts": {"response": "10s"}, "max_body": "10MB"}),
    )
    .await
    .live();
    page.press("link", "Revisions").await;
    page.shows(".history", "change service shop").await;
    page.eval("document.querySelector('.history summary').click()").await;
    page.shows(".history .diff", "max_body").await;
    picture(&mut page, "revisions").await;
}
