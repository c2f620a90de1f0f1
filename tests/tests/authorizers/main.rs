//! Authorizers from outside, as their operators and attackers meet them: the protocol of old word for word, crowds, servers
//! that fail in every way, what the API takes, and what is kept of a secret.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod anywhere;
mod clients;
mod crowd;
mod example;
mod failing;
mod misbehaving;
mod rest;
mod secrets;
mod visit;
mod walk;

use std::fmt::Display;

use serde_json::{Value, json};
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::authserver::basic;
use vulcan_tests::node::Node;
use vulcan_tests::origin;
use vulcan_tests::wire::Request;

/// `base` with the members of `more`.
fn with(mut base: Value, more: Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        base[name] = value.clone();
    }
    base
}

/// A service `web` that takes everything and asks `auth`, which has one upstream there, in a way of `settings`.
async fn guard(api: &Api, auth: impl Display, settings: Value) {
    // A crowd of new connections is no fault of whoever takes them, on a machine that has more to do.
    let timeouts = json!({"connect": "30s"});
    let auth_service = json!({"match": [], "timeouts": timeouts});
    api.put("/v1/services/auth", auth_service).await.live();
    api.register("auth", "a", auth).await.live();
    let main = with(json!({"service": "auth", "timeout": "10s"}), settings);
    api.put("/v1/authorizers/main", main).await.live();
    let web = json!({"match": [{}], "authorizer": "main", "timeouts": timeouts});
    api.put("/v1/services/web", web).await.live();
    api.register("web", "a", origin::inside("a").await).await.live();
}

/// By this user, whose password is `secret`.
fn by(user: &str, path: &str) -> Request {
    let credentials = basic::encode(format!("{user}:secret").as_bytes());
    Request::new("GET", path, "web").with("authorization", &credentials)
}

async fn ask(node: &Node, request: &Request) -> Reply {
    Api::new(node.http()).send(request).await
}
