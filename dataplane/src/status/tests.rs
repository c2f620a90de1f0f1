use tokio::sync::watch;

use super::*;
use crate::phase::{self, PhaseSender};

fn status() -> (Status, PhaseSender, watch::Sender<bool>) {
    let (sender, phase) = phase::channel();
    let listening = watch::Sender::new(false);
    let status = Status {
        phase,
        listening: listening.subscribe(),
        views: Views::new(1),
        connections: Arc::default(),
    };
    (status, sender, listening)
}

fn get(status: &Status, path: &str) -> u16 {
    status.answer(&Method::GET, path).status().as_u16()
}

#[test]
fn ready_from_the_first_open_listener_to_the_drain() {
    let (status, phase, listening) = status();
    assert_eq!(get(&status, "/readyz"), 503);
    phase.set(Phase::Serving { stale: true });
    assert_eq!(get(&status, "/readyz"), 503, "the listeners are not open");
    listening.send_replace(true);
    assert_eq!(get(&status, "/readyz"), 200);
    assert_eq!(status.readiness(), Ok(true));
    phase.set(Phase::Unready);
    assert_eq!(get(&status, "/readyz"), 503);
    phase.set(Phase::Serving { stale: false });
    assert_eq!(status.readiness(), Ok(false));
    phase.set(Phase::Draining);
    assert_eq!(get(&status, "/readyz"), 503);
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

#[tokio::test]
async fn ready_is_awaited_over_both_conditions() {
    let (status, phase, listening) = status();
    let ready = tokio::spawn(status.ready());
    listening.send_replace(true);
    phase.set(Phase::Serving { stale: false });
    ready.await.unwrap();
}
