//! Many who come at once: of one user, and of many.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::authserver::recorder::{Recorder, Said};
use vulcan_tests::node::Node;
use vulcan_tests::wire::Connection;
use vulcan_tests::world::World;

use crate::{by, guard};

const MANY: usize = 1000;

/// What each of these users is told.
async fn all_ask(node: &Node, user: impl Fn(usize) -> String) -> Vec<(u16, String)> {
    let mut clients = JoinSet::new();
    for n in 0..MANY {
        let (at, request) = (node.http(), by(&user(n), "/reflect"));
        clients.spawn(async move {
            let reply = Api::new(at).send(&request).await;
            (reply.status, reply.text)
        });
    }
    clients.join_all().await
}

fn is_let_in(text: &str, user: &str) -> bool {
    text.contains(&format!("x-vulcan-auth-token: token of {user}\n"))
}

async fn slow(time: Duration) -> Recorder {
    let grant = move |question: &vulcan_tests::authserver::recorder::Question| {
        let user = question.told()["username"].as_str().unwrap().to_owned();
        Said::grant(&format!("token of {user}")).after(time)
    };
    Recorder::start(grant).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_of_one_user_are_one_question_also_when_the_first_hangs_up() {
    let world = World::new();
    let up = world.up(&["--workers", "3"]).await;
    let auth = slow(Duration::from_secs(2)).await;
    guard(&up.api(), auth.address, json!({"timeout": "60s"})).await;
    let mut first = Connection::connect(up.http()).await.unwrap();
    first.writer.send(&by("one", "/reflect").encode()).await.unwrap();
    auth.asked(1).await;
    drop(first);
    for (status, text) in all_ask(&up, |_| "one".to_owned()).await {
        assert!(status == 200 && is_let_in(&text, "one"), "{status} {text}");
    }
    assert_eq!(auth.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_users_get_their_own_answers_and_wait_where_they_may() {
    let world = World::new();
    let up = world.up(&["--workers", "3"]).await;
    let auth = slow(Duration::from_millis(50)).await;
    guard(&up.api(), auth.address, json!({"timeout": "60s"})).await;
    let told = all_ask(&up, |n| format!("user{n}")).await;
    let right = told.iter().filter(|(status, _)| *status == 200).count();
    assert_eq!((right, auth.count()), (MANY, MANY));
    for (n, user) in (0..MANY).map(|n| (n, format!("user{n}"))) {
        assert!(told.iter().any(|(_, text)| is_let_in(text, &user)), "{n}");
    }

    // An authorization server that bears no crowd is not given one.
    let limited = |queue: usize| -> Value {
        json!({"match": [], "timeouts": {"connect": "30s"}, "upstream_care": {"max_in_flight": 20, "queue": queue, "queue_for": "60s"}})
    };
    let auth = slow(Duration::from_millis(50)).await;
    let api = up.api();
    api.put("/v1/services/auth", limited(MANY)).await.live();
    api.put(
        "/v1/services/auth/upstreams/b",
        json!({"address": auth.address.to_string()}),
    )
    .await
    .live();
    api.delete("/v1/services/auth/upstreams/a").await.live();
    let told = all_ask(&up, |n| format!("guest{n}")).await;
    assert!(
        told.iter().all(|(status, _)| *status == 200),
        "the queue holds them all"
    );
    assert!(auth.most_at_once() <= 20, "{}", auth.most_at_once());

    // Beyond the queue they are told so at once.
    api.put("/v1/services/auth", limited(30)).await.live();
    let told = all_ask(&up, |n| format!("stranger{n}")).await;
    let count = |of: u16| told.iter().filter(|(status, _)| *status == of).count();
    assert_eq!(count(200) + count(503), MANY, "nothing else");
    assert!(count(200) >= 20 && count(503) > 0, "{} {}", count(200), count(503));
    assert!(auth.most_at_once() <= 20, "{}", auth.most_at_once());
}
