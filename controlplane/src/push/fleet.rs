//! The hub, shared by all connections and all waiting writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use net::clock::boottime;
use shared::change::{Commit, Epoch, Revision};
use shared::stream::hub::{Hub, MemberView, WaitId};
use shared::stream::planes::PlaneId;
use shared::stream::publisher::Input;
use shared::stream::roster::SessionId;
use shared::stream::wait::{Report, WaitSpec};
use tokio::sync::{oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::ask::Questions;
use super::counting::Counting;
use super::lag::Commits;
use super::link::Link;
use crate::changelog::{Changelog, Head};

/// Leases end, and pauses are noticed, with at most so much delay.
const TICK: Duration = Duration::from_millis(250);
/// A connection has its turn with one tick of so many: once a second, and not all at the same time.
const TURNS: u64 = 4;

pub struct Fleet {
    inner: Mutex<Inner>,
    /// Taken after the hub is let go of, or alone.
    links: Mutex<HashMap<SessionId, Arc<Link>>>,
    pub(super) questions: Questions,
    pub(super) counting: Counting,
    pub(super) changelog: Arc<Changelog>,
    /// Taken alone.
    commits: Mutex<Commits>,
    /// There may be something to tell other control planes.
    told: watch::Sender<()>,
}

struct Inner {
    stage: Stage,
    waiters: HashMap<WaitId, oneshot::Sender<Report>>,
}

enum Stage {
    /// Observes already, and does not know yet from where.
    Early(Vec<(Arc<Commit>, Arc<Head>)>),
    Live(Box<Hub>),
}

impl Fleet {
    /// Begins at the changelog's head, and follows it from then on. `own`: the name among the control planes of a shared
    /// store.
    pub fn new(changelog: Arc<Changelog>, own: Option<PlaneId>) -> Arc<Fleet> {
        let fleet = Arc::new(Fleet {
            inner: Mutex::new(Inner {
                stage: Stage::Early(Vec::new()),
                waiters: HashMap::new(),
            }),
            links: Mutex::default(),
            questions: Questions::default(),
            counting: Counting::default(),
            commits: Mutex::new(Commits::from(changelog.head().state.revision, boottime())),
            changelog: changelog.clone(),
            told: watch::Sender::new(()),
        });
        let observer: Weak<Fleet> = Arc::downgrade(&fleet);
        // Not under the own lock: the changelog calls observers under its own.
        let start = changelog.observe(Box::new(move |commit, head| {
            if let Some(fleet) = observer.upgrade() {
                fleet.committed(commit, head);
            }
        }));
        fleet.begin(&start.head, &start.recent, own);
        fleet
    }

    fn begin(&self, head: &Head, recent: &[Arc<Commit>], own: Option<PlaneId>) {
        let mut inner = self.lock();
        let now = boottime();
        let mut hub = Box::new(Hub::new(&head.state, recent.iter().map(|commit| &**commit), own, now));
        if let Stage::Early(commits) = &inner.stage {
            commits
                .iter()
                .for_each(|(commit, head)| hub.committed(commit, &head.state, now));
        }
        inner.stage = Stage::Live(hub);
    }

    /// Every commit, in order, before the write that made it is answered.
    fn committed(&self, commit: &Arc<Commit>, head: &Arc<Head>) {
        self.commits().add(commit.revision, boottime());
        let mut inner = self.lock();
        match &mut inner.stage {
            Stage::Early(commits) => commits.push((commit.clone(), head.clone())),
            Stage::Live(hub) => hub.committed(commit, &head.state, boottime()),
        }
        self.deliver(inner);
    }

    pub(super) fn commits(&self) -> MutexGuard<'_, Commits> {
        self.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panic left behind is whole: every call on the hub either happens or does not.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `call` on the hub, and tells everybody what came of it.
    pub(crate) fn with<R>(&self, call: impl FnOnce(&mut Hub) -> R) -> Option<R> {
        let mut inner = self.lock();
        let Stage::Live(hub) = &mut inner.stage else {
            return None;
        };
        let result = call(hub);
        self.deliver(inner);
        Some(result)
    }

    fn deliver(&self, mut inner: MutexGuard<'_, Inner>) {
        let Stage::Live(hub) = &mut inner.stage else { return };
        let news = hub.take_news();
        for (id, report) in news.finished {
            if let Some(waiter) = inner.waiters.remove(&id) {
                // A waiter that is gone needs no answer.
                let _ = waiter.send(report);
            }
        }
        drop(inner);
        if news.told {
            self.told.send_replace(());
        }
        if news.changed {
            self.links().values().for_each(|link| link.wake());
        } else if !news.closed.is_empty() {
            let links = self.links();
            news.closed
                .iter()
                .filter_map(|session| links.get(session))
                .for_each(|link| link.wake());
        }
    }

    /// Changes whenever there may be something to tell other control planes.
    pub(crate) fn told(&self) -> watch::Receiver<()> {
        self.told.subscribe()
    }

    fn links(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn link(&self, session: SessionId) -> Option<Arc<Link>> {
        self.links().get(&session).cloned()
    }

    pub(super) fn attach(&self, session: SessionId, link: Arc<Link>) {
        self.counting.attach(session, &link);
        self.links().insert(session, link);
    }

    pub(super) fn detach(&self, session: SessionId) {
        self.counting.detach(session);
        self.links().remove(&session);
    }

    /// How the fleet stands to `spec`, once everyone who is waited for was reached, or after `timeout`.
    pub async fn wait(self: &Arc<Self>, spec: WaitSpec, timeout: Duration) -> Report {
        let (waiter, answer) = oneshot::channel();
        let begun = {
            let mut inner = self.lock();
            match &mut inner.stage {
                Stage::Early(_) => Err(Box::default()),
                Stage::Live(hub) => hub.wait(spec, boottime()).inspect(|id| {
                    inner.waiters.insert(*id, waiter);
                }),
            }
        };
        let mut waiting = match begun {
            Err(report) => return *report,
            Ok(id) => Waiting {
                fleet: self.clone(),
                id,
                answer,
            },
        };
        match tokio::time::timeout(timeout, &mut waiting.answer).await {
            Ok(Ok(report)) => report,
            Ok(Err(_)) | Err(_) => waiting.give_up(),
        }
    }

    /// All members by name, as `GET /v1/fleet` shows them.
    pub fn members(&self) -> Vec<MemberView> {
        self.with(|hub| hub.members(boottime())).unwrap_or_default()
    }

    pub fn member(&self, name: &str) -> Option<MemberView> {
        self.with(|hub| hub.member(name, boottime())).flatten()
    }

    /// The head of the log and the store's epoch, as the fleet knows them.
    pub fn standing(&self) -> Option<(Revision, Epoch)> {
        self.with(|hub| (hub.revision(), hub.epoch()))
    }

    /// Lets leases end, ticks the connections, and forgets members that were away for `forget_after`; until `stop`, when
    /// every proxy is sent away.
    pub async fn keep(self: Arc<Self>, forget_after: Duration, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forgetting = None;
        let mut turn = 0;
        let reading = AbortOnDropHandle::new(tokio::spawn(self.clone().follow_reads()));
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let gone = self.with(|hub| {
                let now = boottime();
                hub.tick(now);
                hub.roster().forgotten(forget_after, now)
            });
            let gone = gone.unwrap_or_default();
            // One at a time: a store that is away must not gather tasks.
            let idle = forgetting.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
            if !gone.is_empty() && idle {
                forgetting = Some(tokio::spawn(self.clone().forget_all(gone)));
            }
            turn = (turn + 1) % TURNS;
            self.tell(|session| session.number() % TURNS == turn, || Input::Tick);
        }
        drop(reading);
        self.tell(|_| true, || Input::Shutdown);
    }

    /// Whom this control plane may speak for depends on how young its view of the log is.
    async fn follow_reads(self: Arc<Self>) {
        let mut reads = self.changelog.reads();
        while reads.changed().await.is_ok() {
            let began = *reads.borrow_and_update();
            self.with(|hub| hub.log_read(began, boottime()));
        }
    }

    fn tell(&self, whom: impl Fn(SessionId) -> bool, input: impl Fn() -> Input) {
        let chosen = |(session, link): (&SessionId, &Arc<Link>)| whom(*session).then(|| link.clone());
        let links: Vec<Arc<Link>> = self.links().iter().filter_map(chosen).collect();
        links.iter().for_each(|link| link.feed(input()));
    }
}

/// One write in the hub's list; out of it again however its caller ends.
struct Waiting {
    fleet: Arc<Fleet>,
    id: WaitId,
    answer: oneshot::Receiver<Report>,
}

impl Waiting {
    fn give_up(&mut self) -> Report {
        let standing = self.fleet.with(|hub| hub.give_up(self.id, boottime())).flatten();
        // Nothing to give up: it was over a moment before.
        standing.or_else(|| self.answer.try_recv().ok()).unwrap_or_default()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.fleet.with(|hub| hub.give_up(self.id, boottime()));
        self.fleet.lock().waiters.remove(&self.id);
    }
}
