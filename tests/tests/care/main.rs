//! Upstreams that start slowly, and upstreams that fail, under a fleet of real processes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod checks;
mod failing;
mod knobs;
mod seeing;
mod spreading;
mod starting;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use vulcan_tests::api::Api;
use vulcan_tests::node::Node;
use vulcan_tests::wire::{Connection, Request};

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
async fn listed(api: &Api, service: &str, upstream: &str) -> Vec<String> {
    let path = format!("/v1/services/{service}/upstreams?status=true");
    let list = api.get(&path).await.expect(200).body;
    let mut items = list["items"].as_array().unwrap().iter();
    told(items.find(|item| item["id"] == upstream).unwrap())
}

/// By proxy, what an item of a list with `?status=true` says of its health.
fn told(item: &Value) -> Vec<String> {
    let status = item["status"].as_array().unwrap().iter();
    let line = |one: &Value| {
        let health = one["health"].as_str().unwrap_or("–");
        format!("{} {health}", one["proxy"].as_str().unwrap())
    };
    status.map(line).collect()
}
