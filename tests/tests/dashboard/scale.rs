use serde_json::json;
use vulcan_tests::world::World;

use crate::browser;

/// The fleet as the API would tell of a thousand proxies; everything else is what the control plane answers.
const THOUSAND: &str = r#"
    const real = window.fetch;
    const proxy = (n) => ({name: `proxy-${String(n).padStart(4, "0")}`, state: n === 999 ? "detached" : "present",
        applied: 1000 - (n === 998 ? 1 : 0), lag: n === 998 ? 1 : 0, build: "0.1.0", control_plane: "127.0.0.1:1",
        lease: "10s", persisted: true, draining: n < 500 ? [{upstream: "s-0001/a", in_flight: 3}] : [], warming: [],
        refused: []});
    window.fetch = async (path, options) => {
        const answer = await real(path, options);
        if (!path.startsWith("/v1/fleet?")) return answer;
        const items = Array.from({length: 1000}, (_, n) => proxy(n));
        return new Response(JSON.stringify({...await answer.json(), items}));
    };"#;

const ROWS: &str = "document.querySelectorAll('main table tbody tr').length";
/// Of the page's own script, after what it no longer needs is collected.
const HEAP_MAX: f64 = 64e6;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_services_and_a_thousand_proxies_are_a_page_at_a_time() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let api = control.api();
    let mut writes = tokio::task::JoinSet::new();
    for part in 0..4 {
        let api = api.clone();
        writes.spawn(async move {
            for n in (part..1_000).step_by(4) {
                api.service(&format!("s-{n:04}"), json!({})).await;
            }
        });
    }
    while let Some(written) = writes.join_next().await {
        written.unwrap();
    }
    let mut browser = browser(&world).await;
    let mut page = browser.open("about:blank").await;
    let early = json!({ "source": THOUSAND });
    page.call("Page.addScriptToEvaluateOnNewDocument", early).await;
    page.go(&format!("{}/#/services", api.url())).await;
    page.shows("main .foot", "1–20 of 1,000 rows").await;
    assert_eq!(page.eval(ROWS).await, 20);
    page.press("button", "Next").await;
    page.shows("main .foot", "21–40 of 1,000 rows").await;
    page.shows("main table", "s-0039").await;
    page.fill("Filter Services", "s-0001").await;
    page.shows("main .foot", "1 row").await;
    // Of 500 proxies, each with one.
    page.shows("main table tbody tr", "500").await;

    page.press("link", "Fleet").await;
    page.shows("main .foot", "1–20 of 1,000 rows").await;
    page.shows("main table tbody tr:nth-child(1)", "proxy-0999").await;
    page.shows("main table tbody tr:nth-child(2)", "proxy-0998").await;
    assert_eq!(page.eval(ROWS).await, 20);
    page.press("link", "Overview").await;
    page.shows("main", "999 of 1000").await;
    page.shows("main", "1 proxy is beyond the lease").await;

    // A deployment of everything, while the history is looked at.
    page.press("link", "Revisions").await;
    let mut last = 0;
    for n in 0..700 {
        last = api
            .patch(&format!("/v1/services/s-{n:04}"), json!({"max_body": "1MB"}))
            .await
            .revision();
    }
    page.shows(".history", &format!("Revision {last}")).await;
    assert_eq!(page.eval("document.querySelectorAll('.history > li').length").await, 50);
    page.call("HeapProfiler.collectGarbage", json!({})).await;
    let heap = page.call("Runtime.getHeapUsage", json!({})).await;
    let used = heap["usedSize"].as_f64().unwrap();
    println!("the page holds {:.1} MB", used / 1e6);
    assert!(used < HEAP_MAX, "{heap}");
    assert_eq!(page.complaints().await, [] as [String; 0]);
}
