//! The stream to one other control plane, opened again and again, and the calls on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use net::duplex::{Address, Credentials, Duplex, Event};
use net::ndjson;
use shared::stream::planes::PlaneId;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::peers::{Answer, Answered, Call, Line, PATH};

/// Calls that wait for the stream.
const WAITING_MAX: usize = 4_096;
/// Calls that are said together.
const TOGETHER_MAX: usize = 256;
/// Calls without an answer yet.
const UNANSWERED_MAX: usize = 16_384;
/// Between two tries to open it.
const AGAIN: Duration = Duration::from_millis(150);

enum Said {
    Call(Call, oneshot::Sender<Answered>),
    Line(Line),
}

/// To one of them.
pub struct Link {
    pub url: Arc<str>,
    said: mpsc::Sender<Said>,
    is_open: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

struct Speaker {
    own: PlaneId,
    peer: PlaneId,
    address: Address,
    credentials: Credentials,
    is_open: Arc<AtomicBool>,
}

/// A call on its way. It holds the link no longer.
pub struct Calling(Option<oneshot::Receiver<Answered>>);

impl Calling {
    /// None: it was not answered in time, and may have been heard or not.
    pub async fn within(self, deadline: Duration) -> Option<Answered> {
        tokio::time::timeout(deadline, self.0?).await.ok()?.ok()
    }
}

impl Link {
    pub fn open(own: PlaneId, peer: PlaneId, url: Arc<str>, credentials: Credentials) -> Option<Link> {
        let address = Address::parse(&url).ok()?;
        let (said, lines) = mpsc::channel(WAITING_MAX);
        let is_open = Arc::new(AtomicBool::new(false));
        let speaker = Speaker {
            own,
            peer,
            address,
            credentials,
            is_open: is_open.clone(),
        };
        Some(Link {
            url,
            said,
            is_open,
            _task: AbortOnDropHandle::new(tokio::spawn(speaker.run(lines))),
        })
    }

    pub fn call(&self, call: Call) -> Calling {
        // One that cannot be reached keeps nobody waiting.
        if !self.is_open.load(SeqCst) {
            return Calling(None);
        }
        let (answer, answered) = oneshot::channel();
        let queued = self.said.try_send(Said::Call(call, answer));
        Calling(queued.is_ok().then_some(answered))
    }

    /// It may be lost.
    pub fn say(&self, line: Line) {
        let _ = self.said.try_send(Said::Line(line));
    }
}

impl Speaker {
    /// Until it is dropped.
    async fn run(self, mut lines: mpsc::Receiver<Said>) {
        loop {
            self.speak(&mut lines).await;
            self.is_open.store(false, SeqCst);
            // Who called hears at once that there is no answer.
            while lines.try_recv().is_ok() {}
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Until the stream ends.
    async fn speak(&self, lines: &mut mpsc::Receiver<Said>) {
        let mut duplex: Duplex<Answer> = Duplex::open(self.address.clone(), PATH, self.credentials.clone());
        let (from, to) = (self.own, self.peer);
        duplex.send(ndjson::encode(&Line::Hello { from, to }));
        let mut unanswered = HashMap::new();
        let mut number = 0;
        loop {
            tokio::select! {
                event = duplex.next() => match event {
                    Event::Connected => self.is_open.store(true, SeqCst),
                    Event::Lines(answers) => {
                        for Answer { number, answered } in answers {
                            let waiting: Option<oneshot::Sender<Answered>> = unanswered.remove(&number);
                            // Whoever called may not wait any more.
                            let _ = waiting.map(|waiting| waiting.send(answered));
                        }
                    }
                    Event::Disconnected(why) => {
                        tracing::debug!(peer = %self.peer.0, ?why, "no stream about heartbeats to another control plane");
                        return;
                    }
                },
                Some(said) = lines.recv() => {
                    let buffer = gather(said, lines, &mut unanswered, &mut number);
                    if !duplex.send(buffer) {
                        // It takes no more.
                        return;
                    }
                }
            }
        }
    }
}

/// `first` and what else is there, in one buffer.
fn gather(
    first: Said,
    lines: &mut mpsc::Receiver<Said>,
    unanswered: &mut HashMap<u64, oneshot::Sender<Answered>>,
    number: &mut u64,
) -> Bytes {
    let mut buffer = BytesMut::new();
    let mut next = Some(first);
    for _ in 0..TOGETHER_MAX {
        let Some(said) = next.take().or_else(|| lines.try_recv().ok()) else {
            break;
        };
        let line = match said {
            Said::Line(line) => line,
            Said::Call(call, answer) => {
                if unanswered.len() >= UNANSWERED_MAX {
                    unanswered.retain(|_, waiting| !waiting.is_closed());
                }
                if unanswered.len() >= UNANSWERED_MAX {
                    continue;
                }
                *number += 1;
                unanswered.insert(*number, answer);
                Line::Call { number: *number, call }
            }
        };
        buffer.extend_from_slice(&ndjson::encode(&line));
    }
    buffer.freeze()
}
