//! Three callers, a thread each, that ask at a steady rate, whatever they hear.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::lane::{CALLERS, Client, Lane, clients};
use super::times::{Spans, Times};
use crate::histogram::Histogram;
use crate::process::own_time;

/// All begin together, when all threads run.
const LEAD: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Admitted,
    Refused,
    /// Nothing, or something else.
    Failed,
}

/// Where callers ask.
pub trait Asked: Sync {
    type Connection: Connection + 'static;

    fn connection(&self, client: &Client) -> Self::Connection;
}

/// Of one client; it connects when it is asked first, and again after a failure.
pub trait Connection {
    async fn ask(&mut self) -> Heard;
}

/// What was asked in one lane, and heard.
#[derive(Clone, Default)]
pub struct Answers {
    pub admitted: Histogram,
    pub refused: Histogram,
    pub failed: u64,
}

impl Answers {
    pub fn count(&self) -> u64 {
        self.admitted.count() + self.refused.count() + self.failed
    }

    pub fn longest(&self) -> Duration {
        self.admitted.max().max(self.refused.max())
    }
}

#[derive(Default)]
pub struct Outcome {
    /// By lane.
    pub answers: Vec<Answers>,
    /// When requests were sent, in order.
    pub offered: Times,
    pub admitted: Spans,
    /// Of the callers' threads.
    pub cpu: Duration,
}

/// For as long as `duration`; `meanwhile` is run beside it, and told when it begins.
pub fn run(
    asked: &impl Asked,
    lanes: &[Lane],
    duration: Duration,
    meanwhile: impl FnOnce(Instant) -> io::Result<()>,
) -> io::Result<Outcome> {
    let begin = Instant::now() + LEAD;
    let clients = clients(lanes);
    let mut whole = Outcome {
        answers: vec![Answers::default(); lanes.len()],
        ..Outcome::default()
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let mine: Vec<Client> = clients
                    .iter()
                    .filter(|client| client.caller == caller)
                    .copied()
                    .collect();
                scope.spawn(move || call(asked, lanes, &mine, begin, begin + duration))
            })
            .collect();
        let meanwhile = meanwhile(begin);
        for caller in callers {
            let part = caller.join().map_err(|_| io::Error::other("a caller panicked"))??;
            whole.merge(part);
        }
        meanwhile
    })?;
    whole.offered.values_mut().for_each(|times| times.sort());
    whole.admitted.values_mut().for_each(|spans| spans.sort());
    Ok(whole)
}

impl Outcome {
    fn merge(&mut self, part: Outcome) {
        for (mine, theirs) in self.answers.iter_mut().zip(part.answers) {
            mine.admitted.merge(&theirs.admitted);
            mine.refused.merge(&theirs.refused);
            mine.failed += theirs.failed;
        }
        for (key, times) in part.offered {
            self.offered.entry(key).or_default().extend(times);
        }
        for (key, spans) in part.admitted {
            self.admitted.entry(key).or_default().extend(spans);
        }
        self.cpu += part.cpu;
    }

    fn note(&mut self, client: &Client, sent: Instant, heard: Heard) {
        let (now, key) = (Instant::now(), (client.lane, client.token));
        self.offered.entry(key).or_default().push(sent);
        let answers = &mut self.answers[client.lane];
        match heard {
            Heard::Admitted => {
                answers.admitted.record(now - sent);
                self.admitted.entry(key).or_default().push((sent, now));
            }
            Heard::Refused => answers.refused.record(now - sent),
            Heard::Failed => answers.failed += 1,
        }
    }
}

/// One caller's clients, on this thread.
fn call(asked: &impl Asked, lanes: &[Lane], clients: &[Client], begin: Instant, end: Instant) -> io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = Rc::new(RefCell::new(Outcome {
        answers: vec![Answers::default(); lanes.len()],
        ..Outcome::default()
    }));
    let before = own_time();
    LocalSet::new().block_on(&runtime, async {
        let asking = clients.iter().map(|client| {
            let (client, outcome, lane) = (*client, outcome.clone(), lanes[client.lane]);
            let connection = asked.connection(&client);
            tokio::task::spawn_local(ask(connection, lane, client, begin, end, outcome))
        });
        for asking in asking.collect::<Vec<_>>() {
            asking.await.map_err(io::Error::other)?;
        }
        Ok::<_, io::Error>(())
    })?;
    let mut outcome = outcome.take();
    outcome.cpu = own_time() - before;
    Ok(outcome)
}

async fn ask(
    mut connection: impl Connection,
    lane: Lane,
    client: Client,
    begin: Instant,
    end: Instant,
    outcome: Rc<RefCell<Outcome>>,
) {
    let mut next = begin + client.offset;
    while next < end && Instant::now() < end {
        tokio::time::sleep_until(next.into()).await;
        if lane.shape.is_on(client.caller, next - begin) {
            let sent = Instant::now();
            let heard = connection.ask().await;
            outcome.borrow_mut().note(&client, sent, heard);
        }
        next += client.every;
    }
}
