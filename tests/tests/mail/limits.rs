//! One limit of one token, over HTTP and mail, on a fleet: the sum never exceeds it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::authserver::{self, basic};
use vulcan_tests::mail::application::{Application, Inbox};
use vulcan_tests::mail::certificate::Certificate;
use vulcan_tests::mail::session::Session;
use vulcan_tests::node::Node;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use crate::{MESSAGE, Stage, guard};

const THRESHOLD: usize = 60;
/// Each way on each proxy; four times the threshold in all.
const ASKED: usize = THRESHOLD;
/// Between two, so that neither way has all of it before the other begins.
const PAUSE: Duration = Duration::from_millis(10);

/// How many requests, and how many messages, alice got through two proxies under a limit of `mode`.
async fn admitted(mode: &str) -> (usize, usize, Inbox) {
    let world = World::new();
    let certificate = Certificate::create(&world.path(""), "proxy");
    let (control, proxies) = world.mail_fleet(2, &certificate.arguments()).await;
    let api = control.api();
    let users = world.path("users");
    std::fs::write(&users, "alice:secret alice-token\n").unwrap();
    let (auth, _) = authserver::inside(&users).await;
    guard(&api, auth, json!({})).await;
    api.service("web", json!({"authorizer": "main"})).await;
    let inbox = Inbox::default();
    let application = Application::start(&inbox).await;
    for service in ["mail", "web"] {
        api.register(service, "a", application.address).await;
    }
    let limit = json!({"auth_token": "alice-token", "threshold": THRESHOLD, "period": 3600, "mode": mode});
    let path = "/v1/limits/00000000-0000-4000-8000-000000000001";
    api.put(path, limit).await.live();
    let mut asking = JoinSet::new();
    let begin = Arc::new(Barrier::new(2 * proxies.len()));
    for proxy in &proxies {
        asking.spawn(requests(proxy.http(), begin.clone()));
        asking.spawn(messages(proxy.smtp(), certificate.clone(), begin.clone()));
    }
    let (mut http, mut smtp) = (0, 0);
    for (by_mail, admitted) in asking.join_all().await {
        *(if by_mail { &mut smtp } else { &mut http }) += admitted;
    }
    drop::<(Node, Vec<Node>)>((control, proxies));
    (http, smtp, inbox)
}

async fn requests(proxy: SocketAddr, begin: Arc<Barrier>) -> (bool, usize) {
    let mut connection = Connection::connect(proxy).await.unwrap();
    let request = Request::new("GET", "/", "web").with("authorization", &basic::encode(b"alice:secret"));
    let mut admitted = 0;
    begin.wait().await;
    for _ in 0..ASKED {
        tokio::time::sleep(PAUSE).await;
        let (head, _) = connection.exchange(&request).await.unwrap();
        assert!(matches!(head.status, 200 | 429), "{}", head.status);
        admitted += usize::from(head.status == 200);
    }
    (false, admitted)
}

async fn messages(proxy: SocketAddr, certificate: Certificate, begin: Arc<Barrier>) -> (bool, usize) {
    let mut session = Session::log_in(proxy, &certificate, "alice", "secret").await.unwrap();
    let mut admitted = 0;
    begin.wait().await;
    for _ in 0..ASKED {
        tokio::time::sleep(PAUSE).await;
        let reply = session
            .mail("alice@sender.test", &["bob@example.test"], MESSAGE)
            .await
            .unwrap();
        match reply.codes().as_str() {
            "250 2.0.0" => admitted += 1,
            "451 4.7.1" => drop(session.say("RSET").await.unwrap().expect("250 2.0.0")),
            other => panic!("{other}: {reply:?}"),
        }
    }
    (true, admitted)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_messages_together_never_exceed_it() {
    let (http, smtp, inbox) = admitted("enforce").await;
    println!("{http} requests and {smtp} messages of {THRESHOLD}");
    assert!(http + smtp <= THRESHOLD, "{http} + {smtp}");
    assert!(http + smtp >= THRESHOLD * 9 / 10, "{http} + {smtp}");
    assert!(http > 0 && smtp > 0, "both ways");
    assert_eq!(inbox.count(), http + smtp);
}

/// The control.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_only_observes_is_exceeded() {
    let (http, smtp, inbox) = admitted("observe").await;
    assert_eq!((http, smtp), (2 * ASKED, 2 * ASKED));
    assert_eq!(inbox.count(), 4 * ASKED);
}

/// Each recipient counts, and a null sender is no way around that.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_counts_for_each_of_its_recipients() {
    let stage = Stage::submission().await;
    let api = stage.api();
    api.service("web", json!({"authorizer": "main"})).await;
    api.register("web", "a", stage.application.address).await;
    let limit = json!({"auth_token": "alice-", "period": 3600, "threshold": 12});
    let path = "/v1/limits/00000000-0000-4000-8000-000000000001";
    api.put(path, limit).await.live();
    let request = Request::new("GET", "/", "web").with("authorization", &basic::encode(b"alice:secret"));
    let mut session = stage.logged_in().await;
    let (mut requests, mut recipients) = (0, 0);
    for _ in 0..12 {
        requests += usize::from(Api::new(stage.up.http()).send(&request).await.status == 200);
        let to = ["a@one.test", "b@two.test"];
        let sent = session.mail("alice@sender.test", &to, MESSAGE).await.unwrap();
        match sent.codes().as_str() {
            "250 2.0.0" => recipients += to.len(),
            "451 4.7.1" => drop(session.say("RSET").await.unwrap().expect("250 2.0.0")),
            other => panic!("{other}: {sent:?}"),
        }
    }
    assert!(
        requests > 0 && recipients > 0,
        "{requests} requests, {recipients} recipients"
    );
    assert!(
        requests + recipients <= 12,
        "{requests} requests, {recipients} recipients"
    );
    session
        .mail("", &["a@one.test"], MESSAGE)
        .await
        .unwrap()
        .expect("451 4.7.1");
}
