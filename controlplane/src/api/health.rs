use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::Api;
use super::answer::json as answer;

pub async fn alive() -> Response {
    answer(StatusCode::OK, &json!({ "status": "alive" }))
}

pub async fn ready(State(api): State<Arc<Api>>) -> Response {
    match (api.stop.is_cancelled(), api.ready.load(Ordering::SeqCst)) {
        (true, _) => answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "stopping" })),
        (false, false) => answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "starting" })),
        (false, true) => answer(StatusCode::OK, &json!({ "status": "ready" })),
    }
}
