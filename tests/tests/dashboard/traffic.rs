use serde_json::{Value, json};
use vulcan_tests::eventually;
use vulcan_tests::origin;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use crate::{assert_calm, browser, open};

/// (requests, errors, limited) of a service on a proxy.
fn sums(traffic: &Value, proxy: &str, service: &str) -> Option<(u64, u64, u64)> {
    let named = |list: &Value, member: &str, name: &str| list.as_array()?.iter().find(|it| it[member] == name).cloned();
    let entry = named(
        &named(&traffic["items"], "proxy", proxy)?["services"],
        "service",
        service,
    )?;
    let number = |member: &str| entry[member].as_u64().unwrap();
    Some((number("requests"), number("errors"), number("limited")))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_counted_once_and_plotted() {
    let world = World::new();
    let (control, mut proxies) = world.fleet(3, &[]).await;
    let api = control.api();
    let address = origin::inside("a").await;
    for service in ["shop", "web"] {
        api.service(service, json!({"retries": {"attempts": 0}})).await;
        api.register(service, "a", address).await;
    }
    // A proxy that is away is told to be so.
    proxies[2].kill();
    for (proxy, service, code, many) in [
        (0, "web", 200, 5),
        (0, "web", 503, 2),
        (0, "web", 429, 1),
        (0, "shop", 404, 1),
        (1, "web", 204, 3),
        (1, "nowhere", 0, 4),
    ] {
        for _ in 0..many {
            let mut client = Connection::connect(proxies[proxy].http()).await.unwrap();
            let request = Request::new("GET", &format!("/status?code={code}"), service);
            client.exchange(&request).await.unwrap();
        }
    }
    // A request is counted at its end, which is a moment after its answer.
    eventually("all are counted", async || {
        let told = api.get("/v1/traffic").await.expect(200).body;
        let all = [("p1", "web"), ("p1", "shop"), ("p2", "web"), ("p2", "_none")]
            .map(|(proxy, service)| sums(&told, proxy, service));
        all == [Some((8, 2, 1)), Some((1, 0, 0)), Some((3, 0, 0)), Some((4, 0, 0))]
    })
    .await;
    let told = api.get("/v1/traffic").await.expect(200).body;
    assert_eq!(told["items"][2], json!({"proxy": "p3", "services": null}));
    let told = api.get("/v1/traffic?services=1").await.expect(200).body;
    assert_eq!(
        told["items"][0]["services"],
        json!([{"service": "web", "requests": 8, "errors": 2, "limited": 1},
               {"service": "_other", "requests": 1, "errors": 0, "limited": 0}])
    );
    let page = api.get("/v1/traffic?services=0&limit=1").await.expect(200).body;
    assert_eq!(page["items"][0]["services"][0]["requests"], 9);
    let next = format!("/v1/traffic?services=0&cursor={}", page["next"].as_str().unwrap());
    assert_eq!(
        sums(&api.get(&next).await.expect(200).body, "p2", "_other"),
        Some((7, 0, 0))
    );
    api.get("/v1/traffic?services=1001")
        .await
        .problem(422, "invalid")
        .blames("services");

    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    page.until("document.querySelector('svg[aria-label^=\"Requests: \"]')?.checkVisibility()")
        .await;
    // Until what is sent now is on the plot.
    let mut client = Connection::connect(proxies[0].http()).await.unwrap();
    let plotted = "(document.querySelector('path.line.requests').getAttribute('d').match(/[ML]/g) ?? []).length > 1 \
                   && !document.querySelector('svg[aria-label^=\"Requests: \"]').getAttribute('aria-label').includes('at most 0 ')";
    eventually("requests are plotted", async || {
        client
            .exchange(&Request::new("GET", "/status?code=200", "web"))
            .await
            .unwrap();
        page.eval(plotted).await == true
    })
    .await;
    assert_calm(&mut page, &[]).await;
}
