//! Upstreams whose answers break off within their bodies.

use super::stage::*;
use crate::upstream::health::Standing;

const IN_TURN_AND_ONCE: &str = r#","balance":"round_robin","retries":{"attempts":0}"#;

/// Two origins in turn, of which the first closes after each of its answers and the second is well.
async fn after_one_that_closes(stage: &Stage, answer: &str) -> (Robot, Robot) {
    let half = stage.robot("1", answer).await;
    half.closes.set(true);
    (half, stage.robot("2", OK).await)
}

#[test]
fn half_a_body_is_remembered_and_the_answer_of_another_goes_on_where_that_may_be() {
    story(async || {
        for request in [GET, PUT] {
            for bytes in [0, 1, 5, 9] {
                let stage = Stage::with(IN_TURN).await;
                let (half, _well) = after_one_that_closes(&stage, &part_of_ten(bytes)).await;
                let mut client = stage.client().await;
                for _ in 0..4 {
                    client.send(request).await;
                    assert_eq!(client.message().await.body, "ok");
                }
                assert_eq!(half.asked.get(), 1, "the next request avoids it");
                let doubt = stage.endpoint("1").health().standing(std::time::Instant::now);
                assert_eq!(doubt, Standing::Ejected, "{request} {bytes}");
            }
        }
    });
}

#[test]
fn half_a_body_is_cut_where_the_request_may_not_be_repeated_or_the_body_is_not_short() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 16385\r\n\r\n{}", "01234");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n";
    story(async || {
        for (fields, request, answer) in [
            (IN_TURN, POST, part_of_ten(5)),
            (IN_TURN, GET, long.clone()),
            (IN_TURN, GET, chunked.to_owned()),
            (IN_TURN_AND_ONCE, GET, part_of_ten(5)),
        ] {
            let stage = Stage::with(fields).await;
            let _robots = after_one_that_closes(&stage, &answer).await;
            let mut client = stage.client().await;
            client.send(request).await;
            let (told, _) = client.rest().await;
            assert!(told.starts_with("HTTP/1.1 200 OK") && told.contains("01234"), "{told}");
            assert!(stage.endpoint("1").health().has_failed());
        }
    });
}

#[test]
fn half_a_body_that_nobody_else_can_make_whole_is_no_answer() {
    story(async || {
        let stage = Stage::new().await;
        let half = stage.robot("only", &part_of_ten(5)).await;
        half.closes.set(true);
        let mut client = stage.client().await;
        client.send(GET).await;
        client.message().await.is_problem(502, "upstream-failed");
        assert_eq!(half.asked.get(), 1);
    });
}

#[test]
fn a_body_that_stands_still_is_asked_for_elsewhere() {
    story(async || {
        let stage = Stage::with(r#","balance":"round_robin","timeouts":{"idle":"50ms"}"#).await;
        let _still = stage.robot("1", &part_of_ten(5)).await;
        let _well = stage.robot("2", OK).await;
        let mut client = stage.client().await;
        for _ in 0..2 {
            client.send(GET).await;
            assert_eq!(client.message().await.body, "ok");
        }
        assert!(stage.endpoint("1").health().has_failed());
    });
}

#[test]
fn a_short_body_goes_on_however_it_comes() {
    story(async || {
        let (stage, origin, mut client) = scene("").await;
        let (mut upstream, _) = client.asks(GET, &origin).await;
        for _ in 0..3 {
            upstream.send(&part_of_ten(0)).await;
            for part in ["0", "12", "345678", "9"] {
                others().await;
                upstream.send(part).await;
            }
            assert_eq!(client.message().await.body, "0123456789");
            assert!(stage.endpoint("a").health().is_up());
            // Over the same connection.
            client.send(GET).await;
            upstream.head().await;
        }
        assert_eq!(stage.endpoint("a").in_flight(), 1);
    });
}

#[test]
fn a_short_body_that_comes_too_slowly_goes_on_as_it_comes() {
    story(async || {
        let (_stage, origin, mut client) = scene("").await;
        client.send(GET).await;
        let mut upstream = origin.answers(&part_of_ten(1)).await;
        for part in ["1", "2", "3"] {
            tokio::time::sleep(std::time::Duration::from_millis(260)).await;
            upstream.send(part).await;
        }
        client.until("\r\n\r\n012").await;
        upstream.send("456789").await;
        client.until("9").await;
    });
}
