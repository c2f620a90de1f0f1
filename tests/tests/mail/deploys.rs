//! Deployments under mail: every message that was answered 250 has arrived, and comes twice only under the same key.
//!
//! `VULCAN_MAIL_MESSAGES=N` sends so many instead.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::dice::Dice;
use vulcan_tests::mail::application::{Application, Inbox};
use vulcan_tests::mail::session::{Reply, Session};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

use crate::open;

const CLIENTS: usize = 32;

fn wanted(least: usize) -> usize {
    std::env::var("VULCAN_MAIL_MESSAGES").map_or(least, |wanted| wanted.parse().expect("a number"))
}

/// What the clients have seen.
#[derive(Default)]
struct Seen {
    /// Messages that were begun, each with its number.
    begun: AtomicUsize,
    taken: AtomicUsize,
    /// Replies, and ends of sessions, that put a message off; it is sent again.
    put_off: AtomicUsize,
    /// The first of them.
    why: std::sync::Mutex<Option<String>>,
    is_done: AtomicBool,
}

fn message(number: usize) -> Vec<u8> {
    // Some are spooled in files.
    let size = if number.is_multiple_of(100) {
        400_000
    } else {
        number % 5_000
    };
    let line = b"0123456789012345678901234567890123456789012345678901234567890123456789\r\n";
    [
        format!("Message-ID: <{number}@sender.test>\r\n\r\n").into_bytes(),
        line.repeat(size / line.len()),
    ]
    .concat()
}

/// Sends message after message until all are begun; one that is put off again and again.
async fn send(proxies: Vec<SocketAddr>, all: usize, seen: Arc<Seen>) {
    let mut sessions = BTreeMap::new();
    loop {
        let number = seen.begun.fetch_add(1, SeqCst);
        if number >= all {
            return;
        }
        let (message, recipient) = (message(number), format!("bob{number}@example.test"));
        let mut turn = number;
        loop {
            let proxy = proxies[turn % proxies.len()];
            let why = match attempt(&mut sessions, proxy, &recipient, &message).await {
                Ok(reply) if reply.code == 250 => {
                    seen.taken.fetch_add(1, SeqCst);
                    break;
                }
                Ok(reply) if reply.code >= 500 => panic!("{number}: {reply:?}"),
                Ok(reply) => format!("{} {}", reply.code, reply.text()),
                Err(error) => error.to_string(),
            };
            seen.put_off.fetch_add(1, SeqCst);
            seen.why.lock().unwrap().get_or_insert(why);
            turn += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// In the session that there is with this proxy, or in a new one; it is kept if the message was taken.
async fn attempt(
    sessions: &mut BTreeMap<SocketAddr, Session>,
    proxy: SocketAddr,
    recipient: &str,
    message: &[u8],
) -> std::io::Result<Reply> {
    let mut session = match sessions.remove(&proxy) {
        Some(session) => session,
        None => Session::open(proxy).await?,
    };
    let reply = session.mail("alice@sender.test", &[recipient], message).await?;
    if reply.code == 250 {
        sessions.insert(proxy, session);
    }
    Ok(reply)
}

struct Deployment {
    api: Api,
    inbox: Inbox,
    proxies: Vec<Node>,
    running: Vec<(String, Application)>,
    /// By its number each message's key, and how often it came.
    arrived: BTreeMap<usize, (String, usize)>,
    _control: Node,
    _world: World,
}

impl Deployment {
    async fn new(settings: serde_json::Value) -> Deployment {
        let world = World::new();
        let (control, proxies) = world.mail_fleet(2, &[]).await;
        let api = control.api();
        open(&api, settings).await;
        let mut deployment = Deployment {
            api,
            inbox: Inbox::default(),
            proxies,
            running: Vec::new(),
            arrived: BTreeMap::new(),
            _control: control,
            _world: world,
        };
        for n in 0..3 {
            deployment.register(format!("first-{n}")).await;
        }
        deployment
    }

    async fn register(&mut self, id: String) {
        let application = Application::start(&self.inbox).await;
        self.api.register("mail", &id, application.address).await;
        self.running.push((id, application));
    }

    /// DELETE, and killed the moment that is answered.
    async fn retire(&mut self) {
        let (id, application) = self.running.remove(0);
        let reply = self.api.delete(&format!("/v1/services/mail/upstreams/{id}")).await;
        application.kill().await;
        reply.live();
    }

    /// Sends `all` messages while `change` is called again and again; what the clients saw, and how often it was called.
    async fn under_load(
        &mut self,
        all: usize,
        mut change: impl AsyncFnMut(&mut Deployment, usize),
    ) -> (Arc<Seen>, usize) {
        let seen = Arc::<Seen>::default();
        let addresses: Vec<SocketAddr> = self.proxies.iter().map(Node::smtp).collect();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(send(addresses.clone(), all, seen.clone()));
        }
        let done = seen.clone();
        let waiting = tokio::spawn(async move {
            while let Some(client) = clients.join_next().await {
                client.expect("a client does not panic");
            }
            done.is_done.store(true, SeqCst);
        });
        let mut changes = 0;
        while !waiting.is_finished() {
            change(self, changes).await;
            self.collect();
            changes += 1;
        }
        waiting.await.expect("no client panics");
        (seen, changes)
    }

    /// What came so far: all of it at once would be much.
    fn collect(&mut self) {
        for delivery in self.inbox.take() {
            let submitted = delivery.submitted();
            let number = submitted.to[0]
                .trim_start_matches("bob")
                .trim_end_matches("@example.test");
            let number = number.parse().expect("every recipient has a number");
            assert!(submitted.content == message(number), "{number} has changed on its way");
            let first = || (delivery.key().to_owned(), 0);
            let (key, times) = self.arrived.entry(number).or_insert_with(first);
            assert_eq!(key, delivery.key(), "{number} comes again under another key");
            *times += 1;
        }
    }

    /// How many came more than once, each time counted.
    fn assert_all_arrived(&mut self, all: usize, seen: &Seen) -> usize {
        assert_eq!(seen.taken.load(SeqCst), all);
        self.collect();
        let lost: Vec<usize> = (0..all).filter(|number| !self.arrived.contains_key(number)).collect();
        assert!(lost.is_empty(), "answered 250, and never came: {lost:?}");
        self.arrived.values().map(|(_, times)| times - 1).sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orderly_deployments_cost_no_client_anything() {
    let all = wanted(4_000);
    let mut deployment = Deployment::new(json!({})).await;
    let (seen, changes) = deployment
        .under_load(all, async |deployment, n| {
            deployment.register(format!("next-{n}")).await;
            deployment.retire().await;
        })
        .await;
    let why = seen.why.lock().unwrap().clone();
    let twice = deployment.assert_all_arrived(all, &seen);
    println!("{all} messages, {changes} deployments, {twice} came twice");
    assert_eq!(seen.put_off.load(SeqCst), 0, "put off: {why:?}");
    assert!(changes >= 5, "{changes} deployments");
    assert_eq!(twice, 0);
}

/// The control of the one above, and what is promised even then.
#[tokio::test(flavor = "multi_thread")]
async fn applications_that_are_killed_lose_nothing_that_was_taken() {
    let all = wanted(4_000);
    let mut deployment = Deployment::new(json!({"retries": {"attempts": 1}})).await;
    let mut dice = Dice::new(7);
    let (seen, changes) = deployment
        .under_load(all, async |deployment, _| {
            // Two of three at a time, each in its old place again after a while.
            for _ in 0..2 {
                let which = dice.below(3) as usize;
                let (id, application) = deployment.running.remove(which);
                let place = application.kill().await;
                tokio::time::sleep(Duration::from_millis(30)).await;
                let application = Application::at(&deployment.inbox, place).await;
                deployment.running.push((id, application));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        })
        .await;
    let twice = deployment.assert_all_arrived(all, &seen);
    let (put_off, why) = (seen.put_off.load(SeqCst), seen.why.lock().unwrap().clone());
    println!("{all} messages, {changes} rounds of kills, {put_off} put off ({why:?}), {twice} came again");
    assert!(changes >= 5, "{changes} rounds");
    assert!(put_off + twice > 0, "the load does not notice a kill");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_that_are_killed_lose_nothing_that_was_taken() {
    let all = wanted(4_000);
    let mut deployment = Deployment::new(json!({})).await;
    let (seen, changes) = deployment
        .under_load(all, async |deployment, n| {
            let proxy = &mut deployment.proxies[n % 2];
            if n % 3 == 2 {
                // In order, too: what is on its way is answered.
                proxy.terminate();
                assert_eq!(proxy.exit().await, Some(0));
                proxy.start();
                proxy.ready().await;
            } else {
                proxy.restart().await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        })
        .await;
    let twice = deployment.assert_all_arrived(all, &seen);
    let (put_off, why) = (seen.put_off.load(SeqCst), seen.why.lock().unwrap().clone());
    println!("{all} messages, {changes} ends of proxies, {put_off} put off ({why:?}), {twice} came again");
    assert!(put_off > 0, "the load does not notice a kill");
}
