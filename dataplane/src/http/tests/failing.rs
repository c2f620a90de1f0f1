use super::stage::*;

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
const PUT: &str = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

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
        client.send(GET).await;
        client.message().await.is_problem(502, "upstream-failed");
        client.send(GET).await;
        client.message().await.is_problem(503, "no-upstream");
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

#[test]
fn an_answer_that_has_begun_is_not_asked_for_again() {
    story(async || {
        let stage = Stage::new().await;
        let (one, two) = (stage.origin("1").await, stage.origin("2").await);
        let mut client = stage.client().await;
        client.send(GET).await;
        let (mut upstream, other) = tokio::select! {
            upstream = one.accept() => (upstream, two),
            upstream = two.accept() => (upstream, one),
        };
        upstream.head().await;
        upstream.send("HTTP/1.1 200 OK\r\nContent-").await;
        drop(upstream);
        client.message().await.is_problem(502, "upstream-failed");
        other.is_left_alone().await;
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
        origin.answers(&wide).await;
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
