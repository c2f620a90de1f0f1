//! Group commit as a state machine: submissions, the log's answers and the time go in; appends, reads and answers come
//! out. At most one append or read is in flight.
//!
//! ```text
//!           submit            Ok: publish, answer
//!   ┌──── Idle ──────► Appending ────────────────────► Idle
//!   │      ▲             │ ▲  │ Conflict: back to the queue, everything decided anew
//!   │      │             │ │  └───────────────────────► Reading
//!   │      │     Unknown │ │ after a rest, the same append
//!   │      │ rested      ▼ │
//!   │      └────────── Resting ◄──── the store cannot be reached
//!   └─ a decision that appends nothing ─► Reading ─► Idle: decided again, at the true head
//! ```
//!
//! **The true head.** A decision to append is checked by the append itself. One that appends nothing is only true if the
//! head it was made on was the log's head at some moment after its submission: after an append or a read that began no
//! earlier than that and succeeded. `Pending::arrived` and `Committer::proved` compare these moments.
//!
//! **Unknown outcomes.** An append that may have taken place is repeated, same revision and same `op_id`, until the log
//! says which it was, however long its writers have been answered; nothing else is appended before that.

mod draft;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shared::change::{Commit, Op, OpId, Revision};
use shared::time::Time;

use super::{Committed, Decide, Decision, Head, WriteError};
use crate::store::{AppendError, ReadError};
use draft::{Draft, Joined};

pub use draft::{REVISION_BYTES_MAX, size};

/// Writes that may wait at a time.
pub const QUEUE_MAX: usize = 4_096;

/// By when a write is answered, whatever the store does.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Between two attempts at a store that did not take the first.
const REST: Duration = Duration::from_millis(100);

/// Names a submission to whoever made it.
pub type Ticket = u64;

/// What is new in every commit, from outside: chance and the calendar.
pub struct Stamp {
    pub op_id: OpId,
    pub at_ms: u64,
}

pub type Stamper = Box<dyn FnMut() -> Stamp + Send>;

pub enum Input {
    Submit {
        ticket: Ticket,
        actor: Arc<str>,
        decide: Decide,
    },
    /// Of the append that was put out last.
    Appended(Result<(), AppendError>),
    /// Of the read that was put out last.
    Tail(Result<Tail, ReadError>),
    /// What others appended, in order, however it was learnt; what is held already does no harm.
    Heard(Vec<Arc<Commit>>),
    /// At `wake_at`, or at any other time.
    Timer,
}

/// The log after a revision.
pub struct Tail {
    /// By the strongest read.
    pub head: Revision,
    /// Without a hole; not necessarily all of them.
    pub commits: Vec<Arc<Commit>>,
}

#[derive(Debug)]
pub enum Output {
    Append {
        after: Revision,
        commit: Arc<Commit>,
    },
    /// Read the true head, and the commits after `from`.
    ReadTail {
        from: Revision,
    },
    /// To be published before any answer that follows.
    Publish {
        commit: Arc<Commit>,
        head: Arc<Head>,
    },
    Answer {
        ticket: Ticket,
        result: Box<Result<Committed, WriteError>>,
    },
}

pub struct Committer {
    head: Arc<Head>,
    queue: VecDeque<Pending>,
    flight: Flight,
    stamp: Stamper,
    /// Counts inputs: an order of moments.
    moment: u64,
    /// `head` was the log's head at some moment no earlier than this one.
    proved: u64,
}

struct Pending {
    ticket: Ticket,
    actor: Arc<str>,
    decide: Decide,
    arrived: u64,
    answer_by: Time,
}

enum Flight {
    Idle,
    Appending {
        attempt: Attempt,
    },
    Reading {
        began: u64,
        from: Revision,
    },
    /// With an attempt: that one is repeated afterwards.
    Resting {
        until: Time,
        attempt: Option<Attempt>,
    },
}

/// A commit on its way into the log.
struct Attempt {
    commit: Arc<Commit>,
    /// The head if it gets there.
    head: Arc<Head>,
    /// Those who still wait for it, with their own operations.
    packed: Vec<(Pending, Vec<Op>)>,
    /// When it was put out first. If a later try finds it there, others may have followed it meanwhile.
    began: u64,
    /// Some try of it may have reached the log.
    may_be_there: bool,
}

impl Committer {
    /// `head` was read from the log; nothing else writes through this committer's host.
    pub fn new(head: Arc<Head>, stamp: Stamper) -> Committer {
        Committer {
            head,
            queue: VecDeque::new(),
            flight: Flight::Idle,
            stamp,
            moment: 0,
            proved: 0,
        }
    }

    pub fn head(&self) -> &Arc<Head> {
        &self.head
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && matches!(self.flight, Flight::Idle)
    }

    pub fn handle(&mut self, input: Input, now: Time) -> Vec<Output> {
        self.moment += 1;
        let mut outputs = Vec::new();
        match input {
            Input::Submit { ticket, actor, decide } => self.submit(ticket, actor, decide, now, &mut outputs),
            Input::Appended(result) => self.appended(result, now, &mut outputs),
            Input::Tail(result) => self.read(result, now, &mut outputs),
            // What is built on this head is in flight: its own answer tells.
            Input::Heard(_) if self.attempt().is_some() => {}
            Input::Heard(commits) => self.fold(commits, &mut outputs),
            Input::Timer => {}
        }
        self.expire(now, &mut outputs);
        self.wake(now, &mut outputs);
        self.advance(&mut outputs);
        outputs
    }

    /// When `Timer` is due next.
    pub fn wake_at(&self) -> Option<Time> {
        let rested = match &self.flight {
            Flight::Resting { until, .. } => Some(*until),
            _ => None,
        };
        let packed = self
            .attempt()
            .and_then(|attempt| attempt.packed.iter().map(|(write, _)| write.answer_by).min());
        // The queue is in the order of arrival.
        let queued = self.queue.front().map(|write| write.answer_by);
        [rested, packed, queued].into_iter().flatten().min()
    }

    fn attempt(&self) -> Option<&Attempt> {
        match &self.flight {
            Flight::Appending { attempt, .. }
            | Flight::Resting {
                attempt: Some(attempt), ..
            } => Some(attempt),
            _ => None,
        }
    }

    fn submit(&mut self, ticket: Ticket, actor: Arc<str>, decide: Decide, now: Time, outputs: &mut Vec<Output>) {
        if self.queue.len() >= QUEUE_MAX {
            outputs.push(answer(ticket, Err(WriteError::Overloaded)));
            return;
        }
        let (arrived, answer_by) = (self.moment, now + ANSWER_WITHIN);
        self.queue.push_back(Pending {
            ticket,
            actor,
            decide,
            arrived,
            answer_by,
        });
    }

    fn appended(&mut self, result: Result<(), AppendError>, now: Time, outputs: &mut Vec<Output>) {
        let mut attempt = match std::mem::replace(&mut self.flight, Flight::Idle) {
            Flight::Appending { attempt } => attempt,
            other => {
                self.flight = other;
                return;
            }
        };
        match result {
            Ok(()) => {
                self.proved = attempt.began;
                self.committed(attempt, outputs);
            }
            Err(AppendError::Conflict) => {
                self.requeue(attempt);
                self.look(outputs);
            }
            Err(AppendError::Unavailable(_)) if !attempt.may_be_there => {
                self.requeue(attempt);
                self.flight = Flight::Resting {
                    until: now + REST,
                    attempt: None,
                };
            }
            Err(AppendError::Unavailable(_) | AppendError::Unknown(_)) => {
                attempt.may_be_there = true;
                self.flight = Flight::Resting {
                    until: now + REST,
                    attempt: Some(attempt),
                };
            }
        }
    }

    fn committed(&mut self, attempt: Attempt, outputs: &mut Vec<Output>) {
        let Attempt {
            commit, head, packed, ..
        } = attempt;
        self.head = head.clone();
        outputs.push(Output::Publish {
            commit: commit.clone(),
            head: head.clone(),
        });
        for (write, ops) in packed {
            let (revision, op_id, head) = (commit.revision, Some(commit.op_id), head.clone());
            outputs.push(answer(
                write.ticket,
                Ok(Committed {
                    revision,
                    appended: true,
                    head,
                    op_id,
                    ops,
                }),
            ));
        }
    }

    /// Its writes are decided anew, in the order in which they arrived.
    fn requeue(&mut self, attempt: Attempt) {
        self.queue.extend(attempt.packed.into_iter().map(|(write, _)| write));
        self.queue.make_contiguous().sort_by_key(|write| write.arrived);
    }

    fn look(&mut self, outputs: &mut Vec<Output>) {
        self.read_from_head(self.moment, outputs);
    }

    fn read_from_head(&mut self, began: u64, outputs: &mut Vec<Output>) {
        let from = self.head.state.revision;
        self.flight = Flight::Reading { began, from };
        outputs.push(Output::ReadTail { from });
    }

    fn read(&mut self, result: Result<Tail, ReadError>, now: Time, outputs: &mut Vec<Output>) {
        let Flight::Reading { began, from } = self.flight else {
            return;
        };
        let resting = Flight::Resting {
            until: now + REST,
            attempt: None,
        };
        let Ok(tail) = result else {
            self.flight = resting;
            return;
        };
        let held = self.head.state.revision;
        self.fold(tail.commits, outputs);
        let reached = self.head.state.revision;
        // A log that went back is no head to decide on: nothing is answered from it.
        if tail.head >= from && reached >= tail.head {
            self.proved = began;
            self.flight = Flight::Idle;
        } else if reached > held {
            self.read_from_head(began, outputs);
        } else {
            self.flight = resting;
        }
    }

    /// Publishes those that follow the head, up to a gap.
    fn fold(&mut self, commits: Vec<Arc<Commit>>, outputs: &mut Vec<Output>) {
        for commit in commits {
            if commit.revision <= self.head.state.revision {
                continue;
            }
            let Ok(head) = self.head.after(&commit) else { break };
            self.head = Arc::new(head);
            outputs.push(Output::Publish {
                commit,
                head: self.head.clone(),
            });
        }
    }

    /// Answers those whose time is over, each with what is known: what was never put out is not committed.
    fn expire(&mut self, now: Time, outputs: &mut Vec<Output>) {
        // In the order of arrival, so in that of their deadlines.
        let over = self.queue.iter().take_while(|write| write.answer_by <= now).count();
        for write in self.queue.drain(..over) {
            outputs.push(answer(write.ticket, Err(WriteError::Unavailable)));
        }
        if let Flight::Appending { attempt, .. }
        | Flight::Resting {
            attempt: Some(attempt), ..
        } = &mut self.flight
        {
            let op_id = attempt.commit.op_id;
            for (write, _) in attempt.packed.extract_if(.., |(write, _)| write.answer_by <= now) {
                outputs.push(answer(write.ticket, Err(WriteError::OutcomeUnknown { op_id })));
            }
        }
    }

    fn wake(&mut self, now: Time, outputs: &mut Vec<Output>) {
        match std::mem::replace(&mut self.flight, Flight::Idle) {
            Flight::Resting {
                until,
                attempt: Some(attempt),
            } if until <= now => self.append(attempt, outputs),
            Flight::Resting { until, attempt: None } if until <= now => {}
            other => self.flight = other,
        }
    }

    fn advance(&mut self, outputs: &mut Vec<Output>) {
        if !matches!(self.flight, Flight::Idle) {
            return;
        }
        let (drafted, must_read) = self.decide(outputs);
        match drafted {
            Some(attempt) => self.append(attempt, outputs),
            None if must_read => self.look(outputs),
            None => {}
        }
    }

    fn append(&mut self, attempt: Attempt, outputs: &mut Vec<Output>) {
        outputs.push(Output::Append {
            after: self.head.state.revision,
            commit: attempt.commit.clone(),
        });
        self.flight = Flight::Appending { attempt };
    }

    /// Runs through the queue: answers what can be answered, packs what can go into one revision, leaves the rest. Also
    /// tells whether something left waits for a read of the head.
    fn decide(&mut self, outputs: &mut Vec<Output>) -> (Option<Attempt>, bool) {
        let mut draft: Option<Draft> = None;
        let mut must_read = false;
        let mut left = VecDeque::with_capacity(self.queue.len());
        for write in std::mem::take(&mut self.queue) {
            let joined = match &mut draft {
                Some(draft) => draft.join(write),
                None => match draft::decide(&write, &self.head) {
                    Decision::Append(ops) => {
                        draft = Some(Draft::begin(&self.head, write, ops));
                        continue;
                    }
                    decided if self.proved >= write.arrived => {
                        outputs.push(answer(write.ticket, self.without_append(decided)));
                        continue;
                    }
                    _ => {
                        must_read = true;
                        Joined::Not(write)
                    }
                },
            };
            if let Joined::Not(write) = joined {
                left.push_back(write);
            }
        }
        self.queue = left;
        let attempt = draft.map(|draft| draft.seal((self.stamp)(), self.moment));
        (attempt, must_read)
    }

    fn without_append(&self, decided: Decision) -> Result<Committed, WriteError> {
        let head = self.head.clone();
        match decided {
            Decision::Refuse(problem) => Err(WriteError::Refused(problem)),
            Decision::Nothing | Decision::Append(_) => Ok(Committed {
                revision: head.state.revision,
                appended: false,
                head,
                op_id: None,
                ops: Vec::new(),
            }),
        }
    }
}

fn answer(ticket: Ticket, result: Result<Committed, WriteError>) -> Output {
    Output::Answer {
        ticket,
        result: Box::new(result),
    }
}

#[cfg(test)]
mod tests;
