//! Mail: one line for each message, and for each recipient that was refused.

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::eventually;
use vulcan_tests::mail::application::{Answer, Application, Inbox};
use vulcan_tests::mail::session::Session;
use vulcan_tests::metrics::Page;
use vulcan_tests::world::World;

use super::lines;

const MESSAGE: &[u8] = b"From: a@sender.test\r\nTo: b@example.test\r\nSubject: hi\r\n\r\nhello\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn every_reply_is_counted_and_logged() {
    let world = World::new();
    let log = world.path("access.log");
    let flags = ["--access-log", log.to_str().unwrap(), "--status", "127.0.0.1:0"];
    let mut up = world.up(&flags).await;
    let status = Api::new(up.listening("status").await);
    let inbox = Inbox::default();
    let application = Application::start(&inbox).await;
    let service = json!({"match": [{"recipients": ["example.test"]}]});
    up.api().put("/v1/services/mail", service).await.live();
    up.api().register("mail", "a", application.address).await;
    let limit = json!({"protocol": "SMTP", "path": "limited", "threshold": 0});
    up.api()
        .put("/v1/limits/00000000-0000-4000-8000-000000000001", limit)
        .await
        .live();

    let mut session = Session::open(up.smtp()).await.unwrap();
    session.hello().await.unwrap();
    for (status, code) in [(200, 250), (200, 250), (403, 550), (503, 451)] {
        inbox.answer(Answer::status(status));
        let reply = session
            .mail("a@sender.test", &["b@example.test"], MESSAGE)
            .await
            .unwrap();
        assert_eq!(reply.code, code);
    }
    session.say("MAIL FROM:<a@sender.test>").await.unwrap();
    session
        .say("RCPT TO:<b@Nowhere.test>")
        .await
        .unwrap()
        .expect("550 5.7.1");

    const MAIL: &str = "vulcan_mail_total";
    eventually("all are counted", async || {
        Page::scrape(&status).await.sum(MAIL, &[]) == 5.0
    })
    .await;
    let page = Page::scrape(&status).await;
    for (service, outcome, count) in [
        ("mail", "accepted", 2.0),
        ("mail", "rejected", 1.0),
        ("mail", "deferred", 1.0),
        ("_none", "recipient_refused", 1.0),
    ] {
        assert_eq!(
            page.sum(MAIL, &[("service", service), ("outcome", outcome)]),
            count,
            "{outcome}"
        );
    }
    let attempts = |outcome| page.sum("vulcan_upstream_requests_total", &[("outcome", outcome)]);
    assert_eq!((attempts("success"), attempts("error")), (3.0, 1.0));

    eventually("all are logged", async || lines(&log).len() == 5).await;
    let lines = lines(&log);
    let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [250, 250, 550, 451, 550]);
    let (first, last) = (&lines[0], &lines[4]);
    assert_eq!(
        (&first["protocol"], &first["method"], &first["path"]),
        (&json!("SMTP"), &json!("MAIL"), &json!("example.test"))
    );
    assert_eq!(
        (&first["service"], &first["upstream"], &first["tries"]),
        (&json!("mail"), &json!("a"), &json!(1))
    );
    assert_eq!(first["bytes_in"], MESSAGE.len());
    assert_eq!((&first["error"], &first["host"]), (&Value::Null, &Value::Null));
    // By its id it is found in the message's own trace.
    let id = first["request_id"].as_str().unwrap();
    let delivered = inbox.deliveries();
    assert!(String::from_utf8_lossy(&delivered[0].body).contains(id));
    assert_eq!(
        (&last["method"], &last["path"], &last["service"]),
        (&json!("RCPT"), &json!("nowhere.test"), &Value::Null)
    );
    assert!(last["error"].as_str().unwrap().starts_with("5.7.1 "), "{last}");
}
