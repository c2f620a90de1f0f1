//! The application behind the proxy: takes every request, keeps it whole, and answers as it is told.
//!
//! Several may share one inbox, as the instances of a deployment share a database. One that is killed closes its port and
//! cuts its connections at once, wherever it stands.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::submitted::Submitted;
use crate::wire::{Body, Connection, Fields, RequestLine};

const BACKLOG: u32 = 1024;

/// A request that came whole.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub line: RequestLine,
    pub fields: Fields,
    pub body: Vec<u8>,
    /// Which application took it.
    pub at: SocketAddr,
    pub came: Instant,
}

impl Delivery {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.one(name)
    }

    /// What a client's resend has again.
    #[track_caller]
    pub fn key(&self) -> &str {
        self.field("idempotency-key").expect("every delivery has a key")
    }

    /// Of the shape `submit`.
    #[track_caller]
    pub fn submitted(&self) -> Submitted {
        Submitted::of(self)
    }
}

/// What is answered, as bytes.
#[derive(Clone, Debug)]
pub struct Answer {
    pub bytes: Vec<u8>,
    /// It sends only so many of them, and dies.
    pub cut: Option<usize>,
    pub after: Duration,
}

impl Answer {
    pub fn of(status: u16, fields: &str, body: &str) -> Answer {
        let length = body.len();
        let text = format!("HTTP/1.1 {status} Told\r\n{fields}content-length: {length}\r\n\r\n{body}");
        Answer {
            bytes: text.into_bytes(),
            cut: None,
            after: Duration::ZERO,
        }
    }

    pub fn status(status: u16) -> Answer {
        Answer::of(status, "", "")
    }

    pub fn cut(mut self, at: usize) -> Answer {
        self.cut = Some(at);
        self
    }

    pub fn after(mut self, delay: Duration) -> Answer {
        self.after = delay;
        self
    }
}

struct Desk {
    deliveries: Mutex<Vec<Delivery>>,
    /// By path; the last that fits.
    answers: Mutex<Vec<(Option<String>, Answer)>>,
    /// While it is true, nobody is answered.
    is_held: watch::Sender<bool>,
}

/// What applications were given.
#[derive(Clone)]
pub struct Inbox(Arc<Desk>);

impl Default for Inbox {
    fn default() -> Inbox {
        Inbox(Arc::new(Desk {
            deliveries: Mutex::default(),
            answers: Mutex::new(vec![(None, Answer::of(200, "", "taken\n"))]),
            is_held: watch::Sender::new(false),
        }))
    }
}

impl Inbox {
    /// From the next request on.
    pub fn answer(&self, answer: Answer) {
        lock(&self.0.answers).push((None, answer));
    }

    /// Likewise, at this path alone.
    pub fn answer_at(&self, path: &str, answer: Answer) {
        lock(&self.0.answers).push((Some(path.to_owned()), answer));
    }

    /// Requests are taken, and answered only after `release`.
    pub fn hold(&self) {
        self.0.is_held.send_replace(true);
    }

    pub fn release(&self) {
        self.0.is_held.send_replace(false);
    }

    /// All so far, in the order in which they came.
    pub fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.0.deliveries).clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.0.deliveries).len()
    }

    /// Those of now; later ones begin a new list.
    pub fn take(&self) -> Vec<Delivery> {
        std::mem::take(&mut *lock(&self.0.deliveries))
    }

    /// The only one.
    #[track_caller]
    pub fn one(&self) -> Delivery {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "deliveries");
        all.remove(0)
    }

    fn answer_to(&self, path: &str) -> Answer {
        let answers = lock(&self.0.answers);
        let fits = |(at, _): &&(Option<String>, Answer)| at.as_deref().is_none_or(|at| at == path);
        let found = answers.iter().rev().find(fits);
        found.map(|(_, answer)| answer.clone()).expect("the first fits all")
    }

    async fn released(&self) {
        let mut is_held = self.0.is_held.subscribe();
        // The sender lives as long as the inbox.
        let _ = is_held.wait_for(|is_held| !is_held).await;
    }

    async fn connection(&self, mut connection: Connection, at: SocketAddr) -> io::Result<()> {
        // An idle connection is the proxy's to keep.
        connection.reader.patience = Duration::from_secs(600);
        while let Some((line, fields)) = connection.reader.request().await? {
            let body = Body::of_request(&fields)?.all(&mut connection.reader).await?;
            let answer = self.answer_to(line.path());
            let came = Instant::now();
            // A proxy's own question whether this one is well again.
            if line.target != "*" {
                lock(&self.0.deliveries).push(Delivery {
                    line,
                    fields,
                    body,
                    at,
                    came,
                });
            }
            tokio::time::sleep(answer.after).await;
            self.released().await;
            let sent = answer.cut.unwrap_or(answer.bytes.len());
            connection.writer.send(&answer.bytes[..sent]).await?;
            if answer.cut.is_some() {
                return connection.writer.close().await;
            }
        }
        Ok(())
    }
}

pub struct Application {
    pub address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Application {
    pub async fn start(inbox: &Inbox) -> Application {
        Application::at(inbox, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Where another one was, or on a port of the system's choice.
    pub async fn at(inbox: &Inbox, address: SocketAddr) -> Application {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        crate::eventually(&format!("{address} is free"), async || socket.bind(address).is_ok()).await;
        let listener = socket.listen(BACKLOG).expect("a bound socket listens");
        let address = listener.local_addr().expect("a bound listener has an address");
        let inbox = inbox.clone();
        let serving = tokio::spawn(async move {
            // Dropped with the task, and its connections with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let inbox = inbox.clone();
                connections.spawn(async move {
                    if let Err(error) = inbox.connection(Connection::new(stream), address).await {
                        eprintln!("application at {address}: {error}");
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Application { address, serving }
    }

    /// Returns when nothing of it is left.
    pub async fn kill(mut self) -> SocketAddr {
        self.serving.abort();
        let _ = (&mut self.serving).await;
        self.address
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
