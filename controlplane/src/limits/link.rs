//! The stream to one other control plane, opened again and again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::duplex::{Address, Credentials, Duplex, Event};
use net::ndjson;
use shared::stream::planes::PlaneId;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::clock::Clock;
use super::peers::{Answer, Incoming, Line, PATH};

/// Between two questions.
pub const ASK_EVERY: Duration = Duration::from_millis(400);
/// Between two tries to open it.
const AGAIN: Duration = Duration::from_millis(150);

pub struct Link {
    pub own: PlaneId,
    pub peer: PlaneId,
    pub address: Address,
    pub credentials: Credentials,
    pub clock: Arc<dyn Clock>,
    pub incoming: mpsc::Sender<Incoming>,
}

impl Link {
    /// Until it is dropped.
    pub async fn run(self, mut outgoing: mpsc::Receiver<Bytes>) {
        loop {
            self.speak(&mut outgoing).await;
            // A full queue loses it; it is seen by its silence, too.
            let _ = self.incoming.try_send(Incoming::Lost { from: self.peer });
            tokio::time::sleep(AGAIN).await;
            // What was for the stream that ended is too late.
            while outgoing.try_recv().is_ok() {}
        }
    }

    /// Until the stream ends.
    async fn speak(&self, outgoing: &mut mpsc::Receiver<Bytes>) {
        let mut duplex: Duplex<Answer> = Duplex::open(self.address.clone(), PATH, self.credentials.clone());
        // Before anything else: it says who this is.
        duplex.send(self.question());
        let mut asks = tokio::time::interval(ASK_EVERY);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        asks.reset();
        loop {
            tokio::select! {
                event = duplex.next() => match event {
                    Event::Connected => {}
                    Event::Lines(answers) => answers.into_iter().for_each(|answer| self.hand(answer)),
                    Event::Disconnected(why) => {
                        tracing::debug!(peer = %self.peer.0, ?why, "no stream about limits to another control plane");
                        return;
                    }
                },
                _ = asks.tick() => drop(duplex.send(self.question())),
                Some(lines) = outgoing.recv() => drop(duplex.send(lines)),
            }
        }
    }

    fn question(&self) -> Bytes {
        ndjson::encode(&Line::Ask {
            from: self.own,
            asked: self.clock.read().mono,
        })
    }

    fn hand(&self, answer: Answer) {
        let from = self.peer;
        // What finds no room is asked again.
        let _ = self.incoming.try_send(Incoming::Answered { from, answer });
    }
}
