//! A proxy and an owner that hear each other at once, but for when the owner stands still.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use shared::change::{Epoch, Kind, Revision};
use shared::model::LimitId;
use shared::quota::owner::{Input, Output, Roster};
use shared::quota::{CellKey, CellValue, Label, Outcome, Owner, ProxyId, Reading, Rules, SHARDS, Settings};
use shared::time::Time;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;
use uuid::Uuid;

use crate::authorizer::{Answer, Asked, Grant};
use crate::fixture::{Registry, meta};
use crate::limiter::{Decided, Desk, Identity, Limiter};
use crate::pipeline::{
    Authorized, Authorizers, Counted, Given, Limits, Protocol, RequestMeta, Verdict, authorize, route,
};
use crate::view::Views;

/// Long enough for any machine; nothing waits for it to pass.
const AMPLE: Duration = Duration::from_secs(20);

/// Runs a story on a worker's kind of runtime.
pub fn story(tell: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(AMPLE * 3, tell()).await.expect("it hangs") });
}

pub struct Stage {
    pub views: Arc<Views>,
    desk: Desk,
    registry: RefCell<Registry>,
    revision: Cell<u64>,
    store: Cell<Epoch>,
    owner: Rc<RefCell<Machine>>,
    stands: Rc<Cell<bool>>,
    /// Between two looks of the owner at what was said.
    pace: Rc<Cell<Duration>>,
}

/// An owner, its store and its roster.
pub(crate) struct Machine {
    owner: Owner,
    cells: BTreeMap<CellKey, CellValue>,
    members: BTreeSet<Uuid>,
}

/// The owner's wall clock begins with an hour, at the first look: the windows of no test end while it runs.
fn reading() -> Reading {
    static FIRST: OnceLock<Time> = OnceLock::new();
    const AN_HOUR: Duration = Duration::from_secs(500_000 * 3_600);
    let mono = net::clock::monotonic_raw();
    let wall = AN_HOUR + mono.since(*FIRST.get_or_init(|| mono));
    Reading {
        mono,
        wall: wall.as_nanos() as u64,
    }
}

impl Machine {
    /// Makes it the owner of all shards for a proxy that has joined just now.
    pub fn begin(&mut self, limiter: &Limiter, rules: Rules) {
        self.handle(Input::Rules(rules), limiter);
        self.handle(Input::Members(self.members.clone()), limiter);
        self.handle(Input::Shards(u64::MAX), limiter);
        limiter.welcome(Vec::new());
    }

    /// What the proxy said meanwhile, and what became due at either.
    pub fn go_on(&mut self, limiter: &Limiter) {
        for up in limiter.said().now_or_never().unwrap_or_default() {
            self.handle(Input::Message(up), limiter);
        }
        self.handle(Input::Tick, limiter);
        limiter.tick();
    }

    pub fn new(members: BTreeSet<Uuid>) -> Machine {
        Machine {
            owner: Owner::new(
                Uuid::new_v4(),
                Settings::default(),
                reading(),
                (Label::ZERO, Time::ZERO),
            ),
            cells: BTreeMap::new(),
            members,
        }
    }

    fn handle(&mut self, input: Input, limiter: &Limiter) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for output in self.owner.handle(input, reading()) {
                match output {
                    Output::Send(down) => limiter.hear(down),
                    Output::Get(key) => {
                        let outcome = Outcome::Is(self.cells.get(&key).cloned());
                        inputs.push(Input::Cell { key, outcome });
                    }
                    Output::Swap { key, expected, new } => {
                        let there = self.cells.get(&key).cloned();
                        let outcome = if there == expected {
                            self.cells.insert(key.clone(), new);
                            Outcome::Swapped
                        } else {
                            Outcome::Differs(there)
                        };
                        inputs.push(Input::Cell { key, outcome });
                    }
                    Output::ReadRoster(shard) => {
                        let (members, left) = (self.members.clone(), Vec::new());
                        let roster = Roster { members, left };
                        inputs.push(Input::Roster { shard, roster });
                    }
                    Output::Handover(_) => {}
                    Output::Resign { .. } => panic!("nothing is wrong with the clock"),
                }
            }
        }
    }
}

impl Stage {
    /// With a service that takes everything, and these limits; the owner is known to the proxy.
    pub async fn new(limits: &[&str]) -> Stage {
        let views = Views::new(1);
        let id = ProxyId {
            instance: Uuid::new_v4(),
            boot: 1,
        };
        views.limiter().begin(Identity {
            id,
            accounts: 1_024,
            is_marked: true,
        });
        let stage = Stage {
            desk: Desk::new(&views),
            views,
            registry: RefCell::new(Registry::web("random")),
            revision: Cell::new(0),
            store: Cell::new(Epoch(Uuid::new_v4())),
            owner: Rc::new(RefCell::new(Machine::new(BTreeSet::from([id.instance])))),
            stands: Rc::default(),
            pace: Rc::new(Cell::new(Duration::from_millis(1))),
        };
        stage.is_patient_for(AMPLE);
        stage.begin(limits).await;
        stage.live();
        stage
    }

    async fn begin(&self, limits: &[&str]) {
        {
            let mut registry = self.registry.borrow_mut();
            for (n, limit) in limits.iter().enumerate() {
                registry.put(Kind::Limit, &name(n), limit);
            }
        }
        self.deploy();
        let rules = self
            .registry
            .borrow()
            .table()
            .rules(Revision(1_000 + self.revision.get()));
        self.owner.borrow_mut().begin(self.views.limiter(), rules);
    }

    /// The proxy and its owner go on by themselves.
    fn live(&self) {
        let (owner, stands, pace) = (self.owner.clone(), self.stands.clone(), self.pace.clone());
        let limiter = self.views.limiter().clone();
        spawn_local(async move {
            loop {
                match stands.get() {
                    false => owner.borrow_mut().go_on(&limiter),
                    true => drop(limiter.tick()),
                }
                tokio::time::sleep(pace.get()).await;
            }
        });
    }

    fn tell(&self, input: Input) {
        self.owner.borrow_mut().handle(input, self.views.limiter());
    }

    fn deploy(&self) {
        self.revision.set(self.revision.get() + 1);
        let revision = Revision(1_000 + self.revision.get());
        let mut registry = self.registry.borrow_mut();
        registry.deploy(&self.views);
        let table = registry.table();
        self.views.limiter().follow(&table, revision, self.store.get());
        self.tell(Input::Rules(table.rules(revision)));
    }

    pub fn put(&self, n: usize, limit: &str) {
        self.registry.borrow_mut().put(Kind::Limit, &name(n), limit);
        self.deploy();
    }

    pub fn delete(&self, n: usize) {
        self.registry.borrow_mut().delete(Kind::Limit, &name(n));
        self.deploy();
    }

    /// To a store where fewer revisions have been, and its owner.
    pub async fn come_over(&self, limits: &[&str]) {
        let members = self.owner.borrow().members.clone();
        *self.owner.borrow_mut() = Machine::new(members);
        *self.registry.borrow_mut() = Registry::web("random");
        self.revision.set(0);
        self.store.set(Epoch(Uuid::new_v4()));
        self.begin(limits).await;
    }

    /// Until the owner has said what it would refuse of all that passed.
    pub async fn is_observed(&self) {
        let tally = self.views.limiter().tallies().of(self.id(0));
        let sum = || Decided::ALL.iter().map(|(_, decided)| tally.sum(*decided)).sum::<u64>();
        let before = sum();
        while sum() == before {
            tokio::task::yield_now().await;
        }
    }

    /// Of the limit at that place.
    pub fn id(&self, n: usize) -> LimitId {
        LimitId::try_from(&*name(n)).unwrap()
    }

    pub fn owner_stands_still(&self) {
        self.stands.set(true);
    }

    pub fn owner_answers_every(&self, pace: Duration) {
        self.pace.set(pace);
    }

    /// However long it takes to be answered.
    pub fn is_patient_for(&self, patience: Duration) {
        let mut inner = self.views.limiter().lock();
        (inner.patience, inner.patience_max) = (patience, patience);
    }

    pub fn is_cut_off(&self) -> bool {
        let limiter = self.views.limiter();
        (0..SHARDS).all(|shard| {
            limiter
                .lock()
                .machine
                .as_ref()
                .unwrap()
                .is_cut_off(shard, reading().mono)
        })
    }

    pub fn owner_goes_on(&self) {
        self.stands.set(false);
    }

    /// Until so many requests wait.
    pub async fn waits(&self, requests: usize) {
        while self.views.limiter().lock().waiters.len() != requests {
            tokio::task::yield_now().await;
        }
    }

    /// Until so many requests stand in line.
    pub async fn turns(&self, requests: usize) {
        while self.views.limiter().turns().len() != requests {
            tokio::task::yield_now().await;
        }
    }

    fn authorized(&self, meta: &RequestMeta<'_>) -> Authorized {
        let routed = route(&self.views.now(), meta).ok().unwrap();
        authorize(routed, meta, &()).now_or_never().unwrap().ok().unwrap()
    }

    /// Services with this authorizer ask for leave that is given beforehand.
    pub fn is_authorized(&self, services: &[&str]) {
        {
            let mut registry = self.registry.borrow_mut();
            registry.service("auth", r#"{"match":[]}"#);
            registry.put(Kind::Authorizer, "main", r#"{"service":"auth","style":"forward"}"#);
            for name in services {
                let body = format!(r#"{{"match":[{{"hosts":["{name}.test"]}}],"authorizer":"main"}}"#);
                registry.service(name, &body);
            }
        }
        self.deploy();
    }

    /// How many of so many requests to a service and a path are admitted, by one grant.
    pub async fn admitted_by(&self, leave: &Leave, requests: usize, service: &str, path: &str) -> usize {
        let host = format!("{service}.test");
        let meta = RequestMeta {
            host: &host,
            ..meta(path)
        };
        let mut admitted = 0;
        for _ in 0..requests {
            let routed = route(&self.views.now(), &meta).ok().unwrap();
            let authorized = authorize(routed, &meta, leave).await.ok().unwrap();
            let counted = self.desk.count(&authorized, &meta, Counted::default()).await;
            admitted += usize::from(counted.is_ok());
        }
        admitted
    }

    pub async fn ask(&self, path: &str) -> Result<Counted, Verdict> {
        self.ask_again(path, Counted::default()).await
    }

    pub async fn ask_again(&self, path: &str, before: Counted) -> Result<Counted, Verdict> {
        let meta = meta(path);
        self.desk.count(&self.authorized(&meta), &meta, before).await
    }

    pub async fn ask_from(&self, client: u32) -> Result<Counted, Verdict> {
        let client = Ipv4Addr::from_bits(client).into();
        let meta = RequestMeta { client, ..meta("/") };
        self.desk
            .count(&self.authorized(&meta), &meta, Counted::default())
            .await
    }

    pub async fn mail_from(&self, client: u32) -> Result<Counted, Verdict> {
        let client = Ipv4Addr::from_bits(client).into();
        let routed = meta("/");
        let meta = RequestMeta {
            client,
            protocol: Protocol::Smtp,
            ..meta("example.org")
        };
        self.desk
            .count(&self.authorized(&routed), &meta, Counted::default())
            .await
    }

    /// With that as its `x-cost`.
    pub async fn ask_for(&self, cost: &str) -> Result<Counted, Verdict> {
        let fields = field("x-cost", cost);
        let meta = RequestMeta {
            fields: Some(&fields),
            ..meta("/")
        };
        self.desk
            .count(&self.authorized(&meta), &meta, Counted::default())
            .await
    }

    /// The answer says so in its `x-used`.
    pub fn settle(&self, counted: &Counted, used: Option<&str>) {
        let answer = used.map_or_else(HeaderMap::new, |used| field("x-used", used));
        self.desk.settle(counted, &answer);
    }

    pub fn asks(&self, path: &'static str) -> JoinHandle<Result<Counted, Verdict>> {
        let authorized = self.authorized(&meta(path));
        let desk = self.desk.clone();
        spawn_local(async move { desk.count(&authorized, &meta(path), Counted::default()).await })
    }

    /// How many of so many are.
    pub async fn admitted(&self, requests: usize, path: &str) -> usize {
        let mut admitted = 0;
        for _ in 0..requests {
            admitted += usize::from(self.ask(path).await.is_ok());
        }
        admitted
    }
}

fn field(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
}

/// Whoever asks has this.
pub struct Leave(Arc<Answer>);

impl Leave {
    pub fn of(token: &'static str) -> Leave {
        Leave(Arc::new(Answer::Granted(Grant {
            auth_token: Some(HeaderValue::from_static(token)),
            ..Grant::default()
        })))
    }

    pub fn under(token: &'static str, limit_key: &str) -> Leave {
        Leave(Arc::new(Answer::Granted(Grant {
            auth_token: Some(HeaderValue::from_static(token)),
            limit_key: Some(limit_key.into()),
            ..Grant::default()
        })))
    }
}

impl Authorizers for Leave {
    async fn ask(&self, asked: &Asked, _: &RequestMeta<'_>) -> Result<Given, Verdict> {
        Ok(Given {
            answer: self.0.clone(),
            stamp: asked.stamp(),
        })
    }
}

fn name(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}
