//! Revocations that meet a request on its way: after them it is not sent on what was said before.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use http::Request;
use rustix::io::ioctl_fionread;
use tokio::task::spawn_local;

use super::authorizing::{FAILED, Scene, closing, get};
use super::stage::*;
use crate::http::Upload;

const AMPLE: Duration = Duration::from_secs(20);
const DONE: &str = "HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n";
const ONE_AT_A_TIME: &str = r#","authorizer":"main","upstream_care":{"max_in_flight":1,"queue":2,"queue_for":"1h"}"#;
const NO: &str = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";

fn token(token: &str) -> String {
    let body = format!(r#"{{"auth_token": "{token}"}}"#);
    closing(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn token_of(head: &str) -> Option<&str> {
    field(head, "x-vulcan-auth-token")
}

fn request() -> Request<Upload> {
    Request::get("/").header("host", "a").body(Upload::empty()).unwrap()
}

/// Nothing stands between the last look at the view and the socket.
#[test]
fn what_was_handed_over_is_written_at_once() {
    story(async || {
        let (stage, origin, _) = scene("").await;
        let endpoint = stage.endpoint("a");
        let mut connection = stage.upstreams.connect(&endpoint, AMPLE).await.unwrap();
        let mut upstream = origin.accept().await;
        let (head, body) = request().into_parts();
        let mut sending = pin!(connection.send(&head, body, |_| {}));
        assert!(sending.as_mut().now_or_never().is_none());
        assert!(ioctl_fionread(&upstream.stream).unwrap() > 0);
        upstream.head().await;
        // One that waits for its answer, or for its next request, is not waited for.
        soon(stage.upstreams.heads_written(AMPLE)).await;
        upstream.send(OK).await;
        assert!(sending.await.is_ok());
        soon(stage.upstreams.heads_written(AMPLE)).await;
    });
}

/// It has been let in.
#[test]
fn a_body_that_takes_its_time_goes_on() {
    story(async || {
        let (stage, origin, _) = scene("").await;
        let endpoint = stage.endpoint("a");
        let mut connection = stage.upstreams.connect(&endpoint, AMPLE).await.unwrap();
        let mut upstream = origin.accept().await;
        let body = "x".repeat(32 << 20);
        let request = Request::put("/")
            .header("host", "a")
            .header("content-length", body.len());
        let request = request.body(Upload::of(body.clone().into())).unwrap();
        let sending = spawn_local(async move {
            let (head, body) = request.into_parts();
            connection.send(&head, body, |_| {}).await.map(drop)
        });
        while ioctl_fionread(&upstream.stream).unwrap() == 0 {
            tokio::task::yield_now().await;
        }
        stage.upstreams.heads_written(Duration::from_millis(5)).await;
        upstream.head().await;
        assert!(upstream.exactly(body.len()).await == body);
        upstream.send(OK).await;
        assert!(sending.await.unwrap().is_ok());
    });
}

#[test]
fn a_head_that_nobody_takes_is_never_sent_whole() {
    story(async || {
        let (stage, origin, _) = scene("").await;
        let endpoint = stage.endpoint("a");
        let mut connection = stage.upstreams.connect(&endpoint, AMPLE).await.unwrap();
        let mut upstream = origin.accept().await;
        let mut request = request();
        let long = "x".repeat(64 << 20).try_into().unwrap();
        request.headers_mut().insert("x-long", long);
        let (head, body) = request.into_parts();
        let mut sending = pin!(connection.send(&head, body, |_| {}));
        assert!(sending.as_mut().now_or_never().is_none());
        stage.upstreams.heads_written(Duration::from_millis(5)).await;
        let (arrived, _) = upstream.rest().await;
        assert!(arrived.starts_with("GET / HTTP/1.1\r\n") && !arrived.contains("\r\n\r\n"));
        assert!(sending.await.is_err());
    });
}

#[test]
fn a_second_attempt_needs_leave_of_its_own_time() {
    story(async || {
        let scene = Scene::new("").await;
        let mut client = scene.stage.client().await;
        client.send(&get("/", "")).await;
        scene.auth.answers(&token("old")).await;
        let mut first = scene.origin.accept().await;
        assert_eq!(token_of(&first.head().await), Some("old"));
        scene.revoke(r#"{"username":"api"}"#);
        let second = scene.stage.origin("b").await;
        drop(first);
        scene.auth.answers(&token("new")).await;
        let mut upstream = second.accept().await;
        assert_eq!(token_of(&upstream.head().await), Some("new"));
        upstream.send(DONE).await;
        assert_eq!(client.message().await.status(), "204");
    });
}

#[test]
fn who_waits_for_a_place_is_asked_for_again() {
    story(async || {
        let scene = Scene::of(ONE_AT_A_TIME, "").await;
        let mut first = scene.stage.client().await;
        first.send(&get("/", "")).await;
        scene.auth.answers(&token("old")).await;
        let mut upstream = scene.origin.accept().await;
        assert_eq!(token_of(&upstream.head().await), Some("old"));
        let mut waiting = [scene.stage.client().await, scene.stage.client().await];
        for (number, client) in waiting.iter_mut().enumerate() {
            client.send(&get("/", "")).await;
            scene.stage.waits(number + 1).await;
        }
        scene.revoke(r#"{"username":"api"}"#);
        // What was under way goes on.
        upstream.send(DONE).await;
        assert_eq!(first.message().await.status(), "204");
        scene.auth.answers(&token("new")).await;
        for _ in &waiting {
            let mut upstream = scene.origin.accept().await;
            assert_eq!(token_of(&upstream.head().await), Some("new"));
            upstream.send(DONE).await;
        }
        for client in &mut waiting {
            assert_eq!(client.message().await.status(), "204");
        }
    });
}

#[test]
fn a_place_that_is_not_taken_any_more_is_the_next_ones() {
    story(async || {
        let scene = Scene::of(ONE_AT_A_TIME, "").await;
        let other = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic b3RoZXI6eA==\r\n\r\n";
        let mut clients = Vec::new();
        for (request, waiting) in [(other, 0), (&get("/", ""), 1), (other, 2)] {
            let mut client = scene.stage.client().await;
            client.send(request).await;
            if waiting < 2 {
                scene.auth.answers(&token("old")).await;
            }
            scene.stage.waits(waiting).await;
            clients.push(client);
        }
        let mut upstream = scene.origin.accept().await;
        upstream.head().await;
        scene.revoke(r#"{"username":"api"}"#);
        upstream.send(DONE).await;
        scene.auth.answers(&closing(NO)).await;
        let mut upstream = scene.origin.accept().await;
        assert_eq!(
            token_of(&upstream.head().await),
            Some("old"),
            "of whom nothing was revoked"
        );
        upstream.send(DONE).await;
        for (client, status) in clients.iter_mut().zip(["204", "403", "204"]) {
            assert_eq!(client.message().await.status(), status);
        }
    });
}

#[test]
fn a_call_for_somebody_else_is_not_made_twice() {
    story(async || {
        let scene = Scene::new("").await;
        let mut client = scene.stage.client().await;
        client.send(&get("/", "")).await;
        let mut auth = scene.auth.accept().await;
        auth.message().await;
        scene.revoke(r#"{"username":"other"}"#);
        auth.send(&token("first")).await;
        let mut upstream = scene.origin.accept().await;
        assert_eq!(token_of(&upstream.head().await), Some("first"));
        upstream.send(DONE).await;
        assert_eq!(client.message().await.status(), "204");
        scene.auth.is_left_alone().await;
    });
}

#[test]
fn a_refusal_is_forgotten_as_well() {
    story(async || {
        let scene = Scene::new("").await;
        assert_eq!(scene.told_by(&get("/", ""), NO).await.status(), "403");
        assert_eq!(scene.told(&get("/", "")).await.status(), "403");
        scene.revoke(r#"{"username":"api"}"#);
        let head = scene.passes_by(&get("/", ""), &token("new")).await;
        assert_eq!(token_of(&head), Some("new"));
    });
}

#[test]
fn an_answer_that_was_to_bridge_a_failure_does_not_bridge_a_revocation() {
    story(async || {
        let scene = Scene::new(r#","cache":{"ttl":"1ms","stale":"1h"}"#).await;
        scene.passes_by(&get("/", ""), &token("old")).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let mut client = scene.stage.client().await;
        client.send(&get("/", "")).await;
        let mut before = scene.auth.accept().await;
        before.message().await;
        scene.revoke("{}");
        before.send(&closing(FAILED)).await;
        scene.auth.answers(&closing(FAILED)).await;
        client.message().await.is_problem(503, "authorizer-unavailable");
        scene.origin.is_left_alone().await;
    });
}

/// So many that the first are not told apart any more.
#[test]
fn revocations_without_end_leave_nothing_behind() {
    story(async || {
        let scene = Scene::new("").await;
        for number in 0..600 {
            scene.revoke(&format!(r#"{{"username":"nobody-{number}"}}"#));
        }
        let head = scene.passes_by(&get("/", ""), &token("a")).await;
        assert_eq!(token_of(&head), Some("a"));
        for number in 0..200 {
            scene.revoke(&format!(r#"{{"username":"nobody-{number}"}}"#));
        }
        let head = scene.passes(&get("/", "")).await;
        assert_eq!(token_of(&head), Some("a"), "it is about nobody whom this is about");
        for number in 0..300 {
            scene.revoke(&format!(r#"{{"username":"nobody-{number}"}}"#));
        }
        let head = scene.passes_by(&get("/", ""), &token("b")).await;
        assert_eq!(
            token_of(&head),
            Some("b"),
            "what is older than all that is known counts as revoked"
        );
    });
}
