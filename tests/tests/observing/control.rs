//! A control plane's own metrics.

use serde_json::json;
use vulcan_tests::eventually;
use vulcan_tests::metrics::Page;
use vulcan_tests::world::World;

const LAG: &str = "vulcan_proxy_lag_seconds";

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_stands_still_is_behind_by_name() {
    let world = World::new();
    let (control, fleet) = world.fleet(2, &["--lease", "30s"]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    let page = Page::scrape(&api).await;
    assert_eq!(page.sum("vulcan_proxies", &[("state", "present")]), 2.0);
    assert_eq!(page.sum(LAG, &[]), 0.0);
    assert_eq!(page.values(LAG, "proxy").into_iter().collect::<Vec<_>>(), ["p1", "p2"]);
    let reached = [("for", "applied"), ("outcome", "reached")];
    assert_eq!(page.sum("vulcan_wait_total", &reached), 1.0);
    assert_eq!(page.sum("vulcan_write_live_seconds_count", &[]), 1.0);
    let before = page.sum("vulcan_revision", &[]);

    fleet[1].freeze();
    let late = api.put("/v1/services/late?timeout=100ms", json!({"match": []})).await;
    late.problem(504, "wait-not-reached");
    eventually("the one that stands still is behind", async || {
        let page = Page::scrape(&api).await;
        page.sum(LAG, &[("proxy", "p2")]) > 0.3 && page.sum(LAG, &[("proxy", "p1")]) == 0.0
    })
    .await;
    let page = Page::scrape(&api).await;
    assert_eq!(page.sum("vulcan_revision", &[]), before + 1.0);
    assert!(page.sum("vulcan_proxy_lag_worst_seconds", &[]) > 0.3);
    let not_reached = [("for", "applied"), ("outcome", "not_reached")];
    assert_eq!(page.sum("vulcan_wait_total", &not_reached), 1.0);
    assert_eq!(page.sum("vulcan_write_live_seconds_count", &[]), 1.0);
    assert!(page.has("process_resident_memory_bytes") && page.has("vulcan_build_info"));

    fleet[1].thaw();
    eventually("it has caught up", async || {
        Page::scrape(&api).await.sum(LAG, &[]) == 0.0
    })
    .await;
}
