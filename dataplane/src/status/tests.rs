use futures_util::FutureExt;
use shared::model::LimitId;
use tokio::sync::watch;
use uuid::Uuid;

use super::*;
use crate::limiter::Decided;
use crate::phase::{self, PhaseSender};

fn status() -> (Status, PhaseSender, watch::Sender<bool>) {
    let (sender, phase) = phase::channel();
    let listening = watch::Sender::new(false);
    let status = Status {
        phase,
        listening: listening.subscribe(),
        views: Views::new(1),
        connections: Arc::default(),
        log: None,
    };
    (status, sender, listening)
}

fn get(status: &Status, path: &str) -> u16 {
    status.answer(&Method::GET, path).status().as_u16()
}

/// What `/readyz` calls the proxy, and its status.
fn readiness(status: &Status) -> (u16, String) {
    use http_body_util::BodyExt;
    let answer = status.answer(&Method::GET, "/readyz");
    assert_eq!(answer.headers()[header::CONTENT_TYPE], JSON);
    let code = answer.status().as_u16();
    let body = answer.into_body().collect().now_or_never().unwrap().unwrap().to_bytes();
    let document: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (code, document["status"].as_str().unwrap().to_owned())
}

#[test]
fn ready_from_the_first_open_listener_to_the_drain() {
    let (status, phase, listening) = status();
    let shown = |code, word: &str| assert_eq!(readiness(&status), (code, word.to_owned()));
    shown(503, "starting");
    phase.set(Phase::Serving { stale: true });
    // The listeners are not open.
    shown(503, "starting");
    listening.send_replace(true);
    shown(200, "ready");
    assert_eq!(status.readiness(), Ok(true));
    phase.set(Phase::Unready);
    shown(503, "unready");
    phase.set(Phase::Stopped);
    shown(503, "stopped");
    phase.set(Phase::Serving { stale: false });
    assert_eq!(status.readiness(), Ok(false));
    phase.set(Phase::Draining);
    shown(503, "draining");
    assert_eq!(get(&status, "/healthz"), 200);
}

#[test]
fn other_paths_and_methods_are_problems() {
    let (status, _phase, _listening) = status();
    let not_found = status.answer(&Method::GET, "/");
    assert_eq!(not_found.status(), 404);
    assert_eq!(not_found.headers()[header::CONTENT_TYPE], problem::CONTENT_TYPE);
    let wrong = status.answer(&Method::POST, "/readyz");
    assert_eq!(wrong.status(), 405);
    assert_eq!(wrong.headers()[header::ALLOW], "GET, HEAD");
}

#[test]
fn limits_are_counted_and_many_of_them_together() {
    let (status, ..) = status();
    let tallies = status.views.limiter().tallies();
    assert!(!metrics::render(&status).contains("decisions_total{"));
    for n in 0..1_002 {
        tallies.of(LimitId(Uuid::from_u128(n))).add(Decided::Admitted, 1);
    }
    tallies.of(LimitId(Uuid::from_u128(7))).add(Decided::Refused, 1);
    let text = metrics::render(&status);
    let line = |limit: &str, decision: &str, count: u64| {
        format!("vulcan_limit_decisions_total{{limit=\"{limit}\",decision=\"{decision}\"}} {count}\n")
    };
    let seventh = "00000000-0000-0000-0000-000000000007";
    for line in [
        line(seventh, "admitted", 1),
        line(seventh, "refused", 1),
        line("other", "admitted", 2),
    ] {
        assert!(text.contains(&line), "{line}");
    }
    assert_eq!(text.matches("decisions_total{").count(), 1_002);
}

#[tokio::test]
async fn ready_is_awaited_over_both_conditions() {
    let (status, phase, listening) = status();
    let ready = tokio::spawn(status.ready());
    listening.send_replace(true);
    phase.set(Phase::Serving { stale: false });
    ready.await.unwrap();
}
