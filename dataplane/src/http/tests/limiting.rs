use shared::change::Kind;

use super::stage::*;

const LIMIT: &str = "5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";
const POLICY: &str = r#""5b1f7c0e-7d1a-4f3e-9a53-0c1d2e3f4a5b";q=2;w=60"#;

#[test]
fn a_refusal_names_the_limit_and_says_when_to_come_again() {
    story(async || {
        let stage = Stage::new().await;
        let robot = stage.robot("a", OK).await;
        let mut client = stage.client().await;
        client.send(GET).await;
        assert_eq!(client.message().await.field("ratelimit-policy"), None);

        stage.limit(LIMIT, r#"{"threshold":2}"#);
        for _ in 0..2 {
            client.send(GET).await;
            let answer = client.message().await;
            assert_eq!(
                (answer.status(), answer.field("ratelimit-policy")),
                ("200", Some(POLICY))
            );
            assert_eq!(answer.field("ratelimit"), None, "what is left is not known here");
        }
        // The second one may have heard that it is the last only afterwards.
        for _ in 0..2 {
            client.send(GET).await;
            let answer = client.message().await;
            answer.is_problem(429, "quota-exceeded");
            let document: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(document["limit"], LIMIT);
            assert_eq!(answer.field("ratelimit-policy"), Some(POLICY));
            // A token counts until its bucket, the third from the one of its grant, is a period ago.
            let retry: u64 = answer.field("retry-after").unwrap().parse().unwrap();
            let left = answer.field("ratelimit").unwrap();
            assert!(
                (1..=67).contains(&retry) && left == format!(r#""{LIMIT}";r=0;t={retry}"#),
                "{left}"
            );
        }
        assert_eq!(robot.asked.get(), 3);
    });
}

#[test]
fn a_request_whose_service_changes_while_it_waits_pays_once() {
    const QUEUED: &str = r#","upstream_care":{"max_in_flight":1,"queue":2,"queue_for":"1h"}"#;
    story(async || {
        let (stage, origin, mut client) = scene(QUEUED).await;
        stage.limit(LIMIT, r#"{"threshold":2}"#);
        let (mut upstream, _) = client.asks(GET, &origin).await;
        let mut second = stage.client().await;
        second.send(GET).await;
        stage.waits(1).await;
        let other = format!(r#"{{"match":[{{}}],"balance":"random"{QUEUED}}}"#);
        stage.put(Kind::Service, "web", &other);
        upstream.send(OK).await;
        assert_eq!(client.message().await.status(), "200");
        upstream.head().await;
        upstream.send(OK).await;
        assert_eq!(second.message().await.status(), "200");
        second.send(GET).await;
        second.message().await.is_problem(429, "quota-exceeded");
    });
}
