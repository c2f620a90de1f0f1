//! The task that looks at the timers, and keeps the links to the other control planes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use net::clock::boottime;
use shared::stream::planes::PlaneId;
use shared::time::Time;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::expiring::TOGETHER_MAX;
use super::link::Link;
use super::peers::{Answered, Call, Line};
use super::timers::Output;
use super::{Heartbeats, RENEW_WITHIN, Registration, SHOWN_MAX, lock, size_in};

const TICK: Duration = Duration::from_millis(100);
/// Nobody is unregistered before this one has known for so long who else there is.
const LOOK_AROUND: Duration = Duration::from_secs(3);
/// Between two reports to the others.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// Renewals that an owner is told of at once.
const TOLD_MAX: usize = 1_000;

/// What the task knows.
#[derive(Default)]
struct Standing {
    /// Since when it has been known who else there is.
    known_since: Option<Time>,
    said: Time,
}

impl Heartbeats {
    /// Until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut standing = Standing::default();
        let mut expiring = JoinSet::new();
        let mut telling = JoinSet::new();
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            while expiring.try_join_next().is_some() {}
            while telling.try_join_next().is_some() {}
            let others = self.look(&mut standing);
            let silent = self.decide(others.as_deref());
            for together in silent.chunks(TOGETHER_MAX) {
                expiring.spawn(
                    self.clone()
                        .expire(together.to_vec(), others.clone().unwrap_or_default()),
                );
            }
            if telling.is_empty() {
                telling.spawn(self.clone().tell());
            }
        }
    }

    /// The others that have to be asked; none while that is not known well enough.
    fn look(&self, standing: &mut Standing) -> Option<Vec<PlaneId>> {
        let now = boottime();
        let Some(sharing) = &self.sharing else {
            return Some(Vec::new());
        };
        let present = self.fleet.with(|hub| hub.roster().planes().present(now)).flatten();
        let Some(present) = present else {
            standing.known_since = None;
            return None;
        };
        let since = *standing.known_since.get_or_insert(now);
        let present: BTreeMap<PlaneId, Arc<str>> = present.into_iter().collect();
        let others: Vec<PlaneId> = present.keys().copied().collect();
        let mut links = lock(&self.links);
        links.retain(|id, link| present.get(id) == Some(&link.url));
        for (id, url) in present {
            if !links.contains_key(&id)
                && let Some(link) = Link::open(sharing.id, id, url, sharing.credentials.clone())
            {
                links.insert(id, link);
            }
        }
        drop(links);
        self.with(|timers| timers.present(others.clone(), now));
        lock(&self.elsewhere).retain(|id, _| others.contains(id));
        if now.since(standing.said) >= SAY_EVERY {
            standing.said = now;
            self.say_lapsed();
        }
        (now.since(since) >= LOOK_AROUND).then_some(others)
    }

    fn decide(&self, others: Option<&[PlaneId]>) -> Vec<Registration> {
        let now = boottime();
        let head = self.changelog.head();
        let outputs = self.with(|timers| {
            if others.is_some() {
                return timers.tick(now, &size_in(&head));
            }
            timers.rest(now);
            Vec::new()
        });
        let mut silent = Vec::new();
        for output in outputs.unwrap_or_default() {
            match output {
                Output::Expire(registration) => silent.push(registration),
                Output::Holding(lapsed) => tracing::error!(
                    service = %lapsed.service,
                    lapsed = lapsed.lapsed,
                    of = lapsed.of,
                    "too many upstreams were not renewed at once: none is unregistered, health checks decide"
                ),
                Output::Resumed(service) => {
                    tracing::warn!(%service, "upstreams that are not renewed are unregistered again");
                }
            }
        }
        silent
    }

    fn say_lapsed(&self) {
        let mut services = self.lapsed_here();
        services.truncate(SHOWN_MAX);
        for link in lock(&self.links).values() {
            let services = services.clone();
            link.say(Line::Lapsed { services });
        }
    }

    /// Tells owners what was remembered for them.
    async fn tell(self: Arc<Self>) {
        let untold = self.with(|timers| timers.untold(TOLD_MAX)).unwrap_or_default();
        for (owner, heard) in untold {
            let now = boottime();
            let renewals = heard.iter().map(|(one, at)| (one.clone(), now.since(*at))).collect();
            let told = self.call(owner, Call::Renew { renewals }, RENEW_WITHIN).await;
            if let Some(Answered::Renewed(known)) = told
                && known.len() == heard.len()
            {
                self.with(|timers| heard.iter().for_each(|(one, at)| timers.told(one, *at)));
            }
        }
    }
}
