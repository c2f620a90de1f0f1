use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};

use net::announce::Announce;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::fixture;
use crate::phase::{self, Phase, PhaseSender};
use crate::view::Views;

/// Long enough for any machine; nothing waits for it to pass.
const AMPLE: Duration = Duration::from_secs(60);

mod passing;

struct Proxy {
    phase: PhaseSender,
    announce: Announce,
    listening: Listening,
    counted: Arc<Connections>,
    followed: JoinHandle<Result<(), WorkersError>>,
}

fn config(drain_timeout: Duration) -> Config {
    Config {
        drain_timeout,
        ..fixture::config("unused".as_ref())
    }
}

/// Echoes until the client's end.
async fn echo(_: ListenerKind, mut stream: TcpStream, _: SocketAddr, _: Rc<WorkerContext>) {
    let mut buffer = [0; 64];
    while let Ok(count) = stream.read(&mut buffer).await
        && count > 0
        && stream.write_all(&buffer[..count]).await.is_ok()
    {}
}

fn start<H, F>(drain_timeout: Duration, handler: H) -> Proxy
where
    H: Fn(ListenerKind, TcpStream, SocketAddr, Rc<WorkerContext>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let (workers, phase) = workers(drain_timeout, &Views::new(2), handler);
    follow(workers, phase)
}

fn workers<H, F>(drain_timeout: Duration, views: &Arc<Views>, handler: H) -> (Workers, PhaseSender)
where
    H: Fn(ListenerKind, TcpStream, SocketAddr, Rc<WorkerContext>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let (phase, receiver) = phase::channel();
    let config = Arc::new(config(drain_timeout));
    let workers = Workers::start(&config, views, &receiver, handler).unwrap();
    (workers, phase)
}

fn follow(workers: Workers, phase: PhaseSender) -> Proxy {
    let announce = Announce::to(std::io::sink());
    let receiver = phase.subscribe();
    Proxy {
        phase,
        listening: workers.listening(),
        counted: workers.connections().clone(),
        followed: tokio::spawn(workers.follow(receiver, announce.clone())),
        announce,
    }
}

impl Proxy {
    async fn listens(&mut self, wanted: bool) {
        let changed = self.listening.wait_for(|listening| *listening == wanted);
        timeout(AMPLE, changed).await.unwrap().unwrap();
    }

    async fn serve(&mut self) -> SocketAddr {
        self.phase.set(Phase::Serving { stale: false });
        self.listens(true).await;
        timeout(AMPLE, self.announce.bound("http")).await.unwrap()
    }

    async fn end(self) {
        timeout(AMPLE, self.followed).await.unwrap().unwrap().unwrap();
    }
}

async fn said(stream: &mut TcpStream, word: &[u8; 4]) -> std::io::Result<bool> {
    stream.write_all(word).await?;
    let mut back = [0; 4];
    timeout(AMPLE, stream.read_exact(&mut back)).await??;
    Ok(back == *word)
}

#[tokio::test]
async fn listeners_follow_the_phase_and_keep_their_port() {
    let mut proxy = start(AMPLE, echo);
    assert!(
        !*proxy.listening.borrow(),
        "nothing listens before the table has caught up"
    );
    let address = proxy.serve().await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert!(said(&mut stream, b"ping").await.unwrap());
        held.push(stream);
    }
    assert_eq!(proxy.counted.now(), 8);

    proxy.phase.set(Phase::Unready);
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert!(
        said(&mut stream, b"ping").await.unwrap(),
        "unready serves whoever comes"
    );

    proxy.phase.set(Phase::Stopped);
    proxy.listens(false).await;
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

    assert_eq!(proxy.serve().await, address);
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert!(said(&mut stream, b"ping").await.unwrap());
}

/// Says what it is, and echoes.
async fn named(kind: ListenerKind, mut stream: TcpStream, peer: SocketAddr, context: Rc<WorkerContext>) {
    let name = format!("{:5}", kind.name());
    if stream.write_all(name.as_bytes()).await.is_ok() {
        echo(kind, stream, peer, context).await;
    }
}

#[tokio::test]
async fn listeners_of_every_kind_open_and_close_together() {
    let mut config = config(AMPLE);
    let any = Some("127.0.0.1:0".parse().unwrap());
    (config.smtp, config.smtps) = (any, any);
    let (views, (phase, receiver)) = (Views::new(2), phase::channel());
    let workers = Workers::start(&Arc::new(config), &views, &receiver, named).unwrap();
    let mut proxy = follow(workers, phase);
    proxy.serve().await;
    let mut addresses = Vec::new();
    for kind in ListenerKind::ALL {
        let bound = proxy.announce.bound(kind.name());
        addresses.push((kind, timeout(AMPLE, bound).await.unwrap()));
    }
    let greeted = async |kind: ListenerKind, address: SocketAddr| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut name = [0; 5];
        timeout(AMPLE, stream.read_exact(&mut name)).await.unwrap().unwrap();
        assert_eq!(std::str::from_utf8(&name).unwrap().trim_end(), kind.name());
        stream
    };
    let mut held = Vec::new();
    for (kind, address) in &addresses {
        held.push(greeted(*kind, *address).await);
    }
    assert_eq!(proxy.counted.now(), 3, "they share one count");

    // Somebody takes the port of one of them for a while.
    proxy.phase.set(Phase::Stopped);
    proxy.listens(false).await;
    let taken = std::net::TcpListener::bind(addresses[1].1).unwrap();
    proxy.phase.set(Phase::Serving { stale: false });
    for at in [0, 2] {
        // It may not be open yet.
        let (kind, address) = addresses[at];
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        greeted(kind, address).await;
    }
    assert!(!*proxy.listening.borrow(), "one is missing");
    drop(taken);
    proxy.listens(true).await;
    greeted(addresses[1].0, addresses[1].1).await;

    proxy.phase.set(Phase::Draining);
    proxy.listens(false).await;
    for (_, address) in addresses {
        assert!(TcpStream::connect(address).await.is_err());
    }
    drop(held);
    proxy.end().await;
}

#[tokio::test]
async fn what_is_left_at_a_stop_is_cut() {
    let mut proxy = start(AMPLE, echo);
    let address = proxy.serve().await;
    let mut held = TcpStream::connect(address).await.unwrap();
    assert!(said(&mut held, b"ping").await.unwrap());
    proxy.phase.set(Phase::Stopped);
    let read = timeout(AMPLE, held.read(&mut [0; 1])).await.unwrap();
    assert!(!matches!(read, Ok(1..)), "the connection has ended");
}

#[tokio::test]
async fn a_drain_waits_for_what_is_under_way() {
    let mut proxy = start(AMPLE, echo);
    let address = proxy.serve().await;
    let mut held = TcpStream::connect(address).await.unwrap();
    assert!(said(&mut held, b"ping").await.unwrap());
    proxy.phase.set(Phase::Draining);
    proxy.listens(false).await;
    assert_eq!(
        TcpStream::connect(address).await.unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    assert!(said(&mut held, b"pong").await.unwrap(), "it goes on");
    assert!(!proxy.followed.is_finished());
    drop(held);
    proxy.end().await;
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_cut() {
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let seen = dropped.clone();
    let mut proxy = start(Duration::from_millis(1), move |kind, stream, peer, context| {
        let counted = Counted(seen.clone());
        async move {
            let _counted = counted;
            echo(kind, stream, peer, context).await;
            std::future::pending::<()>().await;
        }
    });
    let address = proxy.serve().await;
    let mut held = TcpStream::connect(address).await.unwrap();
    assert!(said(&mut held, b"ping").await.unwrap());
    proxy.phase.set(Phase::Draining);
    proxy.end().await;
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert!(!matches!(held.read(&mut [0; 1]).await, Ok(1..)));
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let mut config = config(AMPLE);
    let any = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.http = any.local_addr().unwrap();
    let (config, views) = (Arc::new(config), Views::new(2));
    let (phase, receiver) = phase::channel();
    let error = Workers::start(&config, &views, &receiver, echo).err().unwrap();
    assert!(error.to_string().starts_with("--http 127.0.0.1:"), "at once: {error}");
    drop(any);
    let workers = Workers::start(&config, &views, &receiver, echo).unwrap();
    let _taken = std::net::TcpListener::bind(config.http).unwrap();
    phase.set(Phase::Serving { stale: false });
    let followed = workers.follow(receiver, Announce::to(std::io::sink()));
    let error = timeout(AMPLE, followed).await.unwrap().unwrap_err();
    assert!(matches!(error, WorkersError::Bind(_)), "{error}");
}

#[tokio::test]
async fn what_was_queued_at_a_close_is_not_lost() {
    let listener = net::listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut acceptors = Acceptors::default();
    acceptors.open(ListenerKind::Smtp, listener);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    let queued = acceptors.close();
    assert_eq!(queued.len(), 3);
    assert!(!acceptors.any_open());
    assert!(TcpStream::connect(address).await.is_err());
    for ((kind, mut stream, _), client) in queued.into_iter().zip(&mut clients) {
        assert_eq!(kind, ListenerKind::Smtp);
        stream.write_all(b"x").await.unwrap();
        client.read_exact(&mut [0; 1]).await.unwrap();
    }
}
