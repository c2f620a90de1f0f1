//! What people ask of single accounts, answered by whichever control plane owns them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use net::duplex::{Address, Credentials, Requests};
use serde::{Deserialize, Serialize};
use shared::model::Mode;
use shared::quota::owner::{InFlight, Usage};
use shared::quota::{AccountId, CellKey, CellValue, Label, Outcome, Row, Rule, Settings};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::clock::Clock;
use crate::store::Cells;

/// Questions that were not answered yet.
pub const QUESTIONS_MAX: usize = 64;
/// The owner answers in milliseconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Of another control plane.
const ANSWER_MAX: usize = 64 << 10;
/// How often a row is written that others write at the same time.
const TRIES: usize = 8;

pub enum Question {
    Usage(AccountId, oneshot::Sender<Answer<Usage>>),
    Reset(AccountId, oneshot::Sender<Answer<Forgotten>>),
    InFlight(AccountId, oneshot::Sender<Answer<InFlight>>),
}

pub enum Answer<T> {
    Here(T),
    /// Not here. Where there are others.
    Elsewhere(Vec<Arc<str>>),
}

/// How many proxies there are that may refuse by a count which began anew, and how many of them know that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    pub members: usize,
    pub reached: usize,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// No owner has the account now; one will in a moment.
    NoOwner,
    /// The store does not say.
    NoStore,
}

#[derive(Clone)]
pub struct Asking {
    pub(super) questions: mpsc::Sender<Question>,
    pub(super) cells: Arc<dyn Cells>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) settings: Settings,
    /// What is shown to other control planes.
    pub(super) credentials: Credentials,
}

impl Asking {
    pub async fn usage(&self, account: AccountId, rule: &Rule, mode: Mode) -> Result<Usage, Unanswered> {
        if self.is_in_store(rule, mode) {
            let row = self.row(account).await?;
            let now = Label::from_nanos(self.clock.read().wall);
            return Ok(Usage::of_row(row.as_ref(), rule, now));
        }
        match self.usage_here(account).await? {
            Answer::Here(usage) => Ok(usage),
            Answer::Elsewhere(urls) => {
                let body = self
                    .ask_all(&urls, Method::GET, &super::peers::account_path(account))
                    .await;
                body.and_then(|body| serde_json::from_slice(&body).ok())
                    .ok_or(Unanswered::NoOwner)
            }
        }
    }

    /// Of a limit that says how many there may be.
    pub async fn in_flight(&self, account: AccountId) -> Result<InFlight, Unanswered> {
        match self.in_flight_here(account).await? {
            Answer::Here(in_flight) => Ok(in_flight),
            Answer::Elsewhere(urls) => {
                let path = super::peers::in_flight_path(account);
                let body = self.ask_all(&urls, Method::GET, &path).await;
                body.and_then(|body| serde_json::from_slice(&body).ok())
                    .ok_or(Unanswered::NoOwner)
            }
        }
    }

    /// Answers when all proxies know, or after a while.
    pub async fn reset(&self, account: AccountId, rule: &Rule, mode: Mode) -> Result<Forgotten, Unanswered> {
        if self.is_in_store(rule, mode) {
            self.clear(account).await?;
        }
        match self.reset_here(account).await? {
            Answer::Here(forgotten) => Ok(forgotten),
            Answer::Elsewhere(urls) => {
                let body = self
                    .ask_all(&urls, Method::POST, &super::peers::account_path(account))
                    .await;
                body.and_then(|body| serde_json::from_slice(&body).ok())
                    .ok_or(Unanswered::NoOwner)
            }
        }
    }

    /// What is only observed never is.
    fn is_in_store(&self, rule: &Rule, mode: Mode) -> bool {
        mode == Mode::Enforce && rule.period > self.settings.ledger_above
    }

    pub(super) async fn usage_here(&self, account: AccountId) -> Result<Answer<Usage>, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.put(Question::Usage(account, answer), answered).await
    }

    pub(super) async fn in_flight_here(&self, account: AccountId) -> Result<Answer<InFlight>, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.put(Question::InFlight(account, answer), answered).await
    }

    pub(super) async fn reset_here(&self, account: AccountId) -> Result<Answer<Forgotten>, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.put(Question::Reset(account, answer), answered).await
    }

    async fn put<T>(&self, question: Question, answered: oneshot::Receiver<T>) -> Result<T, Unanswered> {
        self.questions.try_send(question).map_err(|_| Unanswered::NoOwner)?;
        let answered = tokio::time::timeout(ANSWER_WITHIN, answered).await;
        answered.ok().and_then(Result::ok).ok_or(Unanswered::NoOwner)
    }

    async fn row(&self, account: AccountId) -> Result<Option<Row>, Unanswered> {
        match self.cells.get(CellKey::Row(account)).await {
            Outcome::Is(Some(CellValue::Row(row))) => Ok(Some(row)),
            Outcome::Is(_) => Ok(None),
            _ => Err(Unanswered::NoStore),
        }
    }

    /// Charges nothing any more. What its owner has reserved meanwhile it may still grant.
    async fn clear(&self, account: AccountId) -> Result<(), Unanswered> {
        for _ in 0..TRIES {
            let Some(held) = self.row(account).await? else {
                return Ok(());
            };
            let new = Row {
                version: held.version + 1,
                op: Uuid::new_v4(),
                buckets: Default::default(),
                ..held
            };
            let (held, new) = (CellValue::Row(held), CellValue::Row(new));
            match self.cells.swap(CellKey::Row(account), Some(held), new).await {
                Outcome::Swapped => return Ok(()),
                Outcome::Unavailable => return Err(Unanswered::NoStore),
                // Looking again shows what it is now. To clear it twice does no harm.
                _ => {}
            }
        }
        Err(Unanswered::NoStore)
    }

    /// All at once, so that one that does not answer keeps nobody waiting. What the one said that has the account.
    async fn ask_all(&self, urls: &[Arc<str>], method: Method, path: &str) -> Option<bytes::Bytes> {
        let mut asked: FuturesUnordered<_> = urls.iter().map(|url| self.ask(url, method.clone(), path)).collect();
        while let Some(answer) = asked.next().await {
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    /// None: it is not there either.
    async fn ask(&self, url: &str, method: Method, path: &str) -> Option<bytes::Bytes> {
        let asking = async {
            let address = Address::parse(url).ok()?;
            let mut requests = Requests::dial(address, self.credentials.clone()).await.ok()?;
            let answer = requests.call(method, path).await.ok()?;
            if answer.status() != StatusCode::OK {
                return None;
            }
            let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.ok()?;
            Some(body.to_bytes())
        };
        tokio::time::timeout(ANSWER_WITHIN, asking).await.ok().flatten()
    }
}
