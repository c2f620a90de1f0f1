use std::time::Duration;

use super::stage::*;
use crate::http::session::Patience;

const SOON: Duration = Duration::from_millis(50);

#[test]
fn a_head_that_does_not_end_is_not_waited_for() {
    story(async || {
        let mut setting = Setting::default();
        setting.patience.head = SOON;
        let stage = Stage::set(setting).await;
        let mut client = stage.client().await;
        client.send("GET / HTTP/1.1\r\nHo").await;
        client.message().await.is_problem(408, "request-timeout");
        client.finish().await;
        client.ends().await;
    });
}

#[test]
fn a_quiet_connection_is_closed_without_a_word() {
    story(async || {
        let mut setting = Setting::default();
        setting.patience.between = SOON;
        setting.patience.head = 10 * SOON;
        let stage = Stage::set(setting).await;
        let origin = stage.origin("a").await;
        // The first request has the time of a head to begin, whatever the others have.
        let connected = std::time::Instant::now();
        stage.client().await.ends().await;
        assert!(connected.elapsed() >= 10 * SOON);
        let mut client = stage.client().await;
        client.send(GET).await;
        origin.answers(OK).await;
        client.message().await;
        client.ends().await;
    });
}

#[test]
fn an_answer_is_waited_for_as_long_as_the_service_says() {
    story(async || {
        let (stage, origin, mut client) = scene(r#","timeouts":{"response":"50ms"}"#).await;
        let (mut upstream, _) = client.asks(GET, &origin).await;
        // These do not keep it from passing.
        upstream.send("HTTP/1.1 100 Continue\r\n\r\n").await;
        client.message().await.is_problem(504, "upstream-timeout");
        upstream.ends().await;
        assert_eq!(stage.endpoint("a").in_flight(), 0);

        // The request's last byte begins it.
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh")
            .await;
        let mut upstream = origin.accept().await;
        upstream.until("\r\n\r\nh").await;
        tokio::time::sleep(3 * SOON).await;
        client.send("i").await;
        upstream.exactly(1).await;
        upstream.send(OK).await;
        assert_eq!(client.message().await.body, "ok");
    });
}

#[test]
fn an_answer_that_stands_still_is_cut() {
    story(async || {
        let (_stage, origin, mut client) = scene(r#","timeouts":{"idle":"50ms"}"#).await;
        client.send(EMPTY_POST).await;
        let mut upstream = origin
            .answers("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
            .await;
        client.until("01234").await;
        client.ends().await;
        upstream.ends().await;
    });
}

#[test]
fn an_upload_that_stands_still_is_the_clients_fault() {
    story(async || {
        let (_stage, origin, mut client) = scene(r#","timeouts":{"idle":"50ms"}"#).await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhi")
            .await;
        let mut upstream = origin.accept().await;
        upstream.until("\r\n\r\nhi").await;
        client.message().await.is_problem(408, "request-timeout");
        upstream.ends().await;
    });
}

fn slow() -> Setting {
    Setting {
        patience: Patience {
            slow: SOON,
            ..Setting::default().patience
        },
        ..Setting::default()
    }
}

#[test]
fn an_upload_that_trickles_is_ended() {
    story(async || {
        let stage = Stage::set(slow()).await;
        let origin = stage.origin("a").await;
        let mut client = stage.client().await;
        let (_upstream, _) = client
            .asks("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n", &origin)
            .await;
        let answer = loop {
            tokio::select! {
                answer = client.head() => break answer,
                () = tokio::time::sleep(SOON / 5) => {}
            }
            client.send("x").await;
        };
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    });
}

#[test]
fn a_reader_that_stands_still_is_cut() {
    story(async || {
        let stage = Stage::set(slow()).await;
        let origin = stage.origin("a").await;
        let mut client = stage.client().await;
        client.send(GET).await;
        let mut upstream = origin
            .answers("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            .await;
        client.head().await;
        let megabyte = vec![b'x'; 1_000_000];
        // Until the connection ends under it.
        while soon(tokio::io::AsyncWriteExt::write_all(&mut upstream.stream, &megabyte))
            .await
            .is_ok()
        {}
        assert_eq!(stage.endpoint("a").in_flight(), 0);
    });
}

#[test]
fn a_slow_upstream_is_no_slow_reader() {
    story(async || {
        let stage = Stage::set(slow()).await;
        let origin = stage.origin("a").await;
        let mut client = stage.client().await;
        client.send(POST).await;
        let mut upstream = origin.answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
        client.head().await;
        tokio::time::sleep(3 * SOON).await;
        upstream.send("ok").await;
        assert_eq!(client.exactly(2).await, "ok");
    });
}
