//! Somebody who deploys, and has the addresses of all control planes: what one of them cannot do is asked of the next.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::load::Ledger;
use vulcan_tests::origin::Origin;

/// A write gets through within this, whatever is down: one control plane and a quorum are always there.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Operator {
    apis: Vec<Api>,
    turn: AtomicUsize,
    /// Calls that did not end with 200.
    repeated: AtomicUsize,
}

impl Operator {
    pub fn new(apis: Vec<Api>) -> Operator {
        Operator {
            apis,
            turn: AtomicUsize::new(0),
            repeated: AtomicUsize::new(0),
        }
    }

    pub fn repeated(&self) -> usize {
        self.repeated.load(SeqCst)
    }

    /// `curl -f`, again and again, at one control plane after another.
    async fn insist(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let begun = Instant::now();
        loop {
            let api = &self.apis[self.turn.fetch_add(1, SeqCst) % self.apis.len()];
            let request = match &body {
                Some(body) => api.with_json(method, path, &body.to_string()),
                None => api.request(method, path),
            };
            // One that stands still takes the connection, and never answers.
            let answer = tokio::time::timeout(Duration::from_secs(25), api.try_send(&request)).await;
            let outcome = match answer {
                Ok(Ok(reply)) if reply.status == 200 => return reply,
                Ok(Ok(reply)) => {
                    assert!(
                        matches!(reply.status, 503 | 504),
                        "{method} {path}: {}: {}",
                        reply.status,
                        reply.text
                    );
                    reply.text
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            self.repeated.fetch_add(1, SeqCst);
            assert!(
                begun.elapsed() < PATIENCE,
                "{method} {path} never gets through: {outcome}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn service(&self, name: &str, settings: Value) {
        let mut body = json!({"match": [{"hosts": [name]}]});
        for (key, value) in settings.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        self.insist("PUT", &format!("/v1/services/{name}"), Some(body)).await;
    }

    pub async fn register(&self, service: &str, origin: &Origin) {
        let path = format!("/v1/services/{service}/upstreams/{}", origin.id);
        let body = json!({"address": origin.address.to_string()});
        self.insist("PUT", &path, Some(body)).await.live();
    }

    /// DELETE, and the origin is gone the moment that is answered 200.
    pub async fn retire(&self, service: &str, mut origin: Origin, ledger: &Ledger) {
        let path = format!("/v1/services/{service}/upstreams/{}?timeout=20s", origin.id);
        let reply = self.insist("DELETE", &path, None).await;
        origin.kill();
        ledger.retire(&origin.id);
        assert_eq!(reply.live().body["wait"]["for"], "drained");
    }
}
