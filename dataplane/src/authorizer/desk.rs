//! A worker's way to authorizers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::model::{Authorizer, OnFailure};
use tokio::sync::watch;

use super::answer::{Answer, Grant};
use super::call::{Failure, call};
use super::key::Key;
use super::memory::{Joining, Known, Landing, Memory};
use super::question::Question;
use super::shard::{Outcome, Remembered};
use super::{Asked, Stamp};
use crate::counts::Decided;
use crate::pipeline::{Authorizers, Given, Protocol, RequestMeta, Verdict};
use crate::upstream::pool::Pool;
use crate::view::Reader;

/// Calls that a request waits for: one that ends with its worker is begun again.
const CALLS_MAX: usize = 3;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Shared by the connections of one worker.
#[derive(Clone)]
pub struct Desk(Rc<Inner>);

pub struct Inner {
    pub(super) views: Reader,
    pub(super) upstreams: Rc<Pool>,
    memory: Arc<Memory>,
}

impl std::ops::Deref for Desk {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Authorizers for Desk {
    async fn ask(&self, asked: &Asked, meta: &RequestMeta<'_>) -> Result<Given, Verdict> {
        let key = self.memory.key(asked, meta);
        let stale = match self.memory.look(key, asked, Instant::now(), self.views.limiter()) {
            Known::Fresh(entry) => return self.remembered(&entry, asked),
            Known::Ending(entry) => {
                self.refresh(key, asked, meta);
                return self.remembered(&entry, asked);
            }
            Known::Stale(entry) => Some(entry),
            Known::Nothing => None,
        };
        let (given, decided) = match self.called(key, asked, meta).await {
            Outcome::Said { answer, stamp, .. } => {
                let given = given(&answer, stamp);
                let decided = decided(&given);
                (given, decided)
            }
            Outcome::Failed | Outcome::Lost => failed(asked, stale.as_deref(), meta.protocol),
        };
        self.count(asked, decided);
        given
    }

    fn unasked(&self, asked: &Asked) {
        self.count(asked, Decided::Unauthenticated);
    }
}

/// What is left when there is no answer. Who sends mail by credentials that nobody has looked at is never let pass: it would be
/// anybody, to anybody, and the application would take it for somebody who had authenticated.
fn failed(asked: &Asked, stale: Option<&Remembered>, protocol: Protocol) -> (Result<Given, Verdict>, Decided) {
    if let Some(entry) = stale {
        entry.spare(Instant::now());
        return (given(&entry.answer, asked.stamp()), Decided::Stale);
    }
    match asked.authority.authorizer.on_failure {
        OnFailure::Allow if protocol != Protocol::Smtp => {
            let everybody = Arc::new(Answer::Granted(Grant::default()));
            (given(&everybody, asked.stamp()), Decided::FailedOpen)
        }
        OnFailure::Allow | OnFailure::Deny => {
            let retry_after = RETRY_AFTER;
            let nobody = Verdict::AuthorizerUnavailable { retry_after };
            (Err(nobody), Decided::Unavailable)
        }
    }
}

fn decided(given: &Result<Given, Verdict>) -> Decided {
    match given {
        Ok(_) => Decided::Allowed,
        Err(_) => Decided::Refused,
    }
}

fn given(answer: &Arc<Answer>, stamp: Stamp) -> Result<Given, Verdict> {
    match &**answer {
        Answer::Granted(_) => Ok(Given {
            answer: answer.clone(),
            stamp,
        }),
        Answer::Refused(reply) => Err(Verdict::Refused(reply.clone())),
    }
}

impl Desk {
    pub fn new(views: Reader, upstreams: Rc<Pool>, memory: Arc<Memory>) -> Desk {
        Desk(Rc::new(Inner {
            views,
            upstreams,
            memory,
        }))
    }

    /// Counted where it lies: nothing is looked up for that.
    fn remembered(&self, entry: &Remembered, asked: &Asked) -> Result<Given, Verdict> {
        let given = given(&entry.answer, asked.stamp());
        let name = &asked.authority.authorizer.name;
        let counts = entry.counts(|| self.views.counts().authorizers.of(name));
        counts.add(decided(&given) as usize, 1);
        given
    }

    fn count(&self, asked: &Asked, decided: Decided) {
        let counts = &self.views.counts().authorizers;
        counts.of(&asked.authority.authorizer.name).add(decided as usize, 1);
    }

    /// The outcome of the one call for this key. What was said to one client alone is asked again for every other.
    async fn called(&self, key: Key, asked: &Asked, meta: &RequestMeta<'_>) -> Outcome {
        for _ in 0..CALLS_MAX {
            let (mut outcome, is_own) = match self.memory.join(key, asked.stamp()) {
                Joining::Begun(landing) => (self.begin(landing, asked, meta), true),
                Joining::Waits(outcome) => (outcome, false),
                Joining::Full => {
                    self.tell(&asked.authority.authorizer, &Failure::Crowded);
                    return Outcome::Failed;
                }
            };
            // The sender lives until it has said something.
            let outcome = match outcome.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(outcome)) => outcome.clone(),
                Ok(None) | Err(_) => Outcome::Lost,
            };
            match outcome {
                Outcome::Lost => {}
                Outcome::Said { is_private: true, .. } if !is_own => return self.call_alone(asked, meta).await,
                outcome => return outcome,
            }
        }
        Outcome::Lost
    }

    async fn call_alone(&self, asked: &Asked, meta: &RequestMeta<'_>) -> Outcome {
        let (authorizer, stamp) = (&asked.authority.authorizer, asked.stamp());
        let question = Question::of(authorizer, meta);
        match call(self, authorizer, &question).await {
            Ok(understood) => Outcome::Said {
                answer: Arc::new(understood.answer),
                stamp,
                is_private: true,
            },
            Err(failure) => {
                self.tell(authorizer, &failure);
                Outcome::Failed
            }
        }
    }

    /// For whoever runs it; how it fails says nothing of who was asked about, or of what was answered.
    fn tell(&self, authorizer: &Authorizer, failure: &Failure) {
        if self.memory.is_news(&authorizer.name, failure.way(), Instant::now()) {
            tracing::warn!(authorizer = %authorizer.name, %failure, "no answer");
        }
    }

    fn refresh(&self, key: Key, asked: &Asked, meta: &RequestMeta<'_>) {
        if let Joining::Begun(landing) = self.memory.join(key, asked.stamp()) {
            self.begin(landing, asked, meta);
        }
    }

    /// A task of its own: it goes on when the request that began it has gone.
    fn begin(&self, landing: Landing, asked: &Asked, meta: &RequestMeta<'_>) -> watch::Receiver<Option<Outcome>> {
        let authorizer = asked.authority.authorizer.clone();
        let question = Question::of(&authorizer, meta);
        let outcome = landing.outcome();
        let desk = self.clone();
        tokio::task::spawn_local(async move {
            match call(&desk, &authorizer, &question).await {
                Ok(understood) => {
                    let stale = authorizer.cache.stale;
                    landing.said(understood, question.username.clone(), stale, Instant::now());
                }
                Err(failure) => {
                    desk.tell(&authorizer, &failure);
                    landing.failed();
                }
            }
        });
        outcome
    }
}
