//! The proxies here that keep limits: what their owners say goes to them, and what they say to their owners comes from
//! them. Any of it may be lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use shared::quota;
use shared::stream::publisher::Input;
use shared::stream::roster::SessionId;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::Fleet;
use super::link::Link;

#[derive(Default)]
pub(super) struct Counting {
    here: Mutex<Here>,
    owner: OnceLock<mpsc::Sender<Box<quota::Up>>>,
    arrived: Notify,
}

#[derive(Default)]
struct Here {
    by_instance: HashMap<Uuid, (SessionId, Arc<Link>)>,
    instances: HashMap<SessionId, Uuid>,
    /// Those that were not told the epochs yet.
    unwelcomed: BTreeMap<SessionId, Arc<Link>>,
}

impl Counting {
    fn here(&self) -> MutexGuard<'_, Here> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn attach(&self, session: SessionId, link: &Arc<Link>) {
        let Some(instance) = link.counts() else { return };
        let mut here = self.here();
        here.by_instance.insert(instance, (session, link.clone()));
        here.instances.insert(session, instance);
        here.unwelcomed.insert(session, link.clone());
        drop(here);
        self.arrived.notify_one();
    }

    pub(super) fn detach(&self, session: SessionId) {
        let mut here = self.here();
        here.unwelcomed.remove(&session);
        if let Some(instance) = here.instances.remove(&session)
            && here.by_instance.get(&instance).is_some_and(|(of, _)| *of == session)
        {
            here.by_instance.remove(&instance);
        }
    }

    pub(super) fn heard(&self, up: Box<quota::Up>) {
        if let Some(owner) = self.owner.get() {
            // One that cannot keep up is asked again.
            let _ = owner.try_send(up);
        }
    }
}

impl Fleet {
    /// From now on what proxies say of limits goes there. The first one stays.
    pub(crate) fn hear_limits(&self, owner: mpsc::Sender<Box<quota::Up>>) {
        // Another one is never heard, and whoever made it sees that its sender is gone.
        let _ = self.counting.owner.set(owner);
    }

    /// Whether the proxy's stream is here.
    pub(crate) fn has_limits_of(&self, instance: Uuid) -> bool {
        self.counting.here().by_instance.contains_key(&instance)
    }

    pub(crate) fn tell_limits(&self, instance: Uuid, lines: Bytes) {
        let link = self
            .counting
            .here()
            .by_instance
            .get(&instance)
            .map(|(_, link)| link.clone());
        if let Some(link) = link {
            link.feed(Input::Tell(lines));
        }
    }

    /// Connections that are on the roster, and were not told the epochs of the shards yet.
    pub(crate) fn unwelcomed(&self) -> Vec<SessionId> {
        self.counting.here().unwelcomed.keys().copied().collect()
    }

    /// Tells them, as far as they are still there, the epochs that were read after they were unwelcomed.
    pub(crate) fn welcome(&self, sessions: &[SessionId], line: &Bytes) {
        for session in sessions {
            let link = self.counting.here().unwelcomed.remove(session);
            if let Some(link) = link {
                link.feed(Input::Tell(line.clone()));
            }
        }
    }

    /// Until one more is unwelcomed.
    pub(crate) async fn arrived(&self) {
        self.counting.arrived.notified().await;
    }
}
