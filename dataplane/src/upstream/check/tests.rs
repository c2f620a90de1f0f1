use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::fixture::Registry;
use crate::upstream::health::Standing;
use crate::view::Views;

const AMPLE: Duration = Duration::from_secs(20);

/// Answers every connection's request with the status of now; 0 is no answer.
struct Server {
    address: String,
    status: watch::Sender<u16>,
    heads: watch::Receiver<Vec<String>>,
    _serving: AbortOnDropHandle<()>,
}

impl Server {
    async fn new(status: u16) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (says, heard) = (watch::Sender::new(status), watch::Sender::new(Vec::new()));
        let (status, heads) = (says.clone(), heard.subscribe());
        let serving = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut head).await.unwrap();
                }
                heard.send_modify(|heads| heads.push(String::from_utf8(head).unwrap()));
                match *says.borrow() {
                    0 => {}
                    status => {
                        let answer =
                            format!("HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
                        stream.try_write(answer.as_bytes()).unwrap();
                    }
                }
                if *says.borrow() == 0 {
                    open.push(stream);
                } else {
                    stream.shutdown().await.unwrap();
                }
            }
        });
        Server {
            address,
            status,
            heads,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    async fn asked(&mut self, times: usize) {
        let asked = self.heads.wait_for(|heads| heads.len() >= times);
        tokio::time::timeout(AMPLE, asked).await.unwrap().unwrap();
    }
}

struct Stage {
    views: Arc<Views>,
    registry: Registry,
    _keeping: AbortOnDropHandle<()>,
}

impl Stage {
    /// A proxy that starts with these upstreams.
    fn new(fields: &str, upstreams: &[(&str, &str)]) -> Stage {
        let views = Views::new(1);
        let mut registry = Registry::default();
        registry.service("web", &service(fields));
        let keeping = tokio::spawn(views.checks().clone().keep(CancellationToken::new()));
        let mut stage = Stage {
            views,
            registry,
            _keeping: AbortOnDropHandle::new(keeping),
        };
        for (id, address) in upstreams {
            stage.registry.upstream(id, &format!(r#"{{"address":"{address}"}}"#));
        }
        stage.registry.deploy(&stage.views);
        stage
    }

    fn register(&mut self, id: &str, address: &str) {
        self.registry.upstream(id, &format!(r#"{{"address":"{address}"}}"#));
        self.registry.deploy(&self.views);
    }

    fn endpoint(&self, id: &str) -> Arc<Endpoint> {
        let view = self.views.now();
        let pool = view.pool(&"web".try_into().unwrap()).unwrap();
        pool.endpoint(&id.try_into().unwrap()).unwrap().clone()
    }

    fn standing(&self, id: &str) -> Standing {
        self.endpoint(id).health().standing(StdInstant::now)
    }

    async fn stands(&self, id: &str, standing: Standing) {
        let reached = async {
            while self.standing(id) != standing {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(AMPLE, reached).await.unwrap();
    }

    fn warming(&self) -> Vec<(String, String)> {
        let warming = self.views.checks().warming().into_iter();
        warming.map(|one| (one.id.to_string(), one.last.to_string())).collect()
    }
}

fn service(fields: &str) -> String {
    format!(r#"{{"match":[{{}}],"health_check":{{"path":"/up?x=1","interval":"10ms"{fields}}}}}"#)
}

#[tokio::test]
async fn failures_in_a_row_take_it_out_and_passes_bring_it_back() {
    let mut server = Server::new(204).await;
    let stage = Stage::new(r#","unhealthy_after":2,"healthy_after":2"#, &[("a", &server.address)]);
    assert_eq!(stage.standing("a"), Standing::Up, "what was there at the start is up");
    assert_eq!(stage.warming(), []);
    server.asked(3).await;
    assert_eq!(stage.standing("a"), Standing::Up);
    // A redirect is no pass, and is not followed.
    server.status.send_replace(302);
    stage.stands("a", Standing::Failed).await;
    server.status.send_replace(200);
    stage.stands("a", Standing::Up).await;

    let expected = format!(
        "GET /up?x=1 HTTP/1.1\r\nhost: {}\r\nuser-agent: vulcan-health-check\r\naccept: */*\r\nconnection: close\r\n\r\n",
        server.address
    );
    assert!(server.heads.borrow().iter().all(|head| *head == expected));
}

#[tokio::test]
async fn what_comes_live_is_warming_until_it_passes() {
    let (old, mut new) = (Server::new(200).await, Server::new(503).await);
    let mut stage = Stage::new(r#","healthy_after":3"#, &[("old", &old.address)]);
    let mut passed = stage.views.checks().passed();
    stage.register("new", &new.address);
    assert_eq!(stage.standing("new"), Standing::Warming);
    assert_eq!(stage.warming().len(), 1, "from the swap on");
    new.asked(4).await;
    assert_eq!(stage.warming(), [("new".to_owned(), "status 503".to_owned())]);

    // A change that is none of its own leaves it as it is.
    stage.register("other", &old.address);
    assert_eq!(stage.standing("new"), Standing::Warming);
    new.status.send_replace(200);
    stage.stands("new", Standing::Up).await;
    stage.stands("other", Standing::Up).await;
    assert_eq!(stage.warming(), []);
    assert!(passed.has_changed().unwrap());
    passed.borrow_and_update();

    // It fails later: that is another thing.
    new.status.send_replace(503);
    stage.stands("new", Standing::Failed).await;
    assert_eq!(stage.warming(), []);
}

#[tokio::test]
async fn a_service_without_checks_has_nothing_to_wait_for() {
    let server = Server::new(503).await;
    let mut stage = Stage::new("", &[]);
    stage.register("a", &server.address);
    assert_eq!(stage.standing("a"), Standing::Warming);
    stage.registry.service("web", r#"{"match":[{}]}"#);
    stage.registry.deploy(&stage.views);
    assert_eq!((stage.standing("a"), stage.warming()), (Standing::Up, vec![]));
    stage.register("b", &server.address);
    assert_eq!(stage.standing("b"), Standing::Up);

    // Checks that begin later take it out, and do not make it warm.
    stage.registry.service("web", &service(""));
    stage.registry.deploy(&stage.views);
    assert_eq!(stage.warming(), []);
    stage.stands("a", Standing::Failed).await;
    stage.stands("b", Standing::Failed).await;
}

#[tokio::test]
async fn a_check_is_in_flight_and_ends_with_the_registration() {
    let mut silent = Server::new(0).await;
    let mut stage = Stage::new(r#","timeout":"1h""#, &[("a", &silent.address)]);
    silent.asked(1).await;
    let endpoint = stage.endpoint("a");
    assert_eq!(endpoint.in_flight(), 1);
    let mut changed = stage.views.changed();
    stage.registry.delete(shared::change::Kind::Upstream, "web/a");
    stage.registry.deploy(&stage.views);
    while !stage.views.draining().is_empty() {
        tokio::time::timeout(AMPLE, changed.changed()).await.unwrap().unwrap();
    }
    assert_eq!(endpoint.in_flight(), 0);
}

#[tokio::test]
async fn why_a_check_failed_is_told() {
    let nowhere = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let silent = Server::new(0).await;
    let mut stage = Stage::new(r#","timeout":"50ms""#, &[]);
    stage.register("dead", &nowhere);
    stage.register("silent", &silent.address);
    let told = async {
        loop {
            match stage.warming().as_slice() {
                [(_, dead), (_, late)] if dead.contains("took no connection") && late == "no answer within 50 ms" => {
                    return;
                }
                _ => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(AMPLE, told).await.unwrap();
}
