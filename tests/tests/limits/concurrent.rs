//! At most so many requests of one requester in flight, at several proxies together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use vulcan_tests::eventually;
use vulcan_tests::node::Node;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use crate::LIMIT;

/// So long an answer takes, where nothing else is said.
const TAKES: Duration = Duration::from_millis(120);
const MANY: u64 = 1_000_000_000;

/// An origin that counts what is in flight at it, and keeps some of it until it is let go.
#[derive(Clone)]
struct Slow(Arc<Counts>);

struct Counts {
    now: AtomicUsize,
    most: AtomicUsize,
    is_let_go: watch::Sender<bool>,
}

/// One in flight.
struct Counted<'a>(&'a Counts);

impl<'a> Counted<'a> {
    fn new(counts: &'a Counts) -> Counted<'a> {
        let now = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(now, Ordering::SeqCst);
        Counted(counts)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Slow {
    async fn serve() -> (Slow, SocketAddr) {
        let slow = Slow(Arc::new(Counts {
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            is_let_go: watch::Sender::new(false),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = slow.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let slow = serving.clone();
                tokio::spawn(async move { slow.connection(Connection::new(stream)).await });
            }
        });
        (slow, address)
    }

    /// `/held` and `/body` wait to be let go, the latter after its head; `/tunnel` leaves HTTP until the client ends it.
    async fn connection(&self, mut connection: Connection) {
        connection.reader.patience = Duration::from_secs(600);
        while let Ok(Some((line, _))) = connection.reader.request().await {
            let counted = Counted::new(&self.0);
            let answer = match line.path() {
                "/held" => {
                    tokio::select! {
                        () = self.let_go() => {}
                        _ = connection.reader.some(1) => return,
                    }
                    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
                }
                "/body" => {
                    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n";
                    connection.writer.send(head.as_bytes()).await.unwrap();
                    self.let_go().await;
                    "0\r\n\r\n"
                }
                "/tunnel" => {
                    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: raw\r\n\r\n";
                    connection.writer.send(head.as_bytes()).await.unwrap();
                    while !connection.reader.some(1).await.unwrap_or_default().is_empty() {}
                    return;
                }
                _ => {
                    tokio::time::sleep(TAKES).await;
                    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
                }
            };
            // At the proxy it is in flight for longer than here.
            drop(counted);
            if connection.writer.send(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    async fn let_go(&self) {
        let mut is_let_go = self.0.is_let_go.subscribe();
        let _ = is_let_go.wait_for(|is_let_go| *is_let_go).await;
    }

    fn release(&self) {
        self.0.is_let_go.send_replace(true);
    }

    fn now(&self) -> usize {
        self.0.now.load(Ordering::SeqCst)
    }

    /// The most since this was asked before.
    fn take_most(&self) -> usize {
        self.0.most.swap(self.now(), Ordering::SeqCst)
    }
}

async fn fleet(world: &World, proxies: usize, limit: Value) -> (Node, Vec<Node>, Slow) {
    let (control, proxies) = world.fleet(proxies, &[]).await;
    let (slow, address) = Slow::serve().await;
    let timeouts = json!({"timeouts": {"response": "1m", "drain": "1s"}});
    control.api().service("web", timeouts).await;
    control.api().register("web", "a", address).await;
    control.api().put(LIMIT, limit).await.live();
    (control, proxies, slow)
}

/// The status and the body of an answer; 0: there was none.
async fn ask(proxy: SocketAddr, path: &str) -> (u16, String) {
    let exchange = async {
        let mut connection = Connection::connect(proxy).await?;
        connection.reader.patience = Duration::from_secs(120);
        connection.exchange(&Request::new("GET", path, "web")).await
    };
    match exchange.await {
        Ok((head, body)) => (head.status, String::from_utf8_lossy(&body).into_owned()),
        Err(_) => (0, String::new()),
    }
}

fn hold(proxy: SocketAddr) -> JoinHandle<u16> {
    tokio::spawn(async move { ask(proxy, "/held").await.0 })
}

/// So many are held through this proxy, however often it has to be tried.
async fn hold_all(proxy: &Node, slow: &Slow, count: usize) -> Vec<JoinHandle<u16>> {
    let mut held: Vec<JoinHandle<u16>> = Vec::new();
    let before = slow.now();
    let what = format!("{count} are in flight");
    eventually(&what, async || {
        held.retain(|held| !held.is_finished());
        if held.len() < count {
            held.push(hold(proxy.http()));
        }
        slow.now() - before == count
    })
    .await;
    held
}

/// Clients that ask again and again, each over whichever proxy is its own.
struct Crowd {
    is_over: Arc<AtomicBool>,
    clients: JoinSet<[usize; 2]>,
}

impl Crowd {
    fn gather(proxies: &[Node], clients: usize) -> Crowd {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut crowd = Crowd {
            is_over: is_over.clone(),
            clients: JoinSet::new(),
        };
        for proxy in proxies.iter().cycle().take(clients) {
            let (proxy, is_over) = (proxy.http(), is_over.clone());
            crowd.clients.spawn(async move {
                let mut heard = [0; 2];
                while !is_over.load(Ordering::Relaxed) {
                    match ask(proxy, "/").await.0 {
                        200 => heard[0] += 1,
                        429 => heard[1] += 1,
                        // A proxy that is killed.
                        0 => {}
                        other => panic!("{other}"),
                    }
                    tokio::time::sleep(Duration::from_millis(15)).await;
                }
                heard
            });
        }
        crowd
    }

    /// How often one was admitted and refused.
    async fn disperse(mut self) -> (usize, usize) {
        self.is_over.store(true, Ordering::Relaxed);
        let (mut admitted, mut refused) = (0, 0);
        while let Some(heard) = self.clients.join_next().await {
            let [one, other] = heard.unwrap();
            (admitted, refused) = (admitted + one, refused + other);
        }
        (admitted, refused)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_are_in_flight_than_may_be_and_as_many_as_may() {
    let world = World::new();
    let limit = json!({"threshold": MANY, "concurrent": 7});
    let (control, proxies, slow) = fleet(&world, 3, limit).await;
    let crowd = Crowd::gather(&proxies, 30);
    eventually("all that may be are in flight", async || slow.now() == 7).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (admitted, refused) = crowd.disperse().await;
    assert_eq!(slow.take_most(), 7, "{admitted} admitted, {refused} refused");
    assert!(admitted > 20 && refused > 20, "{admitted} admitted, {refused} refused");

    // The control: the origin would bear more.
    let limit = json!({"threshold": MANY});
    control.api().put(LIMIT, limit).await.live();
    let crowd = Crowd::gather(&proxies, 30);
    eventually("more than seven are", async || slow.now() > 7).await;
    crowd.disperse().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_and_the_usage_how_many_there_are() {
    let world = World::new();
    let limit = json!({"threshold": MANY, "concurrent": 2});
    let (control, proxies, slow) = fleet(&world, 2, limit).await;
    let held = hold_all(&proxies[0], &slow, 2).await;
    let (status, body) = ask(proxies[1].http(), "/").await;
    assert_eq!(status, 429, "{body}");
    let problem: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["type"], "urn:vulcan:quota-exceeded");
    assert!(problem["detail"].as_str().unwrap().contains("in flight"), "{body}");
    let usage = format!("{LIMIT}/usage?key=");
    let said = control.api().get(&usage).await.expect(200);
    assert_eq!(
        said.body["concurrent"],
        json!({"in_flight": 2, "of": 2}),
        "{}",
        said.text
    );
    let shown = control.api().get(LIMIT).await.expect(200);
    assert_eq!(shown.body["concurrent"], 2);

    // Those that observe count what they would have refused, and refuse nothing.
    let observed = json!({"threshold": MANY, "concurrent": 2, "mode": "observe"});
    control.api().put(LIMIT, observed).await.live();
    assert_eq!(ask(proxies[1].http(), "/").await.0, 200);
    slow.release();
    for held in held {
        assert_eq!(held.await.unwrap(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_and_a_tunnel_keep_their_place_to_their_end() {
    let world = World::new();
    let limit = json!({"threshold": MANY, "concurrent": 1});
    let (_control, proxies, slow) = fleet(&world, 2, limit).await;
    let mut first = Connection::connect(proxies[0].http()).await.unwrap();
    let head = first.ask(&Request::new("GET", "/body", "web")).await.unwrap();
    assert_eq!(head.status, 200);
    for proxy in &proxies {
        assert_eq!(ask(proxy.http(), "/").await.0, 429, "the body is not at its end");
    }
    slow.release();
    eventually("its place is free", async || ask(proxies[1].http(), "/").await.0 == 200).await;

    let upgrade = Request::new("GET", "/tunnel", "web")
        .with("connection", "upgrade")
        .with("upgrade", "raw");
    let mut tunnel = None;
    eventually("a tunnel is open", async || {
        let mut connection = Connection::connect(proxies[0].http()).await.unwrap();
        let head = connection.ask(&upgrade).await.unwrap();
        let is_open = head.status == 101;
        tunnel = is_open.then_some(connection);
        is_open
    })
    .await;
    for proxy in &proxies {
        assert_eq!(ask(proxy.http(), "/").await.0, 429, "the tunnel is open");
    }
    drop(tunnel);
    eventually("its place is free", async || ask(proxies[1].http(), "/").await.0 == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_was_killed_holds_nothing_any_more_once_it_is_back() {
    let world = World::new();
    let limit = json!({"threshold": MANY, "concurrent": 3});
    let (_control, mut proxies, slow) = fleet(&world, 2, limit).await;
    let held = hold_all(&proxies[0], &slow, 3).await;
    proxies[0].kill();
    for held in held {
        assert_ne!(held.await.unwrap(), 200);
    }
    eventually("the origin sees that they are gone", async || slow.now() == 0).await;
    assert_eq!(ask(proxies[1].http(), "/").await.0, 429, "nobody knows that it is dead");
    proxies[0].restart().await;
    let held = hold_all(&proxies[1], &slow, 3).await;
    assert_eq!(ask(proxies[0].http(), "/").await.0, 429);
    slow.release();
    for held in held {
        assert_eq!(held.await.unwrap(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_that_was_killed_learns_what_is_in_flight() {
    let world = World::new();
    let limit = json!({"threshold": MANY, "concurrent": 4});
    let (mut control, proxies, slow) = fleet(&world, 3, limit).await;
    let held = hold_all(&proxies[0], &slow, 3).await;
    let crowd = Crowd::gather(&proxies, 9);
    eventually("the fourth is in flight, too", async || slow.now() == 4).await;
    control.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    control.restart().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    slow.take_most();
    eventually("all are in flight", async || slow.now() == 4).await;
    slow.release();
    for held in held {
        assert_eq!(held.await.unwrap(), 200);
    }
    eventually("others have their places", async || slow.now() == 4).await;
    let heard = crowd.disperse().await;
    assert_eq!(slow.take_most(), 4, "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_wait_has_its_turn() {
    let world = World::new();
    let limit = json!({"threshold": MANY, "concurrent": 2, "delay_max": "1m"});
    let (_control, proxies, slow) = fleet(&world, 2, limit).await;
    let mut asked = JoinSet::new();
    for proxy in proxies.iter().cycle().take(12) {
        let proxy = proxy.http();
        asked.spawn(async move { ask(proxy, "/").await.0 });
    }
    while let Some(status) = asked.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(slow.take_most(), 2);
}
