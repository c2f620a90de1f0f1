//! A server that says again and again that it lives.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::api::Api;

/// A third of the shortest time that tests give.
const EVERY: Duration = Duration::from_millis(600);

/// It stops when it is dropped.
pub struct Beating {
    answers: Arc<Mutex<Vec<(u16, Value)>>>,
    _task: AbortOnDropHandle<()>,
}

impl Beating {
    /// Repeats the registration, through each of `apis` in turn. What cannot be sent is left out.
    pub fn start(apis: &[Api], path: &str, body: &Value) -> Beating {
        let answers: Arc<Mutex<Vec<(u16, Value)>>> = Arc::default();
        let (told, apis) = (answers.clone(), apis.to_vec());
        let (path, body) = (path.to_owned(), body.to_string());
        let beat = async move {
            for api in apis.iter().cycle() {
                if let Ok(reply) = api.try_send(&api.with_json("PUT", &path, &body)).await {
                    told.lock()
                        .expect("nobody panics with it")
                        .push((reply.status, reply.body));
                }
                tokio::time::sleep(EVERY).await;
            }
        };
        Beating {
            answers,
            _task: AbortOnDropHandle::new(tokio::spawn(beat)),
        }
    }

    /// All answers so far.
    pub fn answers(&self) -> Vec<(u16, Value)> {
        self.answers.lock().expect("nobody panics with it").clone()
    }

    /// Once there are so many more.
    pub async fn more(&self, count: usize) {
        let wanted = self.answers().len() + count;
        crate::eventually("heartbeats are answered", async || self.answers().len() >= wanted).await;
    }
}

/// Who was unregistered for its silence, in order: `service/id`.
pub async fn expired(api: &Api) -> Vec<String> {
    let history = api.get("/v1/revisions?limit=1000").await.expect(200).body;
    let commits = history["items"].as_array().cloned().unwrap_or_default();
    let by_ttl = commits.iter().filter(|commit| commit["actor"] == "heartbeat-ttl");
    let ops = by_ttl.flat_map(|commit| commit["ops"].as_array().cloned().unwrap_or_default());
    ops.map(|op| {
        assert_eq!(op["verb"], "delete", "{op}");
        op["key"].as_str().unwrap_or_default().to_owned()
    })
    .collect()
}

/// A registration that needs renewal within `ttl`.
pub fn registration(address: impl std::fmt::Display, ttl: &str) -> Value {
    json!({"address": address.to_string(), "ttl": ttl})
}
