use super::stage::*;
use crate::upstream::health::Standing;

/// Two origins, and the one of them that was chosen first has read a whole request and is gone.
async fn one_of_two_dies(stage: &Stage, client: &mut Peer, request: &str) -> Origin {
    let (one, two) = (stage.origin("1").await, stage.origin("2").await);
    client.send(request).await;
    let (mut chosen, other) = tokio::select! {
        chosen = one.accept() => (chosen, two),
        chosen = two.accept() => (chosen, one),
    };
    chosen.head().await;
    chosen
        .exactly(request.len() - request.find("\r\n\r\n").unwrap() - 4)
        .await;
    other
}

#[test]
fn nobody_listens_and_another_is_asked_for_any_method() {
    story(async || {
        for request in [GET, POST] {
            let stage = Stage::new().await;
            let origin = stage.origin("live").await;
            for dead in ["1", "2"] {
                stage.register(dead, &nowhere().await);
            }
            let mut client = stage.client().await;
            client.send(request).await;
            let mut upstream = origin.accept().await;
            assert!(request.ends_with(&upstream.message().await.body));
            upstream.send(OK).await;
            assert_eq!(client.message().await.body, "ok");
        }
    });
}

#[test]
fn a_service_without_a_live_upstream_says_when_to_come_again() {
    story(async || {
        let stage = Stage::new().await;
        let mut client = stage.client().await;
        client.send(GET).await;
        let answer = client.message().await;
        answer.is_problem(503, "no-upstream");
        assert_eq!(answer.field("retry-after"), Some("1"));

        stage.register("dead", &nowhere().await);
        for _ in 0..3 {
            client.send(POST).await;
            let answer = client.message().await;
            answer.is_problem(503, "no-upstream");
            assert!(answer.field("retry-after").is_some());
        }
    });
}

#[test]
fn without_retries_nobody_else_is_asked() {
    story(async || {
        let stage = Stage::with(r#","retries":{"attempts":0}"#).await;
        stage.register("dead", &nowhere().await);
        let mut client = stage.client().await;
        for _ in 0..2 {
            client.send(GET).await;
            client.message().await.is_problem(502, "upstream-failed");
        }
    });
}

#[test]
fn what_failed_once_is_asked_where_nobody_else_is() {
    story(async || {
        let stage = Stage::new().await;
        let only = stage.robot("only", OK).await;
        // It took no connection a moment ago, and is left alone for a pause that does not end.
        let later = std::time::Instant::now() + std::time::Duration::from_secs(3600);
        stage.endpoint("only").health().failed(later);
        let mut client = stage.client().await;
        for request in [POST, GET] {
            client.send(request).await;
            assert_eq!(client.message().await.body, "ok");
        }
        assert_eq!(only.asked.get(), 2);
        assert!(stage.endpoint("only").health().is_up());
    });
}

#[test]
fn retries_end_with_their_budget() {
    story(async || {
        let stage = Stage::with(r#","retries":{"attempts":10}"#).await;
        let dying = stage.origin("0").await;
        let address = dying.address();
        (1..40).for_each(|id| stage.register(&id.to_string(), &address));
        let mut client = stage.client().await;
        // A quiet service may retry ten times; after that every attempt beyond the first needs five requests.
        for attempts in [11, 1, 1, 1, 2, 1] {
            client.send(GET).await;
            for _ in 0..attempts {
                dying.accept().await.head().await;
            }
            client.message().await.is_problem(502, "upstream-failed");
            dying.is_left_alone().await;
        }
    });
}

#[test]
fn what_may_be_repeated_is_repeated_elsewhere() {
    story(async || {
        for request in [GET, PUT] {
            let stage = Stage::new().await;
            let mut client = stage.client().await;
            let other = one_of_two_dies(&stage, &mut client, request).await;
            let mut upstream = other.accept().await;
            let message = upstream.message().await;
            assert!(request.ends_with(&message.body) && message.body.len() == request.matches("hi").count() * 2);
            upstream.send(OK).await;
            assert_eq!(client.message().await.body, "ok");
        }
    });
}

#[test]
fn what_may_not_be_repeated_is_not() {
    story(async || {
        let large = format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n{}",
            "x".repeat(70_000)
        );
        for request in [POST, &large] {
            let stage = Stage::new().await;
            let mut client = stage.client().await;
            let other = one_of_two_dies(&stage, &mut client, request).await;
            client.message().await.is_problem(502, "upstream-failed");
            other.is_left_alone().await;
        }
    });
}

const NO_LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n";

#[test]
fn what_is_no_answer_is_asked_for_elsewhere_if_it_may_be_repeated() {
    story(async || {
        for (request, answer) in [
            (GET, HALF_A_HEAD),
            (GET, GARBAGE),
            (PUT, NO_LENGTH),
            (POST, HALF_A_HEAD),
            (POST, GARBAGE),
            (POST, NO_LENGTH),
        ] {
            let stage = Stage::new().await;
            let (one, two) = (stage.origin("1").await, stage.origin("2").await);
            let mut client = stage.client().await;
            client.send(request).await;
            let (mut upstream, name, other) = tokio::select! {
                upstream = one.accept() => (upstream, "1", two),
                upstream = two.accept() => (upstream, "2", one),
            };
            upstream.message().await;
            upstream.send(answer).await;
            drop(upstream);
            if request == POST {
                client.message().await.is_problem(502, "upstream-failed");
            } else {
                other.answers(OK).await;
                assert_eq!(client.message().await.body, "ok");
            }
            // The next request avoids it.
            assert!(stage.endpoint(name).health().has_failed());
        }
    });
}

#[test]
fn an_upstream_that_stands_still_is_asked_once() {
    story(async || {
        for (request, asked) in [(GET, 2), (POST, 1)] {
            let stage = Stage::with(r#","timeouts":{"response":"50ms"}"#).await;
            let frozen = [stage.origin("1").await, stage.origin("2").await];
            let mut client = stage.client().await;
            client.send(request).await;
            client.message().await.is_problem(504, "upstream-timeout");
            let mut connections = 0;
            for origin in &frozen {
                connections += usize::from(origin.is_connected_to().await);
            }
            assert_eq!(connections, asked, "{request}");
        }
    });
}

#[test]
fn errors_in_a_row_eject_half_of_a_service_at_most() {
    story(async || {
        let fields = r#","balance":"round_robin","upstream_care":{"eject_after":3,"eject_for":"1h"}"#;
        let stage = Stage::with(fields).await;
        const ERROR: &str = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
        let robots = [
            stage.robot("1", ERROR).await,
            stage.robot("2", ERROR).await,
            stage.robot("3", OK).await,
        ];
        let mut client = stage.client().await;
        let asked = async |client: &mut Peer, times: usize| {
            for _ in 0..times {
                client.send(GET).await;
                client.message().await;
            }
            robots.each_ref().map(|robot| robot.asked.get())
        };
        let standing = |id: &str| stage.endpoint(id).health().standing(std::time::Instant::now);
        // One good answer in between, and they are not in a row.
        assert_eq!(asked(&mut client, 6).await, [2, 2, 2]);
        robots[1].say(OK);
        assert_eq!(asked(&mut client, 3).await, [3, 3, 3]);
        robots[1].say(ERROR);
        assert_eq!((standing("1"), standing("2")), (Standing::Ejected, Standing::Up));
        // The other one answers errors, too, but the service cannot spare it.
        assert_eq!(asked(&mut client, 8).await, [3, 7, 7]);
        assert_eq!((standing("1"), standing("2")), (Standing::Ejected, Standing::Up));

        // It outlives what becomes of the others, as long as it is not more than half.
        stage.unregister("3");
        assert_eq!(standing("1"), Standing::Ejected);
        stage.unregister("2");
        assert_eq!(standing("1"), Standing::Up);
    });
}

#[test]
fn an_ejected_upstream_is_used_when_nothing_else_is_left() {
    story(async || {
        let stage = Stage::with(r#","upstream_care":{"eject_for":"1h"}"#).await;
        let ejected = stage.robot("1", OK).await;
        stage.register("2", &nowhere().await);
        let endpoint = stage.endpoint("1");
        let now = std::time::Instant::now();
        assert!(
            endpoint
                .care()
                .eject(&endpoint, now, std::time::Duration::from_secs(3600))
        );
        let mut client = stage.client().await;
        client.send(POST).await;
        assert_eq!(client.message().await.body, "ok");
        assert_eq!(ejected.asked.get(), 1);
    });
}

#[test]
fn a_kept_connection_that_has_ended_is_not_used() {
    story(async || {
        let (_stage, origin, mut client) = scene(r#","retries":{"attempts":0}"#).await;
        for request in [GET, POST] {
            client.send(request).await;
            let mut upstream = origin.accept().await;
            upstream.message().await;
            upstream.send(OK).await;
            assert_eq!(client.message().await.body, "ok");
        }
    });
}

#[test]
fn a_bad_answer_is_the_upstreams_failure() {
    story(async || {
        let long = format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n",
            "x".repeat(65 * 1024)
        );
        for answer in [
            "nonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            "HTTP/1.1 200 OK\r\nX: 1\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: 1\rContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            &long,
        ] {
            let (_stage, origin, mut client) = scene("").await;
            client.send(POST).await;
            let _upstream = origin.answers(answer).await;
            client.message().await.is_problem(502, "upstream-failed");
        }
    });
}

#[test]
fn an_answer_may_have_any_number_of_fields() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        let fields: String = (0..1000).map(|n| format!("X-{n}: {n}\r\n")).collect();
        let wide = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
        client.send(GET).await;
        let mut upstream = origin.answers(&wide).await;
        for request in [POST, GET] {
            let answer = client.message().await;
            assert_eq!((answer.field("x-999"), &*answer.body), (Some("999"), "ok"));
            client.send(request).await;
            upstream.head().await;
            upstream.send(&wide).await;
        }
    });
}
