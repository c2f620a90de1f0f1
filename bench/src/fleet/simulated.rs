//! Many simulated proxies in one process and on one thread, each with a connection of its own.
//!
//! It is told what to do by lines on standard input: `stats` prints what came so far as one JSON line, `cut` closes every
//! connection, `rejoin` opens them again. The end of standard input ends it.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use serde_json::json;
use shared::change::Revision;
use shared::time::Time;

use super::http2::{Event, Http2};
use super::link::{Broken, Counts, Link};

const WAKE: Token = Token(usize::MAX);
/// Connections that may be without a welcome at one time.
const JOINING_MAX: usize = 64;
/// How often everything that a timer decides is looked at.
const TICK: Duration = Duration::from_millis(5);
const PULSE: Duration = Duration::from_secs(1);
const SNAPSHOT_AGAIN: Duration = Duration::from_millis(300);

#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    #[arg(long)]
    controlplane: SocketAddr,
    #[arg(long)]
    proxies: usize,
}

struct Fleet {
    poll: Poll,
    target: SocketAddr,
    proxies: Vec<Proxy>,
    /// Those that want a connection.
    waiting: VecDeque<usize>,
    joining: usize,
    counts: Counts,
    lost: u64,
    last_loss: Option<String>,
    began: Instant,
    scratch: Vec<u8>,
}

struct Proxy {
    link: Link,
    connection: Option<Connection>,
}

struct Connection {
    socket: TcpStream,
    http2: Http2,
    welcomed: bool,
    /// The stream of the snapshot's answer, and whether it was a 200.
    snapshot: Option<(u32, bool)>,
    snapshot_again: Option<Instant>,
    pulse: Instant,
}

/// Serves until standard input ends.
pub fn run(options: &Options) -> io::Result<()> {
    let poll = Poll::new()?;
    let commands = commands(Arc::new(Waker::new(poll.registry(), WAKE)?));
    let proxy = |n| Proxy {
        link: Link::new(&format!("simulated-{n}")),
        connection: None,
    };
    let mut fleet = Fleet {
        poll,
        target: options.controlplane,
        proxies: (0..options.proxies).map(proxy).collect(),
        waiting: (0..options.proxies).collect(),
        joining: 0,
        counts: Counts::default(),
        lost: 0,
        last_loss: None,
        began: Instant::now(),
        scratch: vec![0; 256 * 1024],
    };
    let mut events = Events::with_capacity(1024);
    let mut ticked = Instant::now();
    loop {
        match fleet.poll.poll(&mut events, Some(TICK)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in events.iter().filter(|event| event.token() != WAKE) {
            let Token(index) = event.token();
            let result = fleet.progress(index, event.is_read_closed());
            fleet.settle(index, result);
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            fleet.tick();
        }
        loop {
            match commands.try_recv().as_deref() {
                Ok("stats") => println!("{}", fleet.stats()),
                Ok("cut") => fleet.cut(),
                Ok("rejoin") => fleet.waiting = (0..fleet.proxies.len()).collect(),
                Ok(_) => {}
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            }
        }
    }
}

fn commands(waker: Arc<Waker>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() || waker.wake().is_err() {
                return;
            }
        }
    });
    receiver
}

impl Fleet {
    fn tick(&mut self) {
        while self.joining < JOINING_MAX
            && let Some(index) = self.waiting.pop_front()
        {
            self.joining += 1;
            let result = self.join(index);
            self.settle(index, result);
        }
        let (now, time) = (Instant::now(), self.now());
        for index in 0..self.proxies.len() {
            let Proxy {
                link,
                connection: Some(connection),
            } = &mut self.proxies[index]
            else {
                continue;
            };
            let result = connection.tick(link, self.target, now, time);
            self.settle(index, result);
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.began.elapsed()
    }

    fn join(&mut self, index: usize) -> io::Result<()> {
        let mut socket = TcpStream::connect(self.target)?;
        socket.set_nodelay(true)?;
        self.poll
            .registry()
            .register(&mut socket, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        let mut http2 = Http2::default();
        http2.post(&self.target.to_string(), "/v1/stream", "application/x-ndjson");
        let proxy = &mut self.proxies[index];
        http2.send(&proxy.link.hello()?);
        // Pulses are spread over the second, as those of real proxies are.
        let pulse = Instant::now() + PULSE.mul_f64(index as f64 / self.proxies.len() as f64);
        let connection = Connection {
            socket,
            http2,
            welcomed: false,
            snapshot: None,
            snapshot_again: None,
            pulse,
        };
        self.proxies[index].connection.insert(connection).flush()
    }

    fn progress(&mut self, index: usize, closing: bool) -> io::Result<()> {
        let now = self.now();
        let Some(Proxy {
            link,
            connection: Some(connection),
        }) = self.proxies.get_mut(index)
        else {
            return Ok(());
        };
        loop {
            let read = match connection.socket.read(&mut self.scratch) {
                Ok(0) => return Err(io::Error::other("closed by the control plane")),
                Ok(read) => read,
                Err(error) if not_now(&error) => break,
                Err(error) => return Err(error),
            };
            connection.take(link, &self.scratch[..read], &mut self.counts)?;
            if read < self.scratch.len() && !closing {
                break;
            }
        }
        if link.offer.is_some() && connection.snapshot.is_none() && connection.snapshot_again.is_none() {
            connection.fetch(link, self.target);
        }
        if link.welcomed() && !connection.welcomed {
            connection.welcomed = true;
            self.joining -= 1;
        }
        if link.owes && connection.http2.send(&link.state(now, true)?) {
            link.owes = false;
            self.counts.levels += 1;
        }
        connection.flush()
    }

    /// A proxy that lost its connection comes back.
    fn settle(&mut self, index: usize, result: io::Result<()>) {
        let Err(error) = result else { return };
        self.lost += 1;
        self.last_loss = Some(error.to_string());
        self.close(index);
        self.waiting.push_back(index);
    }

    fn close(&mut self, index: usize) {
        if self.proxies[index]
            .connection
            .take()
            .is_none_or(|connection| !connection.welcomed)
        {
            self.joining = self.joining.saturating_sub(1);
        }
    }

    fn cut(&mut self) {
        self.waiting.clear();
        (0..self.proxies.len())
            .filter(|index| self.proxies[*index].connection.is_some())
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|index| self.close(index));
    }

    fn stats(&self) -> serde_json::Value {
        let connected = || self.proxies.iter().filter(|proxy| proxy.connection.is_some());
        json!({
            "caught_up": connected().filter(|proxy| proxy.link.caught_up()).count(),
            "applied_min": connected().map(|proxy| proxy.link.applied).min().unwrap_or(Revision::ZERO),
            "changes": self.counts.changes,
            "change_bytes": self.counts.change_bytes,
            "levels": self.counts.levels,
            "snapshots": self.counts.snapshots,
            "gaps": self.counts.gaps,
            "lost": self.lost,
            "last_loss": self.last_loss,
        })
    }
}

impl Connection {
    fn take(&mut self, link: &mut Link, bytes: &[u8], counts: &mut Counts) -> Result<(), Broken> {
        let (mut result, mut again) = (Ok(()), false);
        let snapshot = &mut self.snapshot;
        let fed = self.http2.feed(bytes, |event| {
            let step = match event {
                Event::Head { stream: 1, ok: true } => Ok(()),
                Event::Head { stream: 1, ok: false } => Err(Broken("the stream was refused".into())),
                Event::Data { stream: 1, bytes } => link.feed(bytes, counts),
                Event::End { stream: 1 } => Err(Broken("the stream ended".into())),
                Event::Head { ok, .. } => {
                    snapshot.iter_mut().for_each(|(_, status)| *status = ok);
                    Ok(())
                }
                Event::Data { .. } => Ok(()),
                Event::End { .. } => match snapshot.take() {
                    Some((_, true)) => link.fetched(counts),
                    _ => {
                        again = true;
                        Ok(())
                    }
                },
            };
            if result.is_ok() {
                result = step;
            }
        });
        if again {
            self.snapshot_again = Some(Instant::now() + SNAPSHOT_AGAIN);
        }
        fed.map_err(|error| Broken(error.to_string())).and(result)
    }

    fn fetch(&mut self, link: &Link, target: SocketAddr) {
        self.snapshot_again = None;
        self.snapshot = link
            .offer
            .as_ref()
            .map(|offer| (self.http2.get(&target.to_string(), &offer.path), false));
    }

    fn tick(&mut self, link: &mut Link, target: SocketAddr, now: Instant, time: Time) -> io::Result<()> {
        if self.snapshot_again.is_some_and(|at| at <= now) {
            self.fetch(link, target);
        }
        if self.pulse <= now && link.welcomed() {
            self.pulse = now + PULSE;
            let owed = link.owes;
            if self.http2.send(&link.state(time, owed)?) {
                link.owes = false;
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while written < self.http2.out.len() {
            match self.socket.write(&self.http2.out[written..]) {
                Ok(part) => written += part,
                Err(error) if not_now(&error) => break,
                Err(error) => return Err(error),
            }
        }
        self.http2.out.drain(..written);
        Ok(())
    }
}

impl From<Broken> for io::Error {
    fn from(Broken(what): Broken) -> io::Error {
        io::Error::other(what)
    }
}

fn not_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted
    )
}
