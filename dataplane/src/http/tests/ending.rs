use std::time::{Duration, Instant};

use super::stage::*;
use crate::phase::Phase;

const HALF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";

#[test]
fn an_answer_that_was_cut_never_looks_complete() {
    story(async || {
        let stage = Stage::new().await;
        let origin = stage.origin("a").await;
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n";
        for half in [HALF, chunked] {
            let mut client = stage.client().await;
            client.send(POST).await;
            let upstream = origin.answers(half).await;
            client.until("01234").await;
            drop(upstream);
            let (rest, _) = client.rest().await;
            assert!(!rest.contains('0'), "{rest:?}");
            assert_eq!(stage.endpoint("a").in_flight(), 0);
        }
        // Where only the end of the connection tells the end of the answer, that must not be a usual one.
        let mut client = stage.client().await;
        client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
        let upstream = origin.answers(chunked).await;
        client.until("01234").await;
        drop(upstream);
        assert_eq!(client.rest().await, (String::new(), End::Reset));
    });
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    story(async || {
        let stage = Stage::new().await;
        let origin = stage.origin("a").await;

        // While its answer is pending.
        let mut client = stage.client().await;
        let (mut upstream, _) = client.asks(GET, &origin).await;
        client.finish().await;
        upstream.ends().await;

        // Within its answer.
        let mut client = stage.client().await;
        client.send(EMPTY_POST).await;
        let mut upstream = origin.answers(HALF).await;
        client.until("01234").await;
        drop(client);
        upstream.ends().await;

        // Within its upload: what has come of it is no complete request.
        let mut client = stage.client().await;
        client
            .send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
            .await;
        let mut upstream = origin.accept().await;
        upstream.until("2\r\nhi\r\n").await;
        drop(client);
        upstream.ends().await;
        assert_eq!(stage.endpoint("a").in_flight(), 0);
    });
}

#[test]
fn a_half_close_is_none_when_it_is_said_so() {
    story(async || {
        let stage = Stage::set(Setting {
            half_close: true,
            ..Setting::default()
        })
        .await;
        let origin = stage.origin("a").await;
        let mut client = stage.client().await;
        client.send(GET).await;
        client.finish().await;
        origin.answers(OK).await;
        assert_eq!(client.message().await.body, "ok");
        client.ends().await;
    });
}

#[test]
fn an_unregistered_upstream_finishes_what_it_has_and_gets_no_more() {
    story(async || {
        let stage = Stage::new().await;
        let old = stage.origin("old").await;
        let (mut one, mut two) = (stage.client().await, stage.client().await);
        one.send(GET).await;
        let mut idle = old.answers(OK).await;
        one.message().await;
        // The kept connection is in use, so that this is another.
        one.send(GET).await;
        idle.head().await;
        two.send(GET).await;
        let mut busy = old.accept().await;
        busy.head().await;
        idle.send(OK).await;
        one.message().await;
        assert_eq!(stage.upstreams.idle(), 1);

        let new = stage.origin("new").await;
        let endpoint = stage.endpoint("old");
        stage.unregister("old");
        idle.ends().await;
        assert_eq!((stage.upstreams.idle(), endpoint.in_flight()), (0, 1));
        one.send(GET).await;
        new.answers(OK).await;
        assert_eq!(one.message().await.body, "ok");

        busy.send(OK).await;
        assert_eq!(two.message().await.body, "ok");
        assert_eq!(endpoint.in_flight(), 0);
        busy.ends().await;
        old.is_left_alone().await;
    });
}

#[test]
fn what_drains_for_too_long_is_cut() {
    story(async || {
        let stage = Stage::new().await;
        let origin = stage.origin("a").await;
        let (mut begun, mut pending) = (stage.client().await, stage.client().await);
        begun.send(EMPTY_POST).await;
        let mut one = origin.answers(HALF).await;
        begun.until("01234").await;
        pending.send(GET).await;
        let mut two = origin.accept().await;
        two.head().await;
        let endpoint = stage.endpoint("a");
        stage.unregister("a");
        assert_eq!(stage.views.draining()[0].in_flight, 2);
        stage.views.cut_overdue(Instant::now() + Duration::from_secs(3600));
        one.ends().await;
        two.ends().await;
        begun.ends().await;
        pending.message().await.is_problem(502, "upstream-failed");
        assert_eq!(endpoint.in_flight(), 0);
        assert!(stage.views.draining().is_empty());
    });
}

#[test]
fn a_proxy_that_drains_ends_its_connections_one_by_one() {
    story(async || {
        let stage = Stage::new().await;
        let origin = stage.origin("a").await;
        let (mut idle, mut slow, mut busy) = (stage.client().await, stage.client().await, stage.client().await);
        idle.send(GET).await;
        let mut upstream = origin.answers(OK).await;
        idle.message().await;
        busy.send(GET).await;
        upstream.head().await;
        slow.send("GET / HT").await;
        tokio::task::yield_now().await;
        stage.phase.set(Phase::Draining);
        idle.ends().await;
        upstream.send(OK).await;
        let answer = busy.message().await;
        assert_eq!((&*answer.body, answer.field("connection")), ("ok", Some("close")));
        busy.ends().await;
        // Its head has begun: it is served.
        slow.send("TP/1.1\r\nHost: a\r\n\r\n").await;
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(slow.message().await.field("connection"), Some("close"));
        slow.ends().await;
    });
}

#[test]
fn whoever_was_let_in_last_is_heard() {
    story(async || {
        let mut setting = Setting::default();
        setting.patience.grace = Duration::from_millis(500);
        let stage = Stage::set(setting).await;
        let origin = stage.origin("a").await;
        let (mut silent, mut late) = (stage.client().await, stage.client().await);
        stage.phase.set(Phase::Draining);
        late.send(GET).await;
        origin.answers(OK).await;
        let answer = late.message().await;
        assert_eq!((&*answer.body, answer.field("connection")), ("ok", Some("close")));
        late.ends().await;
        silent.ends().await;
    });
}

/// GETs on one connection without a pause, until an answer says that it is the last.
async fn until_told(mut client: Peer) {
    loop {
        client.send(GET).await;
        let answer = client.message().await;
        assert_eq!(answer.body, "ok");
        if answer.field("connection") == Some("close") {
            return client.ends().await;
        }
    }
}

/// Answers whatever comes on any connection.
async fn answers_all(origin: Origin) {
    loop {
        let mut peer = origin.accept().await;
        tokio::task::spawn_local(async move {
            loop {
                peer.head().await;
                peer.send(OK).await;
            }
        });
    }
}

#[test]
fn a_busy_connection_is_told_to_end_whenever_the_phase_changes() {
    story(async || {
        for _ in 0..4 {
            let stage = Stage::new().await;
            let origins = tokio::task::spawn_local(answers_all(stage.origin("a").await));
            let mut clients = tokio::task::JoinSet::new();
            for _ in 0..48 {
                clients.spawn_local(until_told(stage.client().await));
            }
            // From another thread, so that a connection may be polled amid the change.
            let phase = stage.phase.clone();
            let drains = std::thread::spawn(move || {
                for stale in [true, false, true] {
                    std::thread::sleep(Duration::from_millis(30));
                    phase.set(Phase::Serving { stale });
                }
                phase.set(Phase::Draining);
            });
            while let Some(told) = clients.join_next().await {
                told.unwrap();
            }
            drains.join().unwrap();
            origins.abort();
        }
    });
}

#[test]
fn what_was_sent_before_the_end_was_known_is_served() {
    for phase in [Phase::Draining, Phase::Stopped] {
        story(async || {
            let stage = Stage::new().await;
            tokio::task::spawn_local(answers_all(stage.origin("a").await));
            let (mut kept, mut quiet) = (stage.client().await, stage.client().await);
            for client in [&mut kept, &mut quiet] {
                client.send(GET).await;
                assert_eq!(client.message().await.field("connection"), None);
            }
            stage.phase.set(phase);
            let told = Instant::now();
            tokio::time::sleep(Duration::from_millis(100)).await;
            kept.send(GET).await;
            let answer = kept.message().await;
            assert_eq!((&*answer.body, answer.field("connection")), ("ok", Some("close")));
            assert_eq!(kept.rest().await, (String::new(), End::Closed));
            // Half of what a stop allows; of a drain the whole second.
            assert_eq!(quiet.rest().await, (String::new(), End::Closed));
            let grace = Duration::from_millis(if phase == Phase::Stopped { 500 } else { 1000 });
            assert!(told.elapsed() >= grace);
        });
    }
}

#[test]
fn the_last_look_before_the_end_finds_a_request() {
    story(async || {
        let mut setting = Setting::default();
        setting.patience.grace = Duration::from_millis(100);
        let stage = Stage::set(setting).await;
        let origin = stage.origin("a").await;
        let mut client = stage.client().await;
        client.send(GET).await;
        let mut upstream = origin.answers(OK).await;
        client.message().await;
        stage.phase.set(Phase::Draining);
        others().await;
        // The worker is held up until the grace has passed, and the request comes meanwhile.
        std::io::Write::write_all(&mut &*socket2::SockRef::from(&client.stream), GET.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        upstream.head().await;
        upstream.send(OK).await;
        let answer = client.message().await;
        assert_eq!((&*answer.body, answer.field("connection")), ("ok", Some("close")));
        assert_eq!(client.rest().await, (String::new(), End::Closed));
    });
}

#[test]
fn what_follows_the_last_answer_does_not_reset_it() {
    story(async || {
        let stage = Stage::new().await;
        let _origin = stage.origin("a").await;
        // Each bad in a way that only the exchange sees, with another behind it.
        for bad in [
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /../etc HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            let mut client = stage.client().await;
            client.send(&format!("{bad}{GET}")).await;
            let answer = client.message().await;
            answer.is_problem(400, "bad-request");
            assert_eq!(answer.field("connection"), Some("close"));
            client.finish().await;
            assert_eq!(client.rest().await, (String::new(), End::Closed));
        }
    });
}
