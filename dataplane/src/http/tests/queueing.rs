use super::stage::*;

const HELD: &str = r#","upstream_care":{"max_in_flight":1,"queue":2,"queue_for":"1h"}"#;

#[test]
fn beyond_the_limit_there_is_no_upstream() {
    story(async || {
        let (stage, origin, mut client) = scene(r#","upstream_care":{"max_in_flight":1}"#).await;
        let (mut upstream, _) = client.asks(GET, &origin).await;
        let mut other = stage.client().await;
        for _ in 0..3 {
            other.send(GET).await;
            let answer = other.message().await;
            answer.is_problem(503, "no-upstream");
            assert_eq!(answer.field("retry-after"), Some("1"));
        }
        // Its place is free with its last byte.
        upstream.send(OK).await;
        client.message().await;
        other.send(POST).await;
        upstream.message().await;
        upstream.send(OK).await;
        assert_eq!(other.message().await.body, "ok");
    });
}

#[test]
fn as_many_wait_as_may_in_the_order_in_which_they_came() {
    story(async || {
        let (stage, origin, mut client) = scene(HELD).await;
        let (mut upstream, _) = client.asks(GET, &origin).await;
        let mut waiting = [stage.client().await, stage.client().await];
        for (name, peer) in waiting.iter_mut().enumerate() {
            peer.send(&format!("GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            others().await;
            stage.waits(name + 1).await;
        }
        let mut beyond = stage.client().await;
        beyond.send(GET).await;
        beyond.message().await.is_problem(503, "no-upstream");

        for (name, peer) in [&mut client].into_iter().chain(&mut waiting).enumerate() {
            upstream.send(OK).await;
            assert_eq!(peer.message().await.body, "ok");
            if name < 2 {
                assert!(upstream.head().await.starts_with(&format!("GET /{name} ")));
            }
        }
        stage.waits(0).await;
    });
}

#[test]
fn a_client_that_goes_gives_up_its_place_in_the_queue() {
    story(async || {
        let (stage, origin, mut client) = scene(HELD).await;
        let (mut upstream, _) = client.asks(GET, &origin).await;
        let (mut gone, mut stays) = (stage.client().await, stage.client().await);
        gone.send(GET).await;
        stage.waits(1).await;
        stays.send(GET).await;
        stage.waits(2).await;
        drop(gone);
        stage.waits(1).await;
        upstream.send(OK).await;
        client.message().await;
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(stays.message().await.body, "ok");
    });
}

#[test]
fn nobody_waits_in_the_queue_forever() {
    story(async || {
        let fields = r#","upstream_care":{"max_in_flight":1,"queue":1,"queue_for":"20ms"}"#;
        let (stage, origin, mut client) = scene(fields).await;
        let _upstream = client.asks(GET, &origin).await;
        let mut other = stage.client().await;
        other.send(GET).await;
        other.message().await.is_problem(503, "no-upstream");
        stage.waits(0).await;
    });
}

#[test]
fn who_waits_goes_to_an_upstream_that_comes() {
    story(async || {
        let (stage, origin, mut client) = scene(HELD).await;
        let _upstream = client.asks(GET, &origin).await;
        let mut other = stage.client().await;
        other.send(GET).await;
        stage.waits(1).await;
        let new = stage.origin("b").await;
        new.answers(OK).await;
        assert_eq!(other.message().await.body, "ok");
    });
}
