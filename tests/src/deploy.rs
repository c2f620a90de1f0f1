//! Deployments as an operator does them: register the new origin, unregister the old one, and SIGKILL it the moment
//! that answers 200.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::Api;
use crate::load::Ledger;
use crate::origin::Origin;
use crate::process::PATIENCE;
use crate::world::World;

/// How long an origin that is not killed at once must stay silent after its unregistration.
const SILENCE: Duration = Duration::from_millis(300);

/// An origin and the upstream id it is registered under.
pub struct Deployed {
    pub id: String,
    pub origin: Origin,
}

/// One service whose origins come and go.
pub struct Deployment {
    pub world: Arc<World>,
    pub api: Api,
    pub service: String,
    started: AtomicU32,
    finished: AtomicU32,
}

impl Deployment {
    /// Puts the service, reached by its name as host; `settings` are further members of it.
    pub async fn create(world: &Arc<World>, api: &Api, service: &str, settings: Value) -> Deployment {
        api.service(service, settings).await;
        let (started, finished) = (AtomicU32::new(0), AtomicU32::new(0));
        Deployment {
            world: world.clone(),
            api: api.clone(),
            service: service.to_owned(),
            started,
            finished,
        }
    }

    pub fn finished(&self) -> u32 {
        self.finished.load(SeqCst)
    }

    pub fn upstream(&self, id: &str) -> String {
        format!("/v1/services/{}/upstreams/{id}", self.service)
    }

    fn next_name(&self) -> String {
        format!("{}-{}", self.service, self.started.fetch_add(1, SeqCst) + 1)
    }

    /// A running origin that nobody knows yet.
    pub async fn start(&self) -> Origin {
        self.world.origin(&self.next_name()).await
    }

    pub async fn start_at(&self, address: SocketAddr) -> Origin {
        self.world.origin_at(&self.next_name(), address).await
    }

    pub async fn register(&self, id: &str, origin: Origin) -> Deployed {
        self.api.register(&self.service, id, origin.address).await;
        Deployed {
            id: id.to_owned(),
            origin,
        }
    }

    /// Waits until the id is registered no more; it may still drain.
    pub async fn absent(&self, id: &str) {
        let begun = Instant::now();
        while self.api.get(&self.upstream(id)).await.status != 404 {
            assert!(begun.elapsed() < PATIENCE, "{id} stays registered");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A new origin under an id of its own.
    pub async fn deploy(&self) -> Deployed {
        let origin = self.start().await;
        self.register(&origin.id.clone(), origin).await
    }

    pub async fn deploy_all(&self, count: usize) -> VecDeque<Deployed> {
        let mut all = VecDeque::new();
        for _ in 0..count {
            all.push_back(self.deploy().await);
        }
        all
    }

    /// DELETE, and the origin is gone the moment that is answered; every third one is watched for a while before.
    pub async fn retire(&self, old: Deployed, ledger: &Ledger) {
        let delete = self.api.request("DELETE", &self.upstream(&old.id));
        self.retire_by(&delete, old.origin, ledger).await;
    }

    /// Any write that unregisters the origin.
    pub async fn retire_by(&self, write: &crate::wire::Request, mut origin: Origin, ledger: &Ledger) {
        let watched = self.finished.fetch_add(1, SeqCst).is_multiple_of(3);
        let reply = self.api.send(write).await;
        if !watched {
            origin.kill();
        }
        ledger.retire(&origin.id);
        let reply = reply.live();
        assert_eq!(reply.body["wait"]["for"], "drained", "{}", reply.text);
        assert_eq!(reply.body["also_in"], json!([]), "{}", reply.text);
        if watched {
            let then = origin.mark().await;
            assert_eq!(
                then.in_flight, 0,
                "{} still answers when it is drained: {then:?}",
                origin.id
            );
            tokio::time::sleep(SILENCE).await;
            let later = origin.count().await;
            assert_eq!(
                (later.after, later.connections_after),
                (0, 0),
                "{} is still asked: {later:?}",
                origin.id
            );
            origin.kill();
        }
    }
}
