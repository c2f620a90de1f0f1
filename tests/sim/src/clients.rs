//! Those who write: what they ask for, how the control plane comes to its answer, and that there is one.

mod answers;

use std::collections::BTreeMap;
use std::sync::Arc;

use controlplane::changelog::{Committed, Decide, Decision, Head};
use controlplane::push::join;
use controlplane::registry::plan::{Goal, Plan, Subject};
use controlplane::registry::{Conditions, Document, address, authorizer, hold, service, succession, upstream};
use serde_json::json;
use shared::change::{Before, Body, Commit, Epoch, Kind, ObjectKey, Op, OpId, Revision, Verb};
use shared::model::{Address, ServiceName, UpstreamId};

use crate::dice::{Dice, MILLI, SECOND};
use crate::guard::{self, Withdrawn};
use crate::plane::Purpose;
use crate::world::{Actor, World};

pub type OpNumber = u64;

pub const SERVICES: [&str; 2] = ["s0", "s1"];
const IDS: [&str; 4] = ["a", "b", "c", "d"];
const ADDRESSES: [&str; 5] = [
    "10.0.0.1:80",
    "10.0.0.2:80",
    "10.0.0.3:80",
    "10.0.0.4:80",
    "10.0.0.5:80",
];

/// A write must be answered by then: the store's 3 s, the longest wait that a plan gives, and what the machine takes.
const ANSWER_WITHIN: u64 = 72 * SECOND;

#[derive(Default)]
pub struct Clients {
    pub between_requests: u64,
    between_writes: u64,
    /// So many of a hundred writes.
    pub holds: u64,
    /// No more requests.
    pub quiet: bool,
    ops: BTreeMap<OpNumber, Asked>,
    last: OpNumber,
    last_delete: Option<What>,
    /// Faults have been over for long.
    settled: bool,
}

/// A write that has not been answered yet.
#[derive(Clone)]
struct Asked {
    what: What,
    actor: Arc<str>,
    /// Nobody else writes under this name.
    alone: bool,
    goal: Option<Goal>,
    /// The true head when it was asked for.
    head: Revision,
    history: u64,
    at: u64,
    /// Which control plane was asked.
    plane: usize,
    /// All is well: there is no excuse.
    must_succeed: bool,
}

#[derive(Clone, Debug)]
pub enum What {
    PutService(&'static str, String),
    DeleteService(&'static str),
    PutUpstream(&'static str, &'static str, String),
    DeleteUpstream(&'static str, &'static str),
    DeleteAddress(&'static str),
    /// Something of a newer version, which no proxy of this one can apply.
    PutOdd(u64),
    DeleteOdd,
    /// The store's own epoch, or another that it may take over from.
    Succeed(Option<Epoch>),
    Forget(Arc<str>),
    PutAuthorizer(String),
    Revoke(Withdrawn),
    /// For so many seconds at most.
    Hold(&'static str, u64),
    Resume(&'static str),
}

pub struct Waiting {
    op: OpNumber,
    committed: Committed,
    plan: Plan,
}

impl Clients {
    pub fn new(dice: &mut Dice) -> Clients {
        Clients {
            between_requests: dice.between(60, 400) * MILLI,
            between_writes: dice.between(100, 1_500) * MILLI,
            ..Clients::default()
        }
    }
}

impl What {
    fn subject(&self) -> Subject {
        let service = |name: &str| ServiceName::try_from(name).expect("a good name");
        let id = |id: &str| UpstreamId::try_from(id).expect("a good id");
        match self {
            What::PutService(name, _) => Subject::Service(service(name)),
            What::DeleteService(name) => Subject::ServiceGone(service(name)),
            What::PutUpstream(name, of, _) => Subject::Upstream(service(name), id(of)),
            What::DeleteUpstream(name, of) => Subject::UpstreamGone(service(name), id(of)),
            What::DeleteAddress(of) => Subject::AddressGone(Address::try_from(*of).expect("a good address")),
            What::PutAuthorizer(_) => Subject::Authorizer(guard::authorizer()),
            What::Hold(name, _) => Subject::Hold(service(name)),
            What::PutOdd(_)
            | What::DeleteOdd
            | What::Succeed(_)
            | What::Forget(_)
            | What::Revoke(_)
            | What::Resume(_) => Subject::Settled,
        }
    }

    fn decide(&self, dice: &mut Dice, head: &Head) -> Decide {
        let document =
            |body: &str| Document::of(serde_json::from_str(body).expect("good JSON"), &[]).expect("a good document");
        let none = Conditions::default;
        match (self, self.subject()) {
            (What::PutService(_, body), Subject::Service(name)) => {
                service::replace(&name, document(body), none()).expect("a good service")
            }
            (What::PutUpstream(_, _, body), Subject::Upstream(name, id)) => {
                upstream::replace(&name, &id, document(body), none()).expect("a good upstream")
            }
            (_, Subject::ServiceGone(name)) => service::remove(&name, none()),
            (_, Subject::UpstreamGone(name, id)) => upstream::remove(&name, &id, none()),
            (_, Subject::AddressGone(of)) => address::remove(&of, None),
            (What::PutAuthorizer(body), _) => {
                authorizer::replace(&guard::authorizer(), document(body), none()).expect("a good authorizer")
            }
            (What::Revoke(withdrawn), _) => {
                authorizer::revoke(&guard::authorizer(), &withdrawn.revocation(), dice.uuid())
            }
            (What::Hold(_, max), Subject::Hold(name)) => {
                let body = format!(r#"{{"max":"{max}s"}}"#);
                hold::begin(&name, document(&body), none(), dice.uuid()).expect("a good hold")
            }
            (What::Resume(name), _) => hold::end(&ServiceName::try_from(*name).expect("a good name"), none()),
            (What::PutOdd(n), _) => odd(Some(*n)),
            (What::DeleteOdd, _) => odd(None),
            (What::Succeed(Some(epoch)), _) => succession::succeed(*epoch, dice.uuid()),
            _ => succession::succeed(head.state.epoch, dice.uuid()),
        }
    }
}

fn odd(n: Option<u64>) -> Decide {
    Arc::new(move |head| {
        let (kind, key) = (Kind::Unknown("of-tomorrow".into()), "x".into());
        let key = ObjectKey { kind, key };
        let current = head.state.get(&key);
        if n.is_none() && current.is_none() {
            return Decision::Nothing;
        }
        Decision::Append(vec![Op {
            verb: if n.is_some() { Verb::Put } else { Verb::Delete },
            kind: key.kind,
            key: key.key,
            body: n.map(|n| Body::of_value(&json!({ "n": n }))),
            registration: None,
            before: current.map(|object| Before {
                body: object.body.clone(),
                revision: object.revision,
                registration: None,
            }),
        }])
    })
}

impl World {
    pub fn first_writes(&mut self) {
        for name in SERVICES {
            let body = self.service_body(name);
            self.ask(What::PutService(name, body), None);
            self.ask(
                What::PutUpstream(name, "a", json!({"address": ADDRESSES[0]}).to_string()),
                None,
            );
        }
    }

    pub fn next_write(&mut self) {
        let pause = self.dice.below(2 * self.clients.between_writes);
        self.after(Actor::World, pause, |world| {
            if world.faults.over {
                return;
            }
            world.some_write();
            world.next_write();
        });
    }

    pub fn service_body(&mut self, name: &str) -> String {
        let balance = self.dice.one(&["least_request", "round_robin", "random"]);
        let drain = self.dice.one(&["2s", "5s", "20s"]);
        json!({"match": [{"hosts": [format!("{name}.test")]}], "balance": balance, "timeouts": {"drain": drain, "response": "2s"}})
            .to_string()
    }

    pub fn some_what(&mut self) -> What {
        let (service, id) = (self.dice.one(&SERVICES), self.dice.one(&IDS));
        let address = self.dice.one(&ADDRESSES);
        match self.dice.below(100) {
            0..35 => {
                let state = if self.dice.percent(15) { "draining" } else { "active" };
                let body = json!({"address": address, "weight": 1 + self.dice.below(3), "state": state});
                What::PutUpstream(service, id, body.to_string())
            }
            35..65 => What::DeleteUpstream(service, id),
            65..73 => What::DeleteAddress(address),
            73..85 => What::PutService(service, self.service_body(service)),
            85..88 => What::DeleteService(service),
            88..93 => What::PutOdd(self.dice.below(5)),
            93..96 => What::DeleteOdd,
            96..97 => What::Succeed(None),
            _ => match self.volume().members(self.volume().head()) {
                members if members.is_empty() => What::DeleteOdd,
                members => What::Forget(members[self.dice.index(members.len())].0.clone()),
            },
        }
    }

    fn some_write(&mut self) {
        if self.faults.foreign && self.dice.percent(12) {
            return self.foreign_write();
        }
        if self.clients.holds > 0 && self.dice.percent(self.clients.holds) {
            return self.some_hold();
        }
        let again = self
            .dice
            .percent(25)
            .then(|| self.clients.last_delete.clone())
            .flatten();
        let what = again.unwrap_or_else(|| self.some_what());
        let goal = self.dice.percent(8).then_some(Goal::None);
        if matches!(
            what,
            What::DeleteUpstream(..) | What::DeleteAddress(_) | What::DeleteService(_)
        ) {
            self.clients.last_delete = Some(what.clone());
        }
        self.ask(what, goal);
    }

    pub fn ask(&mut self, what: What, goal: Option<Goal>) {
        let alive: Vec<usize> = (0..self.planes.len())
            .filter(|n| self.planes[*n].run.is_some())
            .collect();
        if !alive.is_empty() {
            let n = self.dice.one(&alive);
            self.ask_of(n, what, goal);
        }
    }

    /// Through each control plane, now that the fleet and the store are whole again.
    pub fn last_writes(&mut self) {
        self.clients.settled = true;
        for n in 0..self.planes.len() {
            let name = self.dice.one(&SERVICES);
            let body = self.service_body(name);
            self.ask_of(n, What::PutService(name, body), None);
            self.ask_of(n, What::DeleteOdd, None);
        }
    }

    pub fn ask_of(&mut self, n: usize, what: What, goal: Option<Goal>) {
        let Some(head) = self.planes[n].run.as_ref().map(|run| run.committer.head().clone()) else {
            return;
        };
        self.clients.last += 1;
        let number = self.clients.last;
        let alone = self.dice.percent(40);
        let actor: Arc<str> = match alone {
            true => format!("client {number}").into(),
            false => "clients".into(),
        };
        self.note(|| format!("client: {number} asks plane {n} for {what:?}, waiting for {goal:?}"));
        let asked = Asked {
            what: what.clone(),
            actor: actor.clone(),
            alone,
            goal,
            head: self.volume().head(),
            history: self.volume().history,
            at: self.now,
            plane: n,
            must_succeed: self.clients.settled,
        };
        self.clients.ops.insert(number, asked);
        let way = self.dice.between(10_000, MILLI);
        if let What::Forget(name) = what {
            return self.after(Actor::Plane(n), way, move |world| world.ask_to_forget(n, number, &name));
        }
        let decide = what.decide(&mut self.dice, &head);
        self.after(Actor::Plane(n), way, move |world| {
            world.submit(n, actor, decide, Purpose::Write(number))
        });
    }

    /// The control plane has gone, and with it who was asked.
    pub fn lose_clients(&mut self, n: usize) {
        self.clients.ops.retain(|_, asked| asked.plane != n);
    }

    /// Another control plane on the same log.
    fn foreign_write(&mut self) {
        let members = self.volume().members(self.volume().head());
        let what = match self.dice.below(4) {
            0 if !members.is_empty() => What::Forget(members[self.dice.index(members.len())].0.clone()),
            _ => self.some_what(),
        };
        let head = Head::of(self.volume().now().clone());
        let decide = match &what {
            What::Forget(name) => {
                let Some((_, member)) = members.into_iter().find(|(member, _)| member == name) else {
                    return;
                };
                self.count.add("members forgotten elsewhere");
                join::leaving(name.clone(), member.instance, false)
            }
            What::Succeed(_) => return,
            other => other.decide(&mut self.dice, &head),
        };
        let Decision::Append(ops) = decide(&head) else { return };
        let commit = Commit {
            revision: head.state.revision.next(),
            at_ms: 0,
            actor: "another control plane".into(),
            op_id: OpId(self.dice.uuid()),
            ops,
        };
        let Some(core) = self.volume().core() else { return };
        if core.append(head.state.revision, &commit).is_ok() {
            self.note(|| format!("elsewhere: revision {} is {what:?}", commit.revision));
            self.count.add("commits of another control plane");
        }
        self.learn();
    }
}
