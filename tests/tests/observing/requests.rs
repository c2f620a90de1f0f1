//! Requests of every sort, over two proxies: each is counted once, and has one line.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::authserver;
use vulcan_tests::eventually;
use vulcan_tests::metrics::Page;
use vulcan_tests::node::Node;
use vulcan_tests::wire::{Connection, Request};
use vulcan_tests::world::World;

use super::lines;

/// api:apikey, and api:wrong
const RIGHT: &str = "Basic YXBpOmFwaWtleQ==";
const WRONG: &str = "Basic YXBpOndyb25n";
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

const REQUESTS: &str = "vulcan_http_requests_total";
const ATTEMPTS: &str = "vulcan_upstream_requests_total";

/// How often a client was answered so, by service and status.
type Seen = BTreeMap<(String, u64), u64>;

struct Client {
    to: SocketAddr,
    /// Where its metrics are.
    status: Api,
    seen: Seen,
}

impl Client {
    async fn ask(&mut self, service: &str, request: Request) -> String {
        let reply = Api::new(self.to).send(&request).await;
        self.saw(service, reply.status.into());
        reply.text
    }

    fn saw(&mut self, service: &str, status: u64) {
        *self.seen.entry((service.to_owned(), status)).or_default() += 1;
    }

    /// Everything that a proxy can be asked.
    async fn asks_everything(&mut self) {
        for n in 0..20 {
            let secret = format!("/reflect?secret={n}");
            let request = Request::new("GET", &secret, "web");
            let request = request
                .with("x-request-id", &format!("id-{n}"))
                .with("traceparent", TRACE);
            let passed = self.ask("web", request).await;
            assert!(passed.contains(&format!("traceparent: {TRACE}\n")), "{passed}");
            assert!(passed.contains(&format!("x-request-id: id-{n}\n")), "{passed}");
        }
        let made = self.ask("web", Request::new("GET", "/reflect", "web")).await;
        assert!(
            made.contains("\ntraceparent: 00-") && made.contains("\nx-request-id: "),
            "{made}"
        );
        self.ask("web", Request::new("POST", "/digest", "web").body("hello"))
            .await;
        for code in [201, 204, 404, 418, 500] {
            self.ask("web", Request::new("GET", &format!("/status?code={code}"), "web"))
                .await;
        }
        for _ in 0..4 {
            self.ask("_none", Request::new("GET", "/", "nowhere")).await;
            self.ask("web", Request::new("GET", "/limited", "web")).await;
            self.ask("dead", Request::new("GET", "/", "dead")).await;
        }
        for credentials in [None, Some(WRONG), Some(RIGHT)] {
            for _ in 0..3 {
                let request = Request::new("GET", "/reflect", "guarded");
                let request = match credentials {
                    Some(credentials) => request.with("authorization", credentials),
                    None => request,
                };
                self.ask("guarded", request).await;
            }
        }
        self.sends_garbage().await;
        self.leaves().await;
    }

    async fn sends_garbage(&mut self) {
        let mut connection = Connection::connect(self.to).await.unwrap();
        connection
            .writer
            .send(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
            .await
            .unwrap();
        let head = connection.reader.final_head().await.unwrap();
        self.saw("_none", head.status.into());
    }

    /// Before it is answered.
    async fn leaves(&mut self) {
        let mut connection = Connection::connect(self.to).await.unwrap();
        let request = Request::new("GET", "/bytes?n=10&head=60000", "web");
        connection.writer.send(&request.encode()).await.unwrap();
        // Whoever closes before the request is read has asked nothing.
        eventually("the request is under way", async || {
            Page::scrape(&self.status).await.sum("vulcan_upstream_in_flight", &[]) >= 1.0
        })
        .await;
        connection.writer.close().await.unwrap();
        self.saw("web", 499);
    }
}

struct Stage {
    proxies: Vec<Node>,
    logs: Vec<PathBuf>,
    _control: Node,
    _world: World,
}

impl Stage {
    /// Two proxies; `web` and `guarded` before the origin, and `dead` before nobody.
    async fn new(origin: SocketAddr) -> Stage {
        let world = World::new();
        let control = world.control_plane("control", &[]).await;
        let api = control.api();
        let (mut proxies, mut logs) = (Vec::new(), Vec::new());
        for name in ["p1", "p2"] {
            let log = world.path(&format!("{name}.access"));
            let flags = ["--access-log", log.to_str().unwrap()];
            proxies.push(world.proxy(name, &api.url(), &flags).await);
            logs.push(log);
        }
        let users = world.path("users");
        std::fs::write(&users, "api:apikey ann\n").unwrap();
        let (address, _) = authserver::inside(&users).await;
        api.put("/v1/services/auth", json!({"match": []})).await.live();
        api.register("auth", "a", address).await;
        let main = json!({"service": "auth", "timeout": "10s"});
        api.put("/v1/authorizers/main", main).await.live();
        api.service("web", json!({})).await;
        api.service("guarded", json!({"authorizer": "main"})).await;
        api.service("dead", json!({})).await;
        api.register("web", "a", origin).await;
        api.register("guarded", "b", origin).await;
        // A port that nobody listens at.
        let closed = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        api.register("dead", "a", closed).await;
        let limit = json!({"path": "/limited", "threshold": 0});
        api.put("/v1/limits/00000000-0000-4000-8000-000000000001", limit)
            .await
            .live();
        Stage {
            proxies,
            logs,
            _control: control,
            _world: world,
        }
    }
}

/// By service and status, as the proxy tells it.
fn counted(page: &Page) -> Seen {
    let samples = page.all(REQUESTS);
    let counted = samples.map(|(labels, value)| {
        let key = (labels["service"].clone(), labels["code"].parse().unwrap());
        (key, value as u64)
    });
    counted.collect()
}

fn logged(lines: &[Value]) -> Seen {
    let mut seen = Seen::new();
    for line in lines {
        let service = line["service"].as_str().unwrap_or("_none").to_owned();
        *seen.entry((service, line["status"].as_u64().unwrap())).or_default() += 1;
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn each_is_counted_once_and_has_one_line() {
    let origins = World::new();
    let mut origin = origins.origin("o").await;
    let stage = Stage::new(origin.address).await;
    let mut successes = 0.0;
    for (proxy, log) in stage.proxies.iter().zip(&stage.logs) {
        let status = Api::new(proxy.status());
        let mut client = Client {
            to: proxy.http(),
            status: status.clone(),
            seen: Seen::new(),
        };
        client.asks_everything().await;
        let all: u64 = client.seen.values().sum();
        eventually("all are counted", async || {
            Page::scrape(&status).await.sum(REQUESTS, &[]) as u64 >= all
        })
        .await;
        eventually("all are logged", async || lines(log).len() as u64 >= all).await;
        let page = Page::scrape(&status).await;
        assert_eq!(counted(&page), client.seen, "{}", proxy.name);
        let lines = lines(log);
        assert_eq!(logged(&lines), client.seen, "{}", proxy.name);
        check_metrics(&page, all);
        check_log(&lines, &proxy.name);
        let text = std::fs::read_to_string(log).unwrap();
        for secret in ["secret", "apikey", "YXBp", "ann\""] {
            assert!(!text.contains(secret), "{secret} is in the log");
        }
        successes += page.sum(ATTEMPTS, &[("service", "web")]) + page.sum(ATTEMPTS, &[("service", "guarded")]);
    }
    assert_eq!(origin.count().await.received as f64, successes);
}

fn check_metrics(page: &Page, all: u64) {
    let took = page.sum("vulcan_http_request_duration_seconds_count", &[]);
    assert_eq!(took as u64, all, "each has a duration");
    let attempts = |service: &str, outcome: &str| page.sum(ATTEMPTS, &[("service", service), ("outcome", outcome)]);
    assert_eq!(attempts("web", "success"), 26.0);
    assert_eq!(attempts("web", "error"), 1.0);
    assert_eq!(attempts("web", "cancelled"), 1.0);
    assert_eq!(attempts("guarded", "success"), 3.0);
    assert_eq!(
        attempts("auth", "success") + attempts("auth", "error"),
        2.0,
        "one refusal, one grant"
    );
    assert!(attempts("dead", "connect") >= 1.0);
    assert_eq!(page.values(ATTEMPTS, "service").len(), 4);
    for (outcome, count) in [("unauthenticated", 3.0), ("refused", 3.0), ("allowed", 3.0)] {
        let labels = [("authorizer", "main"), ("outcome", outcome)];
        assert_eq!(page.sum("vulcan_auth_total", &labels), count, "{outcome}");
    }
    let refused = page.sum("vulcan_limit_decisions_total", &[("decision", "refused")]);
    assert_eq!(refused, 4.0);
    assert_eq!(page.sum("vulcan_access_log_dropped_total", &[]), 0.0);
    assert!(page.sum("vulcan_revision", &[]) >= 10.0);
    let lease = page.sum("vulcan_lease_seconds", &[]);
    assert!(lease > 0.0 && lease <= 10.0, "{lease}");
    for family in [
        "vulcan_mail_total",
        "vulcan_upstream_in_flight",
        "vulcan_build_info",
        "process_open_fds",
    ] {
        assert!(page.has(family), "{family}");
    }
}

fn check_log(lines: &[Value], proxy: &str) {
    let of = |fits: &dyn Fn(&Value) -> bool| lines.iter().filter(|line| fits(line)).cloned().collect::<Vec<_>>();
    assert!(
        lines
            .iter()
            .all(|line| line["proxy"] == proxy && line["client"] == "127.0.0.1")
    );
    let named = of(&|line| line["request_id"] == "id-7");
    let [line] = &named[..] else { panic!("{named:?}") };
    assert_eq!(
        [
            &line["method"],
            &line["host"],
            &line["path"],
            &line["upstream"],
            &line["error"]
        ],
        [
            &json!("GET"),
            &json!("web"),
            &json!("/reflect"),
            &json!("a"),
            &Value::Null
        ]
    );
    assert_eq!((&line["tries"], &line["bytes_in"]), (&json!(1), &json!(0)));
    assert!(
        line["bytes_out"].as_u64().unwrap() > 100 && line["duration_ms"].as_f64().unwrap() > 0.0,
        "{line}"
    );
    let upload = &of(&|line| line["method"] == "POST")[0];
    assert_eq!(upload["bytes_in"], 5);
    assert_eq!(upload["request_id"].as_str().unwrap().len(), 32);
    let limited = of(&|line| line["status"] == 429);
    assert!(
        limited
            .iter()
            .all(|line| line["limit"] == "00000000-0000-4000-8000-000000000001")
    );
    assert!(limited[0]["error"].as_str().unwrap().starts_with("quota-exceeded: "));
    let allowed = of(&|line| line["service"] == "guarded" && line["status"] == 200);
    // printf ann | sha256sum | cut -c 1-16
    assert!(allowed.iter().all(|line| line["auth_token_hash"] == "49915e0d7d4b402e"));
    let left = &of(&|line| line["status"] == 499)[0];
    assert_eq!(left["error"], "the connection ended before the answer");
    let garbage = &of(&|line| line["status"] == 400)[0];
    assert_eq!((&garbage["method"], &garbage["path"]), (&Value::Null, &Value::Null));
}
