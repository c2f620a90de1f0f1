//! How one that has failed is found out to be well again.

use super::stage::*;
use crate::upstream::health::Doubt;

/// What comes to one in doubt, while requests of all kinds are answered by another.
async fn probed(doubted: &Origin, client: &mut Peer) -> Peer {
    loop {
        for request in [POST, GET] {
            client.send(request).await;
            assert_eq!(client.message().await.body, "ok");
        }
        // Its pause may last.
        let probe = tokio::time::timeout(std::time::Duration::from_millis(5), doubted.accept());
        if let Ok(probe) = probe.await {
            return probe;
        }
    }
}

#[test]
fn one_in_doubt_is_asked_by_the_proxy_itself_and_no_request_goes_there() {
    story(async || {
        for doubt in [Doubt::Answers, Doubt::Completes] {
            let stage = Stage::with(IN_TURN).await;
            let (doubted, _well) = (stage.origin("1").await, stage.robot("2", OK).await);
            let endpoint = stage.endpoint("1");
            let before = std::time::Instant::now().checked_sub(std::time::Duration::from_secs(10));
            assert!(endpoint.care().suspend(&endpoint, doubt, before.unwrap()));
            let mut client = stage.client().await;
            // A connection is not enough, nor is a part of an answer.
            for part in ["", HALF_A_HEAD, GARBAGE, &part_of_ten(9)] {
                let mut probe = probed(&doubted, &mut client).await;
                let head = probe.head().await;
                assert!(head.starts_with("OPTIONS * HTTP/1.1\r\n"), "{head}");
                assert_eq!(field(&head, "host"), Some(&*doubted.address()));
                assert_eq!((endpoint.requests(), endpoint.in_flight()), (0, 1));
                probe.send(part).await;
            }
            let mut probe = probed(&doubted, &mut client).await;
            probe.head().await;
            assert!(!endpoint.health().is_up());
            probe.send("HTTP/1.1 501 No\r\nContent-Length: 2\r\n\r\nno").await;
            probe.ends().await;
            others().await;
            assert!(endpoint.health().is_up());
        }
    });
}

#[test]
fn one_that_took_no_connection_has_to_take_one() {
    story(async || {
        let stage = Stage::with(IN_TURN).await;
        let (doubted, _well) = (stage.origin("1").await, stage.robot("2", OK).await);
        let endpoint = stage.endpoint("1");
        let before = std::time::Instant::now().checked_sub(std::time::Duration::from_secs(10));
        endpoint.health().failed(before.unwrap());
        let mut client = stage.client().await;
        client.send(POST).await;
        assert_eq!(client.message().await.body, "ok");
        doubted.accept().await.ends().await;
        assert!(endpoint.health().is_up());
    });
}

#[test]
fn a_probe_ends_with_the_registration() {
    story(async || {
        let stage = Stage::with(IN_TURN).await;
        let (doubted, _well) = (stage.origin("1").await, stage.robot("2", OK).await);
        let endpoint = stage.endpoint("1");
        let before = std::time::Instant::now().checked_sub(std::time::Duration::from_secs(10));
        endpoint.health().reset(before.unwrap());
        let mut client = stage.client().await;
        client.send(POST).await;
        assert_eq!(client.message().await.body, "ok");
        let mut probe = doubted.accept().await;
        probe.head().await;
        stage.unregister("1");
        probe.ends().await;
        others().await;
        assert_eq!(endpoint.in_flight(), 0);
    });
}
