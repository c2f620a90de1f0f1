//! The epochs of all shards, read for proxies that came here.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream;
use net::ndjson;
use shared::quota::{CellKey, CellValue, Outcome, SHARDS, Shard};
use shared::stream::message::Down;
use shared::stream::roster::SessionId;

use crate::push::Fleet;
use crate::store::Cells;

/// At a time.
const READS: usize = 16;
/// Between two tries for what could not be read.
const AGAIN: Duration = Duration::from_millis(200);

/// At most one read of all claims is under way, and it is for those who were here before it began: thousands that come at
/// once share two.
pub struct Sweep {
    cells: Arc<dyn Cells>,
    running: Option<Running>,
}

struct Running {
    whom: Vec<SessionId>,
    reading: BoxFuture<'static, Vec<(Shard, u64)>>,
}

impl Sweep {
    pub fn new(cells: Arc<dyn Cells>) -> Sweep {
        Sweep { cells, running: None }
    }

    /// Begins one if someone needs it and none is under way.
    pub fn look(&mut self, fleet: &Fleet) {
        if self.running.is_some() {
            return;
        }
        let whom = fleet.unwelcomed();
        if !whom.is_empty() {
            let reading = Box::pin(read_all(self.cells.clone()));
            self.running = Some(Running { whom, reading });
        }
    }

    /// When one is over: tell it to those it was for.
    pub async fn finished(&mut self) -> Swept {
        let Some(running) = &mut self.running else {
            return std::future::pending().await;
        };
        let shards = (&mut running.reading).await;
        let whom = self.running.take().map(|running| running.whom).unwrap_or_default();
        Swept { whom, shards }
    }
}

pub struct Swept {
    whom: Vec<SessionId>,
    shards: Vec<(Shard, u64)>,
}

impl Swept {
    pub fn tell(self, fleet: &Fleet) {
        let line = ndjson::encode(&Down::Epochs { shards: self.shards });
        fleet.welcome(&self.whom, &line);
    }
}

async fn read_all(cells: Arc<dyn Cells>) -> Vec<(Shard, u64)> {
    let reads = stream::iter(0..SHARDS).map(|shard| read(cells.clone(), shard));
    let found: Vec<Option<(Shard, u64)>> = reads.buffer_unordered(READS).collect().await;
    found.into_iter().flatten().collect()
}

/// Until the store says what there is.
async fn read(cells: Arc<dyn Cells>, shard: Shard) -> Option<(Shard, u64)> {
    loop {
        match cells.get(CellKey::Claim(shard)).await {
            Outcome::Is(Some(CellValue::Claim(claim))) => return Some((shard, claim.epoch)),
            Outcome::Is(_) => return None,
            _ => tokio::time::sleep(AGAIN).await,
        }
    }
}
