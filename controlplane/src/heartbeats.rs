//! Upstreams that say themselves that they live: one with a `ttl` is unregistered when its registration is not repeated in
//! time.
//!
//! A renewal is answered from memory, by the control plane that owns the service; the others forward it. Only the end of a
//! registration is a revision, about that very form of it. Nothing of this is stored: an owner that is new, was restarted
//! or slept gives everybody one whole time.
//!
//! **No renewal that was answered is overlooked.** One that its owner cannot be told of is remembered where it came, until
//! it can. Before an owner unregisters anybody it asks every other control plane that is alive; each says what it has
//! heard, or answers no renewal of that registration from then on. Without all their answers nobody is unregistered.

mod expiring;
mod keeping;
mod link;
mod peers;
mod registration;
mod timers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use net::clock::boottime;
use shared::change::{Commit, Kind, Verb};
use shared::stream::planes::PlaneId;
use shared::time::Time;
use uuid::Uuid;

use crate::changelog::{Changelog, Head};
use crate::planes::Sharing;
use crate::push::Fleet;
use link::Link;
use peers::{Answered, Call};
use timers::{Heard, Timers};

pub use peers::router;
pub use registration::Registration;
pub use timers::Lapsed;

/// For the owner's answer. After it the renewal is remembered here.
const RENEW_WITHIN: Duration = Duration::from_millis(300);
/// What another control plane said of its services counts for so long.
const SAID_FOR: Duration = Duration::from_secs(5);
/// Services that are shown.
const SHOWN_MAX: usize = 100;

pub struct Heartbeats {
    changelog: Arc<Changelog>,
    fleet: Arc<Fleet>,
    sharing: Option<Sharing>,
    stage: Mutex<Stage>,
    links: Mutex<BTreeMap<PlaneId, Link>>,
    /// What others said of the services that they own, and when.
    elsewhere: Mutex<BTreeMap<PlaneId, (Instant, Vec<Lapsed>)>>,
}

enum Stage {
    /// Observes already, and does not know yet from where.
    Early(Vec<(Arc<Commit>, Arc<Head>)>),
    Live(Box<Timers>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic left behind is whole: every call either happens or does not.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Heartbeats {
    /// Follows the log from now on. Nobody is unregistered before `keep` runs.
    pub fn new(changelog: Arc<Changelog>, fleet: Arc<Fleet>, sharing: Option<Sharing>) -> Arc<Heartbeats> {
        let heartbeats = Arc::new(Heartbeats {
            changelog: changelog.clone(),
            fleet,
            sharing,
            stage: Mutex::new(Stage::Early(Vec::new())),
            links: Mutex::default(),
            elsewhere: Mutex::default(),
        });
        let observer: Weak<Heartbeats> = Arc::downgrade(&heartbeats);
        // Not under the own lock: the changelog calls observers under its own.
        let start = changelog.observe(Box::new(move |commit, head| {
            if let Some(heartbeats) = observer.upgrade() {
                heartbeats.committed(commit, head);
            }
        }));
        heartbeats.begin(&start.head);
        heartbeats
    }

    fn begin(&self, head: &Head) {
        let now = boottime();
        let mut timers = Box::new(Timers::new(self.own(), now));
        for entry in head.table.entries() {
            for registered in entry.upstreams.values().filter(|one| one.upstream.ttl.is_some()) {
                let upstream = &registered.upstream;
                let (service, id) = (upstream.service.shared(), upstream.id.shared());
                let registration = Registration::new(&service, &id, registered.revision);
                timers.registered(registration, upstream.ttl, now);
            }
        }
        let mut stage = lock(&self.stage);
        if let Stage::Early(commits) = &*stage {
            commits
                .iter()
                .for_each(|(commit, head)| follow(&mut timers, commit, head));
        }
        *stage = Stage::Live(timers);
    }

    fn committed(&self, commit: &Arc<Commit>, head: &Arc<Head>) {
        match &mut *lock(&self.stage) {
            Stage::Early(commits) => commits.push((commit.clone(), head.clone())),
            Stage::Live(timers) => follow(timers, commit, head),
        }
    }

    /// None only while this is being made.
    fn with<R>(&self, call: impl FnOnce(&mut Timers) -> R) -> Option<R> {
        match &mut *lock(&self.stage) {
            Stage::Early(_) => None,
            Stage::Live(timers) => Some(call(timers)),
        }
    }

    /// The name among other control planes; nil where there are none.
    fn own(&self) -> PlaneId {
        self.sharing.as_ref().map_or(PlaneId(Uuid::nil()), |sharing| sharing.id)
    }

    /// A registration was repeated. Whether it stands renewed: otherwise it is to be written anew.
    ///
    /// Asks neither the store nor the fleet, and another control plane for a fraction of a second.
    pub async fn renew(&self, registration: &Registration) -> bool {
        let heard = boottime();
        let owner = match self.with(|timers| timers.renew(registration, heard, heard)) {
            Some(Heard::Renewed) => return true,
            Some(Heard::Elsewhere(owner)) => owner,
            Some(Heard::Refused) | None => return false,
        };
        let renewals = vec![(registration.clone(), Duration::ZERO)];
        let told = self.call(owner, Call::Renew { renewals }, RENEW_WITHIN).await;
        match told {
            Some(Answered::Renewed(known)) if !known.is_empty() => known == [true],
            _ => {
                let remembered = self.with(|timers| timers.remember(registration, heard, boottime()));
                remembered.unwrap_or_default()
            }
        }
    }

    /// None: there was no answer in time.
    async fn call(&self, plane: PlaneId, call: Call, deadline: Duration) -> Option<Answered> {
        let calling = lock(&self.links).get(&plane).map(|link| link.call(call))?;
        calling.within(deadline).await
    }

    /// What another control plane asks of this one.
    fn called(&self, call: Call) -> Answered {
        let now = boottime();
        match call {
            Call::Renew { renewals } => Answered::Renewed(
                renewals
                    .into_iter()
                    .map(|(registration, ago)| {
                        let heard = before(now, ago);
                        // Where that one thinks that this one owns it, and this one does not, it is remembered.
                        let known = self.with(|timers| timers.remember(&registration, heard, now));
                        known.unwrap_or_default()
                    })
                    .collect(),
            ),
            Call::Expire { registrations } => Answered::Heard(
                registrations
                    .iter()
                    .map(|registration| {
                        let heard = self.with(|timers| timers.promise(registration, now)).flatten();
                        heard.map(|heard| now.since(heard))
                    })
                    .collect(),
            ),
        }
    }

    fn lapsed_there(&self, plane: PlaneId, mut services: Vec<Lapsed>) {
        services.truncate(SHOWN_MAX);
        lock(&self.elsewhere).insert(plane, (Instant::now(), services));
    }

    /// The services of which too many fell silent at once, and stand for that: a hundred at most, by name.
    pub fn lapsed(&self) -> Vec<Lapsed> {
        let mut all = self.lapsed_here();
        let said = lock(&self.elsewhere);
        let fresh = said.values().filter(|(at, _)| at.elapsed() < SAID_FOR);
        all.extend(fresh.flat_map(|(_, services)| services.iter().cloned()));
        all.sort_by(|a, b| a.service.cmp(&b.service));
        all.truncate(SHOWN_MAX);
        all
    }

    /// How many upstreams stand though they were not renewed, of the services whose times are kept here.
    pub fn held_here(&self) -> usize {
        self.with(|timers| timers.held()).unwrap_or_default()
    }

    fn lapsed_here(&self) -> Vec<Lapsed> {
        let head = self.changelog.head();
        self.with(|timers| timers.lapsed(&size_in(&head))).unwrap_or_default()
    }
}

/// How many upstreams a service has.
fn size_in(head: &Head) -> impl Fn(&str) -> usize {
    |service| head.table.entry(service).map_or(0, |entry| entry.upstreams.len())
}

fn before(now: Time, ago: Duration) -> Time {
    let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
    Time::from_nanos(now.as_nanos().saturating_sub(ago))
}

fn follow(timers: &mut Timers, commit: &Commit, head: &Head) {
    let now = boottime();
    let of_upstreams = commit.ops.iter().filter(|op| op.kind == Kind::Upstream);
    for (op, (service, id)) in of_upstreams.filter_map(|op| Some((op, op.key.split_once('/')?))) {
        let (service, id): (Arc<str>, Arc<str>) = (service.into(), id.into());
        match op.verb {
            Verb::Delete => timers.unregistered(&service, &id, now),
            Verb::Put => {
                let ttl = ttl(head, &service, &id);
                timers.registered(Registration::new(&service, &id, commit.revision), ttl, now);
            }
        }
    }
}

/// None also for what the table cannot take: nobody sends it anything.
fn ttl(head: &Head, service: &str, id: &str) -> Option<Duration> {
    let registered = head.table.entry(service)?.upstreams.get(id)?;
    registered.upstream.ttl
}
