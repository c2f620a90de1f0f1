//! Calls to the store, each answered once.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use shared::quota::{CellKey, CellValue, Outcome};

use crate::store::Cells;

/// At a time. All shards are claimed, and prolonged, at once.
const RUNNING_MAX: usize = 32;
/// That wait for their turn: an owner has one under way for each shard and for each account that the store counts.
const WAITING_MAX: usize = 65_536;
/// A store keeps its own deadline; this is for one that does not.
const WITHIN: Duration = Duration::from_secs(5);
/// An owner asks again as soon as it is answered: one that is away is not asked faster than so.
const PAUSE: Duration = Duration::from_millis(100);

pub enum Call {
    Get(CellKey),
    Swap {
        key: CellKey,
        expected: Option<CellValue>,
        new: CellValue,
    },
}

pub struct Answered {
    /// As it was given with the call.
    pub life: u64,
    pub key: CellKey,
    pub outcome: Outcome,
}

pub struct Calls {
    cells: Arc<dyn Cells>,
    running: FuturesUnordered<BoxFuture<'static, Answered>>,
    waiting: VecDeque<(u64, Call)>,
    /// What found no room, to be answered so.
    refused: Vec<Answered>,
}

impl Calls {
    pub fn new(cells: Arc<dyn Cells>) -> Calls {
        Calls {
            cells,
            running: FuturesUnordered::new(),
            waiting: VecDeque::new(),
            refused: Vec::new(),
        }
    }

    pub fn make(&mut self, life: u64, call: Call) {
        if self.waiting.len() >= WAITING_MAX {
            let (Call::Get(key) | Call::Swap { key, .. }) = call;
            self.refused.push(Answered {
                life,
                key,
                outcome: Outcome::Unavailable,
            });
            return;
        }
        self.waiting.push_back((life, call));
        self.fill();
    }

    fn fill(&mut self) {
        while self.running.len() < RUNNING_MAX
            && let Some((life, call)) = self.waiting.pop_front()
        {
            self.running.push(run(self.cells.clone(), life, call));
        }
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Those that found no room: to be asked for now and then, not at once.
    pub fn take_refused(&mut self) -> Vec<Answered> {
        std::mem::take(&mut self.refused)
    }

    /// The next answer; never, while nothing is under way.
    pub async fn next(&mut self) -> Answered {
        match self.running.next().await {
            Some(answered) => {
                self.fill();
                answered
            }
            None => std::future::pending().await,
        }
    }
}

fn run(cells: Arc<dyn Cells>, life: u64, call: Call) -> BoxFuture<'static, Answered> {
    Box::pin(async move {
        let (key, outcome) = match call {
            Call::Get(key) => {
                let outcome = within(cells.get(key.clone()), Outcome::Unavailable).await;
                (key, outcome)
            }
            Call::Swap { key, expected, new } => {
                let outcome = within(cells.swap(key.clone(), expected, new), Outcome::Unknown).await;
                (key, outcome)
            }
        };
        if matches!(outcome, Outcome::Unavailable | Outcome::Unknown) {
            tokio::time::sleep(PAUSE).await;
        }
        Answered { life, key, outcome }
    })
}

async fn within(call: impl Future<Output = Outcome>, otherwise: Outcome) -> Outcome {
    tokio::time::timeout(WITHIN, call).await.unwrap_or(otherwise)
}
