use super::stage::*;
use crate::smtp::fixture::{envelope, recipient};
use crate::smtp::receive;
use crate::smtp::validate::validate;

const VALIDATED: &str = r#","mail":{"validate_recipient":"/recipients?check=1"},"balance":"round_robin""#;

#[test]
fn a_recipient_is_asked_about_where_the_service_says_so() {
    story(async || {
        let stage = Stage::with(VALIDATED);
        let application = stage.application("a").await;
        let service = stage.service();
        let mut envelope = envelope("a@example.com", &[]);
        envelope.size = Some(1234);
        let to = recipient("b@example.org");
        let asking = || validate(&stage.context, &service, &envelope, &to);

        let mut peer = None;
        let script = async {
            let mut accepted = application.accept().await;
            let request = accepted.request().await;
            accepted.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            peer = Some(accepted);
            request
        };
        let (outcome, request) = tokio::join!(asking(), script);
        assert_eq!(outcome, Ok(()));
        assert!(request.head.starts_with("POST /recipients?check=1 HTTP/1.1\r\n"));
        let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let expected = serde_json::json!({
            "to": "b@example.org", "from": "a@example.com", "size": 1234,
            "remote_ip": "192.0.2.1", "helo": "client.example",
        });
        assert_eq!(asked, expected);

        let mut peer = peer.unwrap();
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nwho?";
        let (outcome, ()) = tokio::join!(asking(), async {
            peer.request().await;
            peer.send(answer).await;
        });
        assert_eq!(of(&outcome.unwrap_err()), (550, "5.1.1", "who?"));
    });
}

#[test]
fn another_upstream_is_asked_instead_of_one_that_does_not_answer() {
    story(async || {
        let stage = Stage::with(VALIDATED);
        let (first, second) = (stage.application("a").await, stage.application("b").await);
        let service = stage.service();
        let (envelope, to) = (envelope("a@example.com", &[]), recipient("b@example.org"));
        let silent = async {
            first.accept().await.request().await;
        };
        let (outcome, (), _) = tokio::join!(
            validate(&stage.context, &service, &envelope, &to),
            silent,
            second.answers(OK)
        );
        assert_eq!(outcome, Ok(()));
    });
}

#[test]
fn nobody_is_asked_where_the_service_does_not_say_so_and_nobody_there_is_for_later() {
    story(async || {
        let (envelope, to) = (envelope("a@example.com", &[]), recipient("b@example.org"));
        let stage = Stage::with(r#","mail":{}"#);
        let service = stage.service();
        assert_eq!(validate(&stage.context, &service, &envelope, &to).await, Ok(()));

        let stage = Stage::with(VALIDATED);
        let service = stage.service();
        let reply = validate(&stage.context, &service, &envelope, &to).await.unwrap_err();
        assert_eq!((reply.code, reply.enhanced), (451, "4.4.1"));
    });
}

#[test]
fn who_is_not_taken_by_the_application_is_not_taken_by_us() {
    story(async || {
        let stage = Stage::with(VALIDATED);
        let application = stage.application("a").await;
        let (envelope, to) = (envelope("a@example.com", &[]), recipient("b@example.org"));
        for (answer, code) in [
            (OK, 250),
            (
                "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                550,
            ),
        ] {
            let (outcome, _) = tokio::join!(
                receive(&stage.context, &envelope, &to, None),
                application.answers(answer)
            );
            assert_eq!(outcome.map_or_else(|reply| reply.code, |_| 250), code);
        }
    });
}
