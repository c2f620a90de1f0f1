//! Mail beside requests, on real processes: changes are live when they are answered, unregistering waits for messages,
//! who is revoked sends no more, and one limit counts both.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use serde_json::json;
use vulcan_tests::api::Api;
use vulcan_tests::authserver;
use vulcan_tests::mail::Mailer;
use vulcan_tests::node::Node;
use vulcan_tests::wire::Request;
use vulcan_tests::world::World;

/// \0api\0apikey
const PLAIN: &str = "AUTH PLAIN AGFwaQBhcGlrZXk=";
const CONTENT: &str = "Subject: x\r\n\r\nx";

/// Whoever it trusts may authenticate in the clear.
async fn up(world: &World) -> Node {
    world
        .up(&["--trusted", "127.0.0.1/32", "--mail-hostname", "mail.example"])
        .await
}

/// A service `mail` that takes mail for these recipients and has a message answered by this path of its origin.
async fn mail(api: &Api, recipients: &[&str], path: &str, more: serde_json::Value) {
    let mut body = json!({"match": [{"recipients": recipients}], "mail": {"path": path}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    api.put("/v1/services/mail", body).await.live();
}

/// An authorizer `main` that knows api:apikey, by a file of users.
async fn authorizer(world: &World, api: &Api) -> std::path::PathBuf {
    let users = world.path("users");
    std::fs::write(&users, "api:apikey user@example.com\n").unwrap();
    let (address, _) = authserver::inside(&users).await;
    api.put("/v1/services/auth", json!({"match": []})).await.live();
    api.register("auth", "a", address).await.live();
    let main = json!({"service": "auth", "timeout": "10s"});
    api.put("/v1/authorizers/main", main).await.live();
    users
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_are_live_when_the_answer_comes() {
    let world = World::new();
    let up = up(&world).await;
    let api = up.api();
    let mut origin = world.origin("a").await;
    let mut mailer = Mailer::connect(up.smtp()).await;
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "550 5.7.1"
    );
    mail(&api, &["one.example"], "/digest", json!({"retries": {"attempts": 0}})).await;
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "451 4.4.1"
    );
    api.register("mail", "a", origin.address).await.live();
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "250 2.0.0"
    );
    assert_eq!(
        mailer.mail("", &["a@one.example", "b@ONE.example"], CONTENT).await,
        "250 2.0.0"
    );
    assert_eq!(origin.count().await.received, 2, "a message is one request");

    for round in 0..5 {
        let domains = [format!("r{round}.example"), "one.example".to_owned()];
        mail(&api, &[&domains[0]], "/digest", json!({})).await;
        let to = format!("a@{}", domains[0]);
        assert_eq!(mailer.mail("me@x.example", &[&to], CONTENT).await, "250 2.0.0", "{to}");
        assert_eq!(
            mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
            "550 5.7.1"
        );
    }
    mail(&api, &["one.example"], "/digest", json!({"max_body": 100})).await;
    let long = "x".repeat(101);
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], &long).await,
        "552 5.3.4"
    );
    assert_eq!(
        mailer.say("MAIL FROM:<me@x.example> SIZE=101").await.codes(),
        "552 5.3.4"
    );
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "250 2.0.0"
    );
    api.delete("/v1/services/mail").await.live();
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "550 5.7.1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unregistering_waits_for_a_message() {
    let world = World::new();
    let up = up(&world).await;
    let api = up.api();
    let mut origin = world.origin("a").await;
    mail(&api, &["one.example"], "/bytes?n=2&head=1500", json!({})).await;
    api.register("mail", "a", origin.address).await.live();
    let mut mailer = Mailer::connect(up.smtp()).await;
    for line in ["MAIL FROM:<me@x.example>", "RCPT TO:<a@one.example>", "DATA"] {
        assert!(mailer.say(line).await.code < 400, "{line}");
    }
    mailer.send(&format!("{CONTENT}\r\n.\r\n")).await;
    while origin.count().await.in_flight == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let gone = api.delete("/v1/services/mail/upstreams/a").await.live();
    assert_eq!(gone.body["wait"]["for"], "drained");
    assert_eq!(origin.count().await.in_flight, 0, "it had answered");
    origin.kill();
    assert_eq!(mailer.hear().await.codes(), "250 2.0.0");
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "451 4.4.1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_sends_no_more() {
    let world = World::new();
    let up = up(&world).await;
    let api = up.api();
    let users = authorizer(&world, &api).await;
    let origin = world.origin("a").await;
    mail(&api, &["*"], "/digest", json!({"authorizer": "main"})).await;
    api.register("mail", "a", origin.address).await.live();

    let mut mailer = Mailer::connect(up.smtp()).await;
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "530 5.7.0"
    );
    assert_eq!(mailer.say(PLAIN).await.codes(), "235 2.7.0");
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "250 2.0.0"
    );
    std::fs::write(&users, "").unwrap();
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "250 2.0.0",
        "it is remembered"
    );
    // In the middle of a transaction: its recipient was admitted, and nothing is delivered.
    for line in ["MAIL FROM:<me@x.example>", "RCPT TO:<a@one.example>", "DATA"] {
        assert!(mailer.say(line).await.code < 400, "{line}");
    }
    let revoked = api
        .post("/v1/authorizers/main/revoke", json!({"username": "api"}))
        .await;
    revoked.live();
    let refused = mailer.say(&format!("{CONTENT}\r\n.")).await;
    assert!(refused.code >= 400, "{refused:?}");
    assert_eq!(
        mailer.mail("me@x.example", &["a@one.example"], CONTENT).await,
        "535 5.7.8"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_limit_counts_requests_and_mail_of_a_token() {
    let world = World::new();
    let up = up(&world).await;
    let api = up.api();
    authorizer(&world, &api).await;
    let origin = world.origin("a").await;
    let both = json!({"match": [{}, {"recipients": ["*"]}], "authorizer": "main", "mail": {"path": "/digest"}});
    api.put("/v1/services/both", both).await.live();
    api.register("both", "a", origin.address).await.live();
    let limit = json!({"auth_token": "user@", "period": 3600, "threshold": 12});
    let path = "/v1/limits/00000000-0000-4000-8000-000000000001";
    api.put(path, limit).await.live();

    let request = Request::new("GET", "/reflect", "web").with("authorization", "Basic YXBpOmFwaWtleQ==");
    let mut mailer = Mailer::connect(up.smtp()).await;
    assert_eq!(mailer.say(PLAIN).await.codes(), "235 2.7.0");
    let (mut requests, mut messages) = (0, 0);
    for _ in 0..12 {
        requests += usize::from(Api::new(up.http()).send(&request).await.status == 200);
        // Each recipient counts.
        let sent = mailer
            .mail("me@x.example", &["a@one.example", "b@two.example"], CONTENT)
            .await;
        messages += usize::from(sent == "250 2.0.0");
        assert!(sent == "250 2.0.0" || sent == "451 4.7.1", "{sent}");
    }
    assert!(requests > 0 && messages > 0, "{requests} requests, {messages} messages");
    assert!(
        requests + 2 * messages <= 12,
        "{requests} requests, {messages} messages"
    );
    assert_eq!(
        mailer.mail("", &["a@one.example"], CONTENT).await,
        "250 2.0.0",
        "of nobody's account"
    );
}
