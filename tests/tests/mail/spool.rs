//! A disk that takes no more: the client keeps its message, and the next one passes.

use serde_json::json;
use vulcan_tests::mail::application::{Application, Inbox};
use vulcan_tests::mail::session::Session;
use vulcan_tests::world::World;

use crate::{MESSAGE, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_is_452_and_loses_nothing() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    // No file of this proxy grows beyond a megabyte: what a full disk says, and to nobody else.
    let proxy = world.mail_proxy_under("p1", &control.api().url(), 1 << 20).await;
    let inbox = Inbox::default();
    let application = Application::start(&inbox).await;
    open(&control.api(), json!({})).await;
    control.api().register("mail", "a", application.address).await;
    let mut session = Session::open(proxy.smtp()).await.unwrap();
    let large = [b"S: x\r\n\r\n".to_vec(), b"0123456789abcd\r\n".repeat(200_000)].concat();
    for _ in 0..3 {
        let reply = session
            .mail("alice@sender.test", &["bob@example.test"], &large)
            .await
            .unwrap();
        reply.expect("452 4.3.1");
        assert_eq!(inbox.count(), 0);
        session
            .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
            .await
            .unwrap()
            .expect("250 2.0.0");
        assert_eq!(inbox.one().submitted().content, MESSAGE);
    }
    // The control: half of it has room.
    let half = &large[..large.len() / 4];
    session
        .mail("alice@sender.test", &["bob@example.test"], half)
        .await
        .unwrap()
        .expect("250 2.0.0");
    let content = inbox.one().submitted().content;
    assert!(content.starts_with(half));
}

/// 20 large messages at a time, whose spools are files.
#[tokio::test(flavor = "multi_thread")]
async fn large_messages_take_little_memory() {
    let stage = crate::Stage::inbound().await;
    let large = std::sync::Arc::new([b"S: x\r\n\r\n".to_vec(), b"0123456789abcd\r\n".repeat(500_000)].concat());
    let before = stage.up.memory();
    stage.inbox.hold();
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut session = stage.session().await;
        let large = large.clone();
        sending.spawn(async move {
            let reply = session.mail("alice@sender.test", &["bob@example.test"], &large).await;
            reply.unwrap().codes()
        });
    }
    vulcan_tests::eventually("all are in delivery", async || stage.inbox.count() == 20).await;
    // Their files have no names: they are gone with the process, however it ends.
    let names = std::fs::read_dir(stage.world.path("up")).unwrap();
    let sizes = names.map(|entry| entry.unwrap().metadata().unwrap().len());
    assert!(sizes.max().unwrap() < large.len() as u64);
    let grown = stage.up.peak_memory().saturating_sub(before);
    stage.inbox.release();
    for codes in sending.join_all().await {
        assert_eq!(codes, "250 2.0.0");
    }
    println!("{} bytes each, grown by {grown}", large.len());
    assert!(grown < 60 << 20, "{grown} bytes for 20 messages of {}", large.len());
    for delivery in stage.inbox.take() {
        assert!(delivery.submitted().content == *large);
    }
}
