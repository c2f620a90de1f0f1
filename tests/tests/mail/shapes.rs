//! The other two shapes, and what all of them say beside the message.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use vulcan_tests::mail::submitted::{Part, parts};

use crate::{MESSAGE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn raw_is_the_message_with_its_envelope_in_fields() {
    let stage = Stage::inbound_with(&[], json!({"mail": {"shape": "raw", "path": "/inbound/emails"}})).await;
    let mut session = stage.session().await;
    let to = ["bob@example.test", r#""a, b"@example.test"#];
    session
        .mail("alice@sender.test", &to, MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    let delivery = stage.inbox.one();
    assert_eq!(
        (delivery.line.method.as_str(), delivery.line.path()),
        ("POST", "/inbound/emails")
    );
    assert_eq!(delivery.field("content-type"), Some("message/rfc822"));
    assert_eq!(delivery.field("x-envelope-from"), Some("alice@sender.test"));
    let named: Vec<&str> = delivery.fields.all("x-envelope-to").collect();
    assert_eq!(named, [to.join(", ")]);
    assert!(delivery.body.ends_with(MESSAGE));
    let length = delivery.field("content-length").and_then(|length| length.parse().ok());
    assert_eq!(length, Some(delivery.body.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn mailgun_is_signed_with_the_services_key() {
    let stage = Stage::bare(&[]).await;
    let key = stage.world.path("signing.key");
    std::fs::write(&key, "key-of-the-test\n").unwrap();
    let mail = json!({"shape": "mailgun", "signing_key": {"file": key}});
    crate::open(&stage.api(), json!({"mail": mail})).await;
    stage.api().register("mail", "a", stage.application.address).await;
    let mut session = stage.session().await;
    let to = ["bob@example.test", "carol@example.test"];
    session
        .mail("alice@sender.test", &to, MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    let delivery = stage.inbox.one();
    let kind = delivery.field("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap();
    let parts = parts(boundary.trim_matches('"'), &delivery.body);
    let text = |name: &str| {
        let part = parts.iter().find(|part| part.name == name);
        String::from_utf8(part.unwrap_or_else(|| panic!("no {name}")).bytes.clone()).unwrap()
    };
    assert_eq!(text("recipient"), "bob@example.test, carol@example.test");
    assert_eq!(
        (text("sender"), text("subject")),
        ("alice@sender.test".to_owned(), "hello".to_owned())
    );
    let Part { name, filename, bytes } = parts.last().unwrap();
    assert_eq!((name.as_str(), filename), ("body-mime", &None));
    assert!(bytes.ends_with(MESSAGE));
    let signed = format!("{}{}", text("timestamp"), text("token"));
    assert_eq!(text("signature"), hmac("key-of-the-test", &signed));

    // Without its key nothing is sent: the application would have to believe anybody.
    std::fs::remove_file(&key).unwrap();
    session
        .mail("alice@sender.test", &to, MESSAGE)
        .await
        .unwrap()
        .expect("451 4.3.5");
    assert_eq!(stage.inbox.count(), 0);
}

/// By another's implementation: HMAC-SHA256, in hexadecimal.
fn hmac(key: &str, message: &str) -> String {
    let script =
        "import hmac, sys; print(hmac.new(sys.argv[1].encode(), sys.stdin.buffer.read(), 'sha256').hexdigest())";
    let mut python = Command::new("python3")
        .args(["-c", script, key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(message.as_bytes()).unwrap();
    String::from_utf8(python.wait_with_output().unwrap().stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_the_client_is_said() {
    let stage = Stage::inbound().await;
    let mut session = stage.session().await;
    session
        .say("MAIL FROM:<alice@sender.test> RET=HDRS ENVID=QQ+2B1")
        .await
        .unwrap()
        .expect("250 2.1.0");
    let recipient = "RCPT TO:<bob@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@example.test";
    session.say(recipient).await.unwrap().expect("250 2.1.5");
    session.data(MESSAGE).await.unwrap().expect("250 2.0.0");
    let delivery = stage.inbox.one();
    assert_eq!(delivery.field("x-vulcan-helo"), Some("client.test"));
    assert_eq!(delivery.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(delivery.field("x-vulcan-tls"), None);
    let asked: Vec<&str> = delivery.fields.all("x-vulcan-dsn").collect();
    let recipient = "RCPT TO:<bob@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob@example.test";
    assert_eq!(asked, [format!("MAIL RET=HDRS ENVID=QQ+2B1, {recipient}")]);
    let submitted = delivery.submitted();
    assert_eq!(submitted.trace[0], "X-Envelope-From: alice@sender.test\r\n");
    assert!(
        submitted.received().contains("for <bob@example.test>"),
        "{}",
        submitted.received()
    );
}
