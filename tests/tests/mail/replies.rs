//! Each outcome has the reply of the table, and what is not taken is not lost on the way: the client is told.

use std::time::Duration;

use serde_json::json;
use vulcan_tests::eventually;
use vulcan_tests::mail::application::Answer;
use vulcan_tests::mail::session::{Session, base64};

use crate::{MESSAGE, Stage};

/// What the application answers, and what the client hears of it.
const TABLE: &[(u16, &str)] = &[
    (200, "250 2.0.0"),
    (201, "250 2.0.0"),
    (204, "250 2.0.0"),
    (299, "250 2.0.0"),
    (300, "451 4.3.5"),
    (301, "451 4.3.5"),
    (307, "451 4.3.5"),
    (400, "554 5.6.0"),
    (401, "451 4.7.0"),
    (403, "550 5.7.1"),
    (404, "550 5.1.1"),
    (405, "554 5.6.0"),
    (407, "451 4.7.0"),
    (408, "451 4.3.5"),
    (409, "554 5.6.0"),
    (410, "550 5.1.1"),
    (411, "451 4.3.5"),
    (413, "552 5.3.4"),
    (418, "554 5.6.0"),
    (422, "554 5.6.0"),
    (425, "451 4.3.5"),
    (429, "451 4.7.1"),
    (500, "451 4.3.0"),
    (501, "451 4.3.0"),
    (502, "451 4.3.0"),
    (503, "451 4.3.0"),
    (507, "452 4.3.1"),
    (599, "451 4.3.0"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_of_the_application_has_its_reply() {
    let care = json!({"upstream_care": {"eject_after": 0}, "retries": {"attempts": 0}});
    let stage = Stage::inbound_with(&[], care).await;
    let mut session = stage.session().await;
    for (status, codes) in TABLE {
        stage.inbox.answer(match status {
            204 => Answer {
                bytes: b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
                ..Answer::status(204)
            },
            status => Answer::of(
                *status,
                "content-type: text/plain\r\n",
                "so \x1b it\x07 is\nsecond line\n",
            ),
        });
        let reply = session
            .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
            .await
            .unwrap();
        assert_eq!(reply.codes(), *codes, "{status}: {reply:?}");
        assert_eq!(reply.lines.len(), 1, "{reply:?}");
        let text = &reply.lines[0];
        assert!(!text.chars().any(char::is_control), "{text:?}");
        if *status >= 400 {
            assert!(text.contains("it") && !text.contains("second"), "{status}: {text}");
        }
        assert!(stage.inbox.count() > 0, "{status}: the application was asked");
        stage.inbox.take();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_busy_for_long_sends_the_client_away() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    stage.inbox.answer(Answer::of(429, "retry-after: 5\r\n", ""));
    let soon = session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap();
    soon.expect("451 4.7.1");
    stage.inbox.answer(Answer::of(429, "retry-after: 86400\r\n", ""));
    let late = session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap();
    late.expect("421 4.7.1");
    assert_eq!(session.rest().await, [], "the session ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_applications_own_words_reach_the_client() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    let problem = json!({"message": "no such\r\n250 2.0.0 user"}).to_string();
    stage
        .inbox
        .answer(Answer::of(404, "content-type: application/json\r\n", &problem));
    let reply = session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap();
    let reply = reply.expect("550 5.1.1");
    assert_eq!(reply.lines.len(), 1, "{reply:?}");
    assert!(reply.text().contains("no such"), "{reply:?}");
    stage.inbox.answer(Answer::of(
        403,
        "content-type: text/plain\r\n",
        &format!("{}{}", "no ".repeat(100), "ä".repeat(3_000)),
    ));
    let reply = session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap();
    let reply = reply.expect("550 5.7.1");
    // Only who speaks SMTPUTF8 may be told more than ASCII (RFC 6531, 3.7.4.1).
    assert!(reply.text().is_ascii() && reply.text().contains("no no"), "{reply:?}");
    assert!((300..=420).contains(&reply.text().len()), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_send_hears_why() {
    let stage = Stage::submission().await;
    let mut session = Session::connect(stage.smtp()).await.unwrap();
    session.greeted().await.unwrap();
    let offered = session.hello().await.unwrap();
    assert!(offered.offers("STARTTLS") && !offered.offers("AUTH"), "{offered:?}");
    let refused = session.plain("alice", "secret").await.unwrap();
    assert!(
        matches!(refused.code, 500..600),
        "no password over an open line: {refused:?}"
    );
    session.say("MAIL FROM:<alice@sender.test>").await.unwrap();
    session
        .say("RCPT TO:<bob@example.test>")
        .await
        .unwrap()
        .expect("530 5.7.0");

    let mut session = Session::open_secure(stage.smtp(), &stage.certificate).await.unwrap();
    let offered = session.hello().await.unwrap();
    assert!(!offered.offers("STARTTLS") && offered.offers("AUTH"), "{offered:?}");
    for keyword in ["PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"] {
        assert!(offered.offers(keyword), "{keyword}: {offered:?}");
    }
    session.plain("alice", "wrong").await.unwrap().expect("535 5.7.8");
    session.say("AUTH PLAIN").await.unwrap().expect("334");
    session.say("*").await.unwrap().expect("501 5.7.0");
    session.say("AUTH LOGIN").await.unwrap().expect("334");
    session.say(&base64(b"alice")).await.unwrap().expect("334");
    session.say(&base64(b"secret")).await.unwrap().expect("235 2.7.0");
    session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    assert_eq!(stage.inbox.one().field("x-vulcan-auth-token"), Some("alice-token"));

    let other = base64(b"bob\0alice\0secret");
    let mut session = Session::open_secure(stage.smtp(), &stage.certificate).await.unwrap();
    session
        .say(&format!("AUTH PLAIN {other}"))
        .await
        .unwrap()
        .expect("535 5.7.8");
}

/// What one authorizer has said is nothing to the users of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_counts_where_it_was_asked_for() {
    let stage = Stage::submission().await;
    let other = json!({"service": "auth", "path": "/other", "timeout": "10s"});
    stage.api().put("/v1/authorizers/other", other).await.live();
    let guarded = json!({"match": [{"recipients": ["guarded.test"]}], "authorizer": "other"});
    stage.api().put("/v1/services/guarded", guarded).await.live();
    let mut session = stage.logged_in().await;
    session
        .say("MAIL FROM:<alice@sender.test>")
        .await
        .unwrap()
        .expect("250 2.1.0");
    session
        .say("RCPT TO:<bob@guarded.test>")
        .await
        .unwrap()
        .expect("550 5.7.1");
    session
        .say("RCPT TO:<bob@example.test>")
        .await
        .unwrap()
        .expect("250 2.1.5");
    session.data(MESSAGE).await.unwrap().expect("250 2.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_passwords_ends_soon() {
    let stage = Stage::submission().await;
    let mut session = Session::open_secure(stage.smtp(), &stage.certificate).await.unwrap();
    let mut codes = Vec::new();
    while let Ok(reply) = session.plain("alice", "wrong").await {
        codes.push(reply.code);
        assert!(codes.len() < 10, "{codes:?}");
    }
    assert!(codes.len() <= 4 && codes.contains(&535), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorizer_that_is_away_is_no_wrong_password() {
    let stage = Stage::submission().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    stage.api().register("auth", "a", nobody).await;
    let mut session = Session::open_secure(stage.smtp(), &stage.certificate).await.unwrap();
    session.plain("alice", "secret").await.unwrap().expect("454 4.7.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_as_early_as_can_be() {
    let stage = Stage::inbound_with(&[], json!({"max_body": 10_000})).await;
    let mut session = stage.session().await;
    let offered = session.hello().await.unwrap();
    assert!(offered.lines.iter().any(|line| line == "SIZE 10000"), "{offered:?}");
    session
        .say("MAIL FROM:<alice@sender.test> SIZE=10001")
        .await
        .unwrap()
        .expect("552 5.3.4");
    let large = [b"S: x\r\n\r\n".to_vec(), b"0123456789\r\n".repeat(1_000)].concat();
    session
        .mail("alice@sender.test", &["bob@example.test"], &large)
        .await
        .unwrap()
        .expect("552 5.3.4");
    assert_eq!(stage.inbox.count(), 0);
    // The session goes on, and whoever said less than was sent has won nothing.
    let small = &large[..9_998];
    session
        .mail("alice@sender.test", &["bob@example.test"], small)
        .await
        .unwrap()
        .expect("250 2.0.0");
    session
        .say("MAIL FROM:<alice@sender.test> SIZE=5")
        .await
        .unwrap()
        .expect("250 2.1.0");
    session
        .say("RCPT TO:<bob@example.test>")
        .await
        .unwrap()
        .expect("250 2.1.5");
    session.data(&large).await.unwrap().expect("552 5.3.4");
    assert_eq!(stage.inbox.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reached_limit_is_told_at_each_recipient() {
    let stage = Stage::submission().await;
    let limit = json!({"threshold": 2, "period": 3600, "auth_token": "alice-token", "protocol": "SMTP", "method": "MAIL",
        "path": "example.test"});
    let path = "/v1/limits/00000000-0000-4000-8000-000000000001";
    stage.api().put(path, limit).await.live();
    let mut session = stage.logged_in().await;
    session
        .say("MAIL FROM:<alice@sender.test>")
        .await
        .unwrap()
        .expect("250 2.1.0");
    eventually("there is a token", async || {
        session.say("RCPT TO:<a@EXAMPLE.test>").await.unwrap().codes() == "250 2.1.5"
    })
    .await;
    eventually("there is a token", async || {
        session.say("RCPT TO:<b@example.test>").await.unwrap().codes() == "250 2.1.5"
    })
    .await;
    session
        .say("RCPT TO:<c@example.test>")
        .await
        .unwrap()
        .expect("451 4.7.1");
    session
        .say("RCPT TO:<c@elsewhere.test>")
        .await
        .unwrap()
        .expect("250 2.1.5");
    session.data(MESSAGE).await.unwrap().expect("250 2.0.0");
    assert_eq!(
        stage.inbox.one().submitted().to,
        ["a@EXAMPLE.test", "b@example.test", "c@elsewhere.test"]
    );
    // Whoever it is from, it counts as hers.
    for sender in ["alice@sender.test", ""] {
        let refused = session.mail(sender, &["d@example.test"], MESSAGE).await.unwrap();
        refused.expect("451 4.7.1");
        session.say("RSET").await.unwrap().expect("250 2.0.0");
    }
}

/// The size that a client declares decides nothing that the message itself does not confirm.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_large_messages_counts_what_came() {
    let stage = Stage::inbound().await;
    let limit = json!({"threshold": 1, "period": 3600, "protocol": "SMTP", "data_size": 1_000});
    let path = "/v1/limits/00000000-0000-4000-8000-000000000001";
    stage.api().put(path, limit).await.live();
    let mut session = stage.session().await;
    let large = [b"S: x\r\n\r\n".to_vec(), b"0123456789\r\n".repeat(200)].concat();
    let send = async |session: &mut Session, message: &[u8]| {
        session
            .mail("alice@sender.test", &["bob@example.test"], message)
            .await
            .unwrap()
            .codes()
    };
    assert_eq!(send(&mut session, MESSAGE).await, "250 2.0.0");
    // On a busy machine its one token may be refused before it is there.
    eventually("the first is admitted", async || {
        send(&mut session, &large).await == "250 2.0.0"
    })
    .await;
    assert_eq!(send(&mut session, &large).await, "451 4.7.1");
    assert_eq!(send(&mut session, MESSAGE).await, "250 2.0.0");
    assert_eq!(stage.inbox.count(), 3);
    session
        .say("MAIL FROM:<alice@sender.test> SIZE=2000")
        .await
        .unwrap()
        .expect("250 2.1.0");
    session
        .say("RCPT TO:<bob@example.test>")
        .await
        .unwrap()
        .expect("451 4.7.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_may_be_asked_for_each_recipient() {
    let mail = json!({"mail": {"validate_recipient": "/check"}});
    let stage = Stage::inbound_with(&[], mail).await;
    let mut session = stage.session().await;
    session
        .say("MAIL FROM:<alice@sender.test> SIZE=123")
        .await
        .unwrap()
        .expect("250 2.1.0");
    session
        .say("RCPT TO:<bob@example.test>")
        .await
        .unwrap()
        .expect("250 2.1.5");
    let asked = stage.inbox.one();
    let (line, body) = (&asked.line, String::from_utf8_lossy(&asked.body).into_owned());
    assert_eq!((line.method.as_str(), line.path()), ("POST", "/check"));
    for told in ["bob", "alice", "123", "127.0.0.1", "client.test"] {
        assert!(body.contains(told), "{told}: {body}");
    }
    for (status, codes) in [
        (404, "550 5.1.1"),
        (429, "451 4.7.1"),
        (403, "550 5.7.1"),
        (500, "451 4.3.0"),
    ] {
        stage.inbox.answer_at("/check", Answer::status(status));
        session.say("RCPT TO:<carol@example.test>").await.unwrap().expect(codes);
    }
    stage.inbox.take();
    session.data(MESSAGE).await.unwrap().expect("250 2.0.0");
    assert_eq!(stage.inbox.one().submitted().to, ["bob@example.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_stays_with_one_service() {
    let stage = Stage::inbound().await;
    let other = json!({"match": [{"recipients": ["other.test"]}]});
    stage.api().put("/v1/services/other", other).await.live();
    let mut session = stage.session().await;
    session
        .say("MAIL FROM:<alice@sender.test>")
        .await
        .unwrap()
        .expect("250 2.1.0");
    session
        .say("RCPT TO:<bob@example.test>")
        .await
        .unwrap()
        .expect("250 2.1.5");
    session
        .say("RCPT TO:<bob@other.test>")
        .await
        .unwrap()
        .expect("452 4.5.3");
    session.data(MESSAGE).await.unwrap().expect("250 2.0.0");
    // It has no upstream: that is found out when there is something to deliver.
    session
        .mail("alice@sender.test", &["bob@other.test"], MESSAGE)
        .await
        .unwrap()
        .expect("451 4.4.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_takes_too_long_is_not_waited_for() {
    let settings = json!({"timeouts": {"response": "300ms"}, "retries": {"attempts": 0}});
    let stage = Stage::inbound_with(&[], settings).await;
    stage.inbox.answer(Answer::status(200).after(Duration::from_secs(30)));
    let mut session = stage.session().await;
    session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("451 4.4.2");
    stage.inbox.answer(Answer::status(200));
    session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    let deliveries = stage.inbox.take();
    assert_eq!(deliveries.len(), 2);
    assert_eq!(deliveries[0].key(), deliveries[1].key());
}
