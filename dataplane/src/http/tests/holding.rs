//! Stories of requests whose service is held.

use std::time::{Duration, Instant};

use shared::change::Kind;

use super::stage::*;

impl Stage {
    fn hold(&self) {
        self.put(Kind::Hold, "web", "{}");
    }

    fn resume(&self) {
        self.delete(Kind::Hold, "web");
    }
}

#[test]
fn requests_wait_until_it_is_resumed() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        let (mut upstream, _) = client.asks(GET, &origin).await;
        stage.hold();
        let (mut get, mut post) = (stage.client().await, stage.client().await);
        get.send(GET).await;
        stage.held(1).await;
        post.send(POST).await;
        stage.held(2).await;
        // What was under way before goes on; its connection is kept.
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");
        assert_eq!(stage.views.held()[0].busy, []);
        origin.is_left_alone().await;

        stage.resume();
        upstream.message().await;
        upstream.send(OK).await;
        origin.answers(OK).await;
        assert_eq!(get.message().await.body, "ok");
        assert_eq!(post.message().await.body, "ok");
        stage.held(0).await;
    });
}

#[test]
fn also_while_nobody_is_up_and_on_the_table_of_then() {
    story(async || {
        let (stage, _gone, mut client) = scene("").await;
        stage.hold();
        stage.unregister("a");
        client.send(GET).await;
        stage.held(1).await;
        let new = stage.origin("b").await;
        stage.resume();
        new.answers(OK).await;
        assert_eq!(client.message().await.body, "ok");
    });
}

#[test]
fn a_client_that_goes_waits_no_longer() {
    story(async || {
        let (stage, origin, mut stays) = scene("").await;
        stage.hold();
        let mut gone = stage.client().await;
        gone.send(GET).await;
        stays.send(GET).await;
        stage.held(2).await;
        drop(gone);
        stage.held(1).await;
        stage.resume();
        origin.answers(OK).await;
        assert_eq!(stays.message().await.body, "ok");
        origin.is_left_alone().await;
    });
}

#[test]
fn a_renewed_hold_goes_on_and_the_end_of_its_time_ends_it() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        stage.hold();
        client.send(GET).await;
        stage.held(1).await;
        stage.hold();
        stage.put(Kind::Hold, "other", "{}");
        stage.delete(Kind::Hold, "other");
        others().await;
        stage.held(1).await;
        stage.views.end_overdue(Instant::now() + Duration::from_secs(31));
        origin.answers(OK).await;
        assert_eq!(client.message().await.body, "ok");
        stage.held(0).await;
    });
}

#[test]
fn the_end_of_the_service_ends_the_wait() {
    story(async || {
        let (stage, _origin, mut client) = scene("").await;
        stage.hold();
        client.send(GET).await;
        stage.held(1).await;
        stage.unregister("a");
        stage.delete(Kind::Service, "web");
        client.message().await.is_problem(404, "no-route");
        stage.held(0).await;
    });
}

#[test]
fn who_waits_in_the_queue_waits_for_the_hold_too() {
    story(async || {
        let fields = r#","upstream_care":{"max_in_flight":1,"queue":2,"queue_for":"1h"}"#;
        let (stage, origin, mut client) = scene(fields).await;
        let (mut upstream, _) = client.asks(GET, &origin).await;
        let mut other = stage.client().await;
        other.send(GET).await;
        stage.waits(1).await;
        stage.hold();
        upstream.send(OK).await;
        client.message().await;
        stage.held(1).await;
        stage.resume();
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(other.message().await.body, "ok");
    });
}

#[test]
fn a_retry_waits_like_any_request() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        let (upstream, _) = client.asks(GET, &origin).await;
        stage.hold();
        let other = stage.origin("b").await;
        drop(upstream);
        stage.held(1).await;
        stage.resume();
        other.answers(OK).await;
        assert_eq!(client.message().await.body, "ok");
    });
}
