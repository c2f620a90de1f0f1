//! Upstreams that start slowly, and upstreams that fail, under a fleet of real processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::node::Node;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

/// A server that answers its check with a status of its own until it is ready; whoever asks for anything else meanwhile is
/// answered 500.
#[derive(Default)]
struct Server {
    status: AtomicU16,
    served: AtomicU64,
}

impl Server {
    async fn start(status: u16) -> (Arc<Server>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Arc::new(Server::default());
        server.say(status);
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                // It ends with its peer's connection, however that ends.
                tokio::spawn(async move { drop(server.serve(Connection::new(stream)).await) });
            }
        });
        (server, address)
    }

    fn say(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    async fn serve(&self, mut connection: Connection) -> std::io::Result<()> {
        while let Some((line, _)) = connection.reader.request().await? {
            let status = self.status.load(Ordering::SeqCst);
            let code = match (line.path(), status) {
                ("/up", status) => status,
                (_, 200) => 200,
                _ => 500,
            };
            self.served.fetch_add(u64::from(line.path() != "/up"), Ordering::SeqCst);
            let answer = format!("HTTP/1.1 {code} Told\r\ncontent-length: 0\r\n\r\n");
            connection.writer.send(answer.as_bytes()).await?;
        }
        Ok(())
    }
}

/// Clients at every proxy, until it is over; each counts what was not answered 200.
struct Load {
    over: Arc<AtomicBool>,
    clients: JoinSet<(u64, Vec<String>)>,
}

impl Load {
    fn start(proxies: &[Node], service: &'static str) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for proxy in proxies.iter().flat_map(|proxy| [proxy.http(); 4]) {
            clients.spawn(client(proxy, service, over.clone()));
        }
        Load { over, clients }
    }

    async fn end(self) -> (u64, Vec<String>) {
        self.over.store(true, Ordering::SeqCst);
        let told = self.clients.join_all().await.into_iter();
        told.fold((0, Vec::new()), |(sum, mut all), (requests, failures)| {
            all.extend(failures);
            (sum + requests, all)
        })
    }
}

async fn client(proxy: SocketAddr, service: &str, over: Arc<AtomicBool>) -> (u64, Vec<String>) {
    let (mut requests, mut failures) = (0, Vec::new());
    while !over.load(Ordering::SeqCst) {
        let mut connection = Connection::connect(proxy).await.unwrap();
        for _ in 0..100 {
            requests += 1;
            match connection.exchange(&Request::new("GET", "/bytes?n=100", service)).await {
                Ok((head, _)) if head.status == 200 => {}
                Ok((head, body)) => failures.push(format!("{}: {}", head.status, String::from_utf8_lossy(&body))),
                Err(error) => {
                    failures.push(error.to_string());
                    break;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    (requests, failures)
}

async fn health(api: &Api, proxy: &str, upstream: &str) -> String {
    let shown = api.get(&format!("/v1/fleet/{proxy}")).await.expect(200).body;
    let all = shown["upstreams"].as_array().cloned().unwrap_or_default();
    let one = all.iter().find(|one| one["upstream"] == upstream);
    one.map_or("none".into(), |one| one["health"].as_str().unwrap().to_owned())
}

/// As the list of the service's upstreams tells it: by proxy, of one upstream.
async fn listed(api: &Api, upstream: &str) -> Vec<String> {
    let list = api.get("/v1/services/web/upstreams?status=true").await.expect(200).body;
    let items = list["items"].as_array().unwrap().iter();
    let one = items.clone().find(|item| item["id"] == upstream).unwrap();
    let told = one["status"].as_array().unwrap().iter();
    told.map(|told| {
        format!(
            "{} {}",
            told["proxy"].as_str().unwrap(),
            told["health"].as_str().unwrap_or("–")
        )
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_starter_gets_requests_once_it_is_well_everywhere() {
    let world = World::new();
    let (control, fleet) = world.fleet(3, &[]).await;
    let api = control.api();
    api.service("web", json!({"health_check": {"path": "/up", "interval": "100ms"}}))
        .await;
    let (_old, old_address) = Server::start(200).await;
    let first = api.register("web", "old", old_address).await;
    assert_eq!(first.body["wait"]["for"], "healthy");
    let load = Load::start(&fleet, "web");

    let (slow, slow_address) = Server::start(503).await;
    let path = "/v1/services/web/upstreams/slow";
    let body = json!({"address": slow_address.to_string()});
    let early = api.put(&format!("{path}?timeout=2500ms"), body.clone()).await;
    let early = early.problem(504, "wait-not-reached");
    let warming = early.body["fleet"]["warming"].as_array().unwrap();
    let told = |proxy: &str| json!({"proxy": proxy, "upstream": "web/slow", "last": "status 503"});
    assert_eq!(*warming, ["p1", "p2", "p3"].map(told));
    assert_eq!(health(&api, "p1", "web/slow").await, "warming");
    assert_eq!(listed(&api, "slow").await, ["p1 warming", "p2 warming", "p3 warming"]);
    assert_eq!(listed(&api, "old").await, ["p1 up", "p2 up", "p3 up"]);
    assert_eq!(slow.served.load(Ordering::SeqCst), 0, "there is another one");

    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.put(path, body).await }
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!waiting.is_finished(), "nobody has seen it well");
    slow.say(200);
    let live = waiting.await.unwrap().live();
    assert_eq!(live.body["wait"]["for"], "healthy");
    api.delete("/v1/services/web/upstreams/old").await.live();
    assert_eq!(health(&api, "p2", "web/slow").await, "up");
    vulcan_tests::eventually("it serves", async || slow.served.load(Ordering::SeqCst) > 0).await;

    // The only one moves to a server that is not checked yet.
    let (_new, new_address) = Server::start(200).await;
    let moved = api.put(path, json!({"address": new_address.to_string()})).await.live();
    assert_eq!(moved.body["wait"]["for"], "drained");
    let (requests, failures) = load.end().await;
    assert!(requests > 100, "{requests}");
    assert!(
        failures.is_empty(),
        "{} of {requests}, such as {}",
        failures.len(),
        failures[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_fail_take_an_upstream_out_and_it_comes_back() {
    let world = World::new();
    let (control, fleet) = world.fleet(1, &[]).await;
    let api = control.api();
    let check = json!({"path": "/up", "interval": "50ms", "unhealthy_after": 2});
    let care = json!({"eject_after": 0});
    api.service("web", json!({"health_check": check, "upstream_care": care}))
        .await;
    let ((one, first), (_two, second)) = (Server::start(200).await, Server::start(200).await);
    api.register("web", "one", first).await;
    api.register("web", "two", second).await;
    one.say(503);
    vulcan_tests::eventually("it is down", async || health(&api, "p1", "web/one").await == "down").await;
    let load = Load::start(&fleet, "web");
    let served = one.served.load(Ordering::SeqCst);
    // Whatever becomes of the table, what is known of its health stays.
    for weight in 2..8 {
        let body = json!({"address": second.to_string(), "weight": weight});
        api.put("/v1/services/web/upstreams/two", body).await.live();
    }
    assert_eq!(health(&api, "p1", "web/one").await, "down");
    assert_eq!(one.served.load(Ordering::SeqCst), served);
    one.say(200);
    vulcan_tests::eventually("it is back", async || one.served.load(Ordering::SeqCst) > served).await;
    let (_, failures) = load.end().await;
    assert_eq!(failures, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_killed_fails_no_request_that_may_be_repeated() {
    let world = World::new();
    let (control, fleet) = world.fleet(2, &[]).await;
    let api = control.api();
    api.service("web", json!({})).await;
    let mut origins = [
        world.origin("a").await,
        world.origin("b").await,
        world.origin("c").await,
    ];
    for origin in &origins {
        api.register("web", &origin.id, origin.address).await;
    }
    let load = Load::start(&fleet, "web");
    for origin in &mut origins {
        vulcan_tests::eventually("it serves", async || origin.count().await.received > 50).await;
    }
    let [killed, _b, _c] = &mut origins;
    killed.kill();
    for proxy in ["p1", "p2"] {
        vulcan_tests::eventually("it is seen", async || health(&api, proxy, "web/a").await == "down").await;
    }
    let mut again = world.origin_at("again", killed.address).await;
    vulcan_tests::eventually("it is back", async || again.count().await.received > 50).await;
    let (requests, failures) = load.end().await;
    assert!(
        failures.is_empty(),
        "{} of {requests}, such as {}",
        failures.len(),
        failures[0]
    );
}
