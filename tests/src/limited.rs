//! Requests under limits: offered at a steady rate, and noted by their origin with the time of each.
//!
//! A request is admitted after it was sent and before it came to the origin, and on a busy machine that can be long. So what
//! is counted is how many were admitted *for certain* in an interval: sent after its begin, and come before its end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::wire::{Connection, Request};

/// When a client says that it sent a request, in nanoseconds since `BEGIN`.
const SENT: &str = "x-sent";
static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What a client says in it the origin says in its answer.
const USED: &str = "x-used";

/// An admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    came: Instant,
    /// As it came, where the client does not say.
    sent: Instant,
}

/// An origin in the test's own process that notes when each request was sent and came, by its path.
#[derive(Clone, Default)]
pub struct Witness(Arc<Mutex<BTreeMap<String, Vec<Seen>>>>);

impl Witness {
    /// Serves for as long as the test runs; told by its address.
    pub async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let witness = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let witness = witness.clone();
                tokio::spawn(async move { witness.connection(Connection::new(stream)).await });
            }
        });
        address
    }

    async fn connection(&self, mut connection: Connection) {
        connection.reader.patience = Duration::from_secs(600);
        while let Ok(Some((line, fields))) = connection.reader.request().await {
            let came = Instant::now();
            let sent = fields
                .one(SENT)
                .and_then(|nanos| nanos.parse().ok())
                .map(Duration::from_nanos);
            let sent = sent.map_or(came, |sent| *BEGIN + sent);
            self.lock()
                .entry(line.path().to_owned())
                .or_default()
                .push(Seen { came, sent });
            let used = fields.one(USED).map(|used| format!("{USED}: {used}\r\n"));
            let answer = format!(
                "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
                used.unwrap_or_default()
            );
            if connection.writer.send(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    /// When requests of a path came.
    pub fn times(&self, path: &str) -> Vec<Instant> {
        self.seen(path).into_iter().map(|seen| seen.came).collect()
    }

    fn seen(&self, path: &str) -> Vec<Seen> {
        let mut seen = self.lock().get(path).cloned().unwrap_or_default();
        seen.sort();
        seen
    }

    /// The most that were admitted for certain in any interval as long as `period`.
    pub fn most(&self, path: &str, period: Duration) -> usize {
        most(&self.seen(path), period)
    }

    pub fn assert_kept(&self, path: &str, threshold: usize, period: Duration) {
        let most = self.most(path, period);
        println!(
            "{path}: {} in all, at most {most} in {period:?}",
            self.times(path).len()
        );
        assert!(most <= threshold, "{path}: {most} within {period:?}");
    }

    pub fn since(&self, path: &str, begin: Instant) -> usize {
        self.times(path).into_iter().filter(|at| *at >= begin).count()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of requests in the order in which they came. An interval that has the most begins as one of them is sent.
fn most(seen: &[Seen], period: Duration) -> usize {
    let within = |begin: Instant| {
        let first = seen.partition_point(|one| one.came < begin);
        let last = seen.partition_point(|one| one.came < begin + period);
        seen[first..last].iter().filter(|one| one.sent >= begin).count()
    };
    seen.iter().map(|one| within(one.sent)).max().unwrap_or(0)
}

/// What clients heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    pub admitted: u64,
    pub refused: u64,
    /// Other answers.
    pub other: u64,
    /// None: the proxy was away, or went while it was asked.
    pub none: u64,
}

/// Clients that ask at a steady rate, whatever they hear.
pub struct Offer {
    heard: Arc<Mutex<Heard>>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Offer {
    /// `clients` at each of the proxies, each asking the service `web` for `path` every `every`.
    pub fn start(proxies: &[SocketAddr], clients: u32, every: Duration, path: &str) -> Offer {
        let offer = Offer {
            heard: Arc::default(),
            stop: CancellationToken::new(),
            clients: JoinSet::new(),
        };
        offer.with(proxies, clients, every, path)
    }

    pub fn with(mut self, proxies: &[SocketAddr], clients: u32, every: Duration, path: &str) -> Offer {
        for (n, proxy) in proxies.iter().enumerate() {
            for client in 0..clients {
                // They do not ask in step.
                let offset = every.mul_f64(f64::from(client) / f64::from(clients) + n as f64 / 7.0);
                let asking = ask(*proxy, offset, every, path.to_owned(), self.heard.clone());
                let stop = self.stop.clone();
                self.clients.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = asking => {}
                    }
                });
            }
        }
        self
    }

    pub fn heard(&self) -> Heard {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn stop(mut self) -> Heard {
        self.stop.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client does not panic");
        }
        self.heard()
    }
}

async fn ask(proxy: SocketAddr, offset: Duration, every: Duration, path: String, heard: Arc<Mutex<Heard>>) {
    let mut kept = None;
    let mut next = tokio::time::Instant::now() + offset;
    loop {
        tokio::time::sleep_until(next).await;
        next += every;
        let sent = BEGIN.elapsed().as_nanos().to_string();
        let request = Request::new("GET", &path, "web").with(SENT, &sent);
        let connection = match kept.take() {
            Some(connection) => Ok(connection),
            None => Connection::connect(proxy).await,
        };
        let mut status = None;
        if let Ok(mut connection) = connection
            && let Ok((head, _)) = connection.exchange(&request).await
        {
            status = Some(head.status);
            kept = (!head.closes()).then_some(connection);
        }
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        match status {
            Some(200) => heard.admitted += 1,
            Some(429) => heard.refused += 1,
            Some(_) => heard.other += 1,
            None => heard.none += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_end_before_they_are_as_long_as_the_period() {
        let begin = Instant::now();
        let at = |millis: u64| begin + Duration::from_millis(millis);
        let way = |(sent, came): &(u64, u64)| Seen {
            came: at(*came),
            sent: at(*sent),
        };
        let most =
            |ways: &[(u64, u64)]| super::most(&ways.iter().map(way).collect::<Vec<_>>(), Duration::from_millis(10));
        assert_eq!(most(&[]), 0);
        assert_eq!(most(&[(0, 0), (9, 9), (10, 10), (11, 11), (25, 25)]), 3);
        assert_eq!(most(&[(0, 0), (10, 10), (20, 20)]), 1);
        // The first may have been admitted long before it came.
        assert_eq!(most(&[(0, 8), (9, 9), (10, 11)]), 2);
    }
}
