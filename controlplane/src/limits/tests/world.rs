//! Control planes with an owner, in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use shared::change::Kind;
use shared::model::Mode;
use shared::quota::owner::Usage;
use shared::quota::{AccountId, Reading, Rules, Settings};
use shared::stream::planes::PlaneId;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::LIMIT;
use super::spender::Spender;
use crate::limits::asking::{Asking, Forgotten};
use crate::limits::{Clock, Limits, MachineClock, Setup};
use crate::planes::{self, Sharing};
use crate::push::tests::stage::{Stage, log};
use crate::store::{Log, Rows};

/// The machine's clocks, of which the wall clock can be set.
#[derive(Default)]
pub struct Adjusted {
    pub ahead_ms: AtomicI64,
}

impl Clock for Adjusted {
    fn read(&self) -> Reading {
        let reading = MachineClock.read();
        let ahead = self.ahead_ms.load(Ordering::Relaxed) * 1_000_000;
        Reading {
            wall: reading.wall.saturating_add_signed(ahead),
            ..reading
        }
    }
}

pub fn settings() -> Settings {
    Settings {
        claim: Duration::from_secs(4),
        ..Settings::default()
    }
}

/// A control plane with an owner.
pub struct World {
    pub stage: Stage,
    pub log: Arc<dyn Log>,
    pub clock: Arc<Adjusted>,
    stop: CancellationToken,
    asking: Asking,
    owner: JoinHandle<()>,
}

impl World {
    pub async fn new() -> World {
        World::on(log()).await
    }

    pub async fn on(log: Arc<dyn Log>) -> World {
        World::among(log, None).await
    }

    /// `rows`: where it finds other control planes.
    pub async fn among(log: Arc<dyn Log>, rows: Option<Arc<dyn Rows>>) -> World {
        let clock = Arc::new(Adjusted::default());
        let stop = CancellationToken::new();
        let own = rows.as_ref().map(|_| PlaneId(Uuid::new_v4()));
        let (mut keeping, mut asking) = (None, None);
        let stage = Stage::with(log.clone(), own, |stage| {
            let sharing = own.zip(rows).map(|(id, rows)| Sharing {
                id,
                url: format!("http://{}", stage.address).into(),
                credentials: Default::default(),
                rows,
            });
            if let Some(sharing) = sharing.clone() {
                let (changelog, fleet) = (stage.changelog.clone(), stage.fleet.clone());
                tokio::spawn(planes::keep(sharing, changelog, fleet, stage.stopping()));
            }
            let limits = Limits::new(Setup {
                changelog: stage.changelog.clone(),
                fleet: stage.fleet.clone(),
                cells: log.cells().unwrap(),
                clock: clock.clone(),
                settings: settings(),
                sharing,
            });
            let among_planes = planes::router(stage.fleet.clone(), stage.stopping());
            let router = limits.router(stage.stopping()).merge(among_planes);
            asking = Some(limits.asking());
            keeping = Some(limits.keep(stop.clone()));
            router
        })
        .await;
        World {
            owner: tokio::spawn(keeping.unwrap()),
            stage,
            log,
            clock,
            stop,
            asking: asking.unwrap(),
        }
    }

    pub async fn limit(&self, body: &str) -> Rules {
        self.stage.put(Kind::Limit, LIMIT, body).await;
        let head = self.stage.changelog.head();
        head.table.rules(head.state.configured)
    }

    pub async fn usage(&self, account: AccountId) -> Usage {
        let rule = *self.rules().of(&account.limit).unwrap();
        // Its shard may not be claimed yet.
        for _ in 0..500 {
            if let Ok(usage) = self.asking.usage(account, &rule, Mode::Enforce).await {
                return usage;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody counts {account:?}");
    }

    pub async fn reset(&self, account: AccountId) -> Forgotten {
        let rule = *self.rules().of(&account.limit).unwrap();
        self.asking.reset(account, &rule, Mode::Enforce).await.unwrap()
    }

    pub fn rules(&self) -> Rules {
        let head = self.stage.changelog.head();
        head.table.rules(head.state.configured)
    }

    pub async fn spenders(&self, count: u128) -> Vec<Spender> {
        let mut spenders = Vec::new();
        for instance in 1..=count {
            spenders.push(Spender::new(&self.stage, instance, self.rules(), settings()).await);
        }
        spenders
    }

    /// As a process that is killed: no hand-over.
    pub async fn kill(self) -> Arc<dyn Log> {
        self.owner.abort();
        let _ = self.owner.await;
        self.stage.stop();
        self.log
    }

    pub async fn end(self) -> Arc<dyn Log> {
        self.stop.cancel();
        self.owner.await.unwrap();
        self.stage.stop();
        self.log
    }
}
