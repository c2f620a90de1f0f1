//! TLS from the first byte on, at a listener of its own.

use std::net::SocketAddr;
use std::process::Command;

use vulcan_tests::mail::session::Session;

use crate::{MESSAGE, Stage};

async fn stage() -> (Stage, SocketAddr) {
    let mut stage = Stage::submission_with(&["--smtps", "127.0.0.1:0"], serde_json::json!({})).await;
    let smtps = stage.up.listening("smtps").await;
    (stage, smtps)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_begins_with_tls_may_log_in_at_once() {
    let (stage, smtps) = stage().await;
    let session = Session::connect(smtps).await.unwrap();
    let mut session = session.handshake(&stage.certificate).await.unwrap();
    session.greeted().await.unwrap();
    let offered = session.hello().await.unwrap();
    assert!(offered.offers("AUTH") && !offered.offers("STARTTLS"), "{offered:?}");
    session.plain("alice", "secret").await.unwrap().expect("235 2.7.0");
    session
        .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    assert_eq!(stage.inbox.one().submitted().content, MESSAGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_in_the_open_there() {
    let (stage, smtps) = stage().await;
    let mut session = Session::connect(smtps).await.unwrap();
    session
        .send(b"EHLO client.test\r\nMAIL FROM:<a@sender.test>\r\n")
        .await
        .unwrap();
    assert_eq!(session.rest().await, []);
    assert_eq!(stage.inbox.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn swaks_submits_over_tls_on_connect() {
    let (stage, smtps) = stage().await;
    let mut swaks = Command::new("swaks");
    swaks.args([
        "--server",
        "127.0.0.1",
        "--port",
        &smtps.port().to_string(),
        "--tls-on-connect",
    ]);
    swaks
        .args(["--tls-verify", "--tls-ca-path"])
        .arg(&stage.certificate.chain);
    swaks.args([
        "--auth",
        "LOGIN",
        "--auth-user",
        "alice",
        "--auth-password",
        "secret",
        "--timeout",
        "60",
    ]);
    swaks.args([
        "--from",
        "alice@sender.test",
        "--to",
        "bob@example.test",
        "--body",
        "hello",
    ]);
    let output = tokio::task::spawn_blocking(move || swaks.output())
        .await
        .unwrap()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let delivery = stage.inbox.one();
    assert_eq!(delivery.field("x-vulcan-auth-token"), Some("alice-token"));
    assert!(String::from_utf8_lossy(&delivery.submitted().content).contains("hello"));
}
