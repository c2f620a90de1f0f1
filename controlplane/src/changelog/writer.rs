//! The committer's shell: carries out what it puts out, one effect at a time.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::clock::boottime;
use net::said::Trouble;
use shared::change::{Commit, Revision};
use shared::time::Time;
use tokio::sync::{mpsc, oneshot};

use super::committer::{Committer, Input, Output, Tail, Ticket};
use super::history::COMMITS_KEPT;
use super::tail::Heard;
use super::{Committed, Decide, Shared, WriteError};
use crate::store::{AppendError, Log, ReadError};

/// Commits read at once to catch up.
const PAGE: usize = 1_000;

/// How many revisions there are between two trims.
const TRIM_EVERY: u64 = 1_000;

pub struct Submission {
    pub actor: Arc<str>,
    pub decide: Decide,
    pub answer: oneshot::Sender<Result<Committed, WriteError>>,
}

type Effect = Pin<Box<dyn Future<Output = Input> + Send>>;

pub struct Writer {
    committer: Committer,
    log: Arc<dyn Log>,
    shared: Arc<Shared>,
    waiting: HashMap<Ticket, oneshot::Sender<Result<Committed, WriteError>>>,
    next_ticket: Ticket,
    effect: Option<Effect>,
    /// Where the read begins that was put out last.
    reads_from: Revision,
    troubles: Troubles,
}

/// What is tried again ten times a second.
#[derive(Default)]
struct Troubles {
    append: Trouble,
    read: Trouble,
    went_back: Trouble,
}

impl Writer {
    pub fn new(committer: Committer, log: Arc<dyn Log>, shared: Arc<Shared>) -> Writer {
        Writer {
            committer,
            log,
            shared,
            waiting: HashMap::new(),
            next_ticket: 0,
            effect: None,
            reads_from: Revision::ZERO,
            troubles: Troubles::default(),
        }
    }

    /// Until nobody can submit any more and everything is answered.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Submission>, mut heard: mpsc::Receiver<Heard>) {
        let mut open = true;
        while open || !self.waiting.is_empty() {
            let wake_in = self.committer.wake_at().map(|at| at.since(boottime()));
            let input = tokio::select! {
                submission = queue.recv(), if open => match submission {
                    Some(submission) => self.submitted(submission),
                    None => {
                        open = false;
                        continue;
                    }
                },
                input = finished(&mut self.effect) => {
                    self.effect = None;
                    match &input {
                        Input::Appended(result) => self.troubles.tell_append(result),
                        Input::Tail(result) => self.troubles.tell_read(result, self.reads_from),
                        _ => {}
                    }
                    input
                }
                Some(heard) = heard.recv() => {
                    self.heard(heard);
                    continue;
                }
                () = elapsed(wake_in) => Input::Timer,
            };
            self.feed(input, boottime());
        }
    }

    fn heard(&mut self, heard: Heard) {
        let last = heard.commits.last().map(|commit| commit.revision);
        self.feed(Input::Heard(heard.commits), boottime());
        // What is passed over because something is in flight is found again by the next read.
        let held = last.is_none_or(|last| self.committer.head().state.revision >= last);
        if let Some(began) = heard.whole.filter(|_| held) {
            self.shared.read.send_replace(began);
        }
    }

    fn submitted(&mut self, submission: Submission) -> Input {
        let Submission { actor, decide, answer } = submission;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.insert(ticket, answer);
        Input::Submit { ticket, actor, decide }
    }

    fn feed(&mut self, input: Input, now: Time) {
        for output in self.committer.handle(input, now) {
            match output {
                Output::Append { after, commit } => self.effect = Some(append(self.log.clone(), after, commit)),
                Output::ReadTail { from } => {
                    self.reads_from = from;
                    self.effect = Some(read_tail(self.log.clone(), from));
                }
                Output::Publish { commit, head } => {
                    self.shared.publish(&commit, &head);
                    self.trim(commit.revision);
                }
                Output::Answer { ticket, result } => {
                    // Whoever no longer waits has been answered by its own deadline.
                    if let Some(answer) = self.waiting.remove(&ticket) {
                        drop(answer.send(*result));
                    }
                }
            }
        }
    }

    fn trim(&self, head: Revision) {
        if !head.0.is_multiple_of(TRIM_EVERY) || head.0 <= COMMITS_KEPT {
            return;
        }
        let log = self.log.clone();
        tokio::spawn(async move {
            if let Err(error) = log.trim(Revision(head.0 - COMMITS_KEPT)).await {
                tracing::warn!(%error, "the log could not be trimmed");
            }
        });
    }
}

async fn finished(effect: &mut Option<Effect>) -> Input {
    match effect {
        Some(effect) => effect.await,
        None => std::future::pending().await,
    }
}

async fn elapsed(wake_in: Option<Duration>) {
    match wake_in {
        Some(wake_in) => tokio::time::sleep(wake_in).await,
        None => std::future::pending().await,
    }
}

fn append(log: Arc<dyn Log>, after: Revision, commit: Arc<Commit>) -> Effect {
    Box::pin(async move { Input::Appended(log.append(after, commit).await) })
}

fn read_tail(log: Arc<dyn Log>, from: Revision) -> Effect {
    Box::pin(async move {
        let tail = async {
            let head = log.head().await?;
            let commits = match head > from {
                true => log.read(from, PAGE).await?.into_iter().map(Arc::new).collect(),
                false => Vec::new(),
            };
            Ok(Tail { head, commits })
        };
        let tail: Result<Tail, ReadError> = tail.await;
        Input::Tail(tail)
    })
}

impl Troubles {
    fn tell_append(&mut self, result: &Result<(), AppendError>) {
        match result {
            Err(AppendError::Conflict) => tracing::debug!("another commit was faster"),
            Err(error) if self.append.is_news(Instant::now()) => {
                tracing::error!(%error, "the log takes no writes for now");
            }
            Ok(()) if self.append.ends() => tracing::info!("the log takes writes again"),
            Ok(()) | Err(_) => {}
        }
    }

    fn tell_read(&mut self, result: &Result<Tail, ReadError>, from: Revision) {
        let tail = match result {
            Ok(tail) => tail,
            Err(error) => {
                if self.read.is_news(Instant::now()) {
                    tracing::error!(%error, "the log cannot be read for now");
                }
                return;
            }
        };
        if self.read.ends() {
            tracing::info!("the log can be read again");
        }
        if tail.head >= from {
            if self.went_back.ends() {
                tracing::info!("the log is no longer behind what is held here");
            }
        } else if self.went_back.is_news(Instant::now()) {
            tracing::error!(held = %from, head = %tail.head, "the log went back: no write is decided on it");
        }
    }
}
