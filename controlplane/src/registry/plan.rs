//! What a write waits for, and how long, when its caller did not say.

mod many;

use std::collections::BTreeSet;
use std::time::Duration;

use shared::change::{Kind, ObjectKey, Op, Revision, Verb};
use shared::model::{
    Address, AuthorizerName, Hold, LimitId, Service, ServiceName, Timeouts, Upstream, UpstreamId, UpstreamState,
};
use shared::stream::wait::{Condition, Target, WaitSpec};

use super::address;
use crate::changelog::{Committed, Head, Recent};

pub use many::Carried;

/// What a write is about.
#[derive(Clone, Debug)]
pub enum Subject {
    Service(ServiceName),
    ServiceGone(ServiceName),
    Upstream(ServiceName, UpstreamId),
    UpstreamGone(ServiceName, UpstreamId),
    AddressGone(Address),
    Authorizer(AuthorizerName),
    Limit(LimitId),
    /// That is held.
    Hold(ServiceName),
    /// What its operations name is all there is to it, and nothing drains.
    Settled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    None,
    Applied,
    Healthy,
    Drained,
}

impl Goal {
    pub const NAMES: [(&'static str, Goal); 4] = [
        ("none", Goal::None),
        ("applied", Goal::Applied),
        ("healthy", Goal::Healthy),
        ("drained", Goal::Drained),
    ];

    pub fn as_str(self) -> &'static str {
        Goal::NAMES
            .iter()
            .find(|(_, goal)| *goal == self)
            .map_or("", |(name, _)| name)
    }
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub goal: Goal,
    pub spec: WaitSpec,
    pub timeout: Duration,
    /// The addresses that the write was about.
    addresses: BTreeSet<Address>,
    /// A registration that retired nothing is at its address itself.
    own: Option<ObjectKey>,
}

const TIMEOUT: Duration = Duration::from_secs(15);

/// What a drain may take beyond the deadline at which proxies cut it.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// How far back the last form of something absent is looked for.
const PAST_DEPTH: usize = 10_000;

/// Entries of `also_in`; that it is not empty is what matters.
const ALSO_IN_MAX: usize = 100;

impl Plan {
    pub fn of(
        subject: &Subject,
        committed: &Committed,
        recent: &dyn Recent,
        goal: Option<Goal>,
        timeout: Option<Duration>,
    ) -> Plan {
        let past = Past { recent, committed };
        let retired = past.retired(subject);
        let held = past.held(subject);
        let is_default = goal.is_none();
        let goal = goal.unwrap_or_else(|| match retired.is_empty() {
            _ if held.is_some() => Goal::Drained,
            false => Goal::Drained,
            true if past.is_checked(subject) => Goal::Healthy,
            true => Goal::Applied,
        });
        let is_move = is_default && !retired.is_empty() && past.is_checked(subject);
        let timeout = match (goal, &held) {
            // When it has ended there is nothing to wait for any more.
            (Goal::Drained, Some(hold)) => timeout.map_or(hold.max, |timeout| timeout.min(hold.max)),
            (Goal::Drained, None) => timeout.unwrap_or_else(|| {
                let drain = past.drain(subject) + DRAIN_MARGIN;
                if is_move { drain.max(TIMEOUT) } else { drain }
            }),
            _ => timeout.unwrap_or(TIMEOUT),
        };
        let spec = WaitSpec {
            revision: committed.revision,
            condition: past.condition(goal, is_move, subject, retired),
            objects: past.objects(subject),
        };
        let own = match subject {
            Subject::Upstream(service, id) if past.retires_nothing() => {
                Some(ObjectKey::upstream(service.as_str(), id.as_str()))
            }
            _ => None,
        };
        Plan {
            goal,
            spec,
            timeout,
            addresses: past.addresses(subject),
            own,
        }
    }

    /// `service/id` of what is active at the addresses that the write was about. Asked when it is answered: while it
    /// waited, somebody may have registered one of them anew.
    pub fn also_in(&self, head: &Head) -> Vec<String> {
        also_in(head, &self.addresses, self.own.as_ref())
    }
}

/// `service/id` of what is active at `addresses`, but for `own`.
pub fn also_in(head: &Head, addresses: &BTreeSet<Address>, own: Option<&ObjectKey>) -> Vec<String> {
    let active = |key: &&ObjectKey| {
        let registered = key
            .upstream_parts()
            .and_then(|(service, id)| head.table.entry(service).and_then(|entry| entry.upstreams.get(id)));
        registered.is_some_and(|registered| registered.upstream.state == UpstreamState::Active)
    };
    let mut others = BTreeSet::new();
    for address in addresses {
        let keys = address::registrations(head, address);
        let keys = keys.iter().filter(|key| Some(*key) != own).filter(active);
        others.extend(keys.map(|key| key.key.to_string()).take(ALSO_IN_MAX));
        if others.len() >= ALSO_IN_MAX {
            break;
        }
    }
    others.into_iter().take(ALSO_IN_MAX).collect()
}

/// A write that stands, and what history tells about its subject.
struct Past<'a> {
    recent: &'a dyn Recent,
    committed: &'a Committed,
}

impl Past<'_> {
    fn head(&self) -> &Head {
        &self.committed.head
    }

    /// `is_move`: what took the place of `retired` is checked, and both are waited for.
    fn condition(&self, goal: Goal, is_move: bool, subject: &Subject, retired: Vec<Target>) -> Condition {
        match (goal, subject, retired.as_slice()) {
            (Goal::Healthy, Subject::Upstream(service, id), _) => Condition::Healthy {
                service: service.shared(),
                id: id.shared(),
            },
            (Goal::Drained, _, [Target::Upstream { service, id, before }]) if is_move => Condition::HandedOver {
                service: service.clone(),
                id: id.clone(),
                before: *before,
            },
            (Goal::Drained, Subject::Hold(service), _) => Condition::Quiet {
                service: service.shared(),
                since: self.committed.revision,
            },
            (Goal::Drained, _, []) => Condition::Drained(self.older(subject)),
            (Goal::Drained, _, _) => Condition::Drained(retired),
            _ => Condition::Applied,
        }
    }

    fn retires_nothing(&self) -> bool {
        !self.committed.ops.iter().any(retires)
    }

    /// The identities that the write retired; of a repeated one, those that the first one did. A repetition asks the
    /// same, so it never answers over something that is still in flight.
    fn retired(&self, subject: &Subject) -> Vec<Target> {
        let before = self.committed.revision;
        match subject {
            Subject::ServiceGone(service) => vec![Target::Service {
                service: service.shared(),
                before,
            }],
            Subject::UpstreamGone(service, id) => vec![upstream(service, id, before)],
            Subject::AddressGone(address) => vec![Target::Address {
                address: address.shared(),
                before,
            }],
            Subject::Upstream(service, id) => match self.committed.ops.first() {
                Some(op) if retires(op) => vec![upstream(service, id, before)],
                Some(_) => Vec::new(),
                None => self.retired_earlier(service, id),
            },
            Subject::Service(_) | Subject::Authorizer(_) | Subject::Hold(_) | Subject::Limit(_) | Subject::Settled => {
                Vec::new()
            }
        }
    }

    /// The hold that the write began.
    fn held(&self, subject: &Subject) -> Option<Hold> {
        let Subject::Hold(_) = subject else { return None };
        let body = self.committed.ops.first()?.body.as_ref()?;
        Hold::parse(body.as_str()).ok()
    }

    /// Whether proxies ask it how it is.
    fn is_checked(&self, subject: &Subject) -> bool {
        let Subject::Upstream(service, id) = subject else {
            return false;
        };
        let entry = self.head().table.entry(service.as_str());
        entry.is_some_and(|entry| {
            let registered = entry.upstreams.get(id);
            let is_active = registered.is_some_and(|one| one.upstream.state == UpstreamState::Active);
            is_active && entry.service.health_check.is_some()
        })
    }

    /// By the change that an identical PUT repeats.
    fn retired_earlier(&self, service: &ServiceName, id: &UpstreamId) -> Vec<Target> {
        let entry = self
            .head()
            .table
            .entry(service.as_str())
            .and_then(|entry| entry.upstreams.get(id));
        let Some(registered) = entry else { return Vec::new() };
        let key = ObjectKey::upstream(service.as_str(), id.as_str());
        let since = Revision(registered.revision.0.saturating_sub(1));
        let commits = self.recent.after(since, 1).unwrap_or_default();
        let op = commits
            .iter()
            .flat_map(|commit| &commit.ops)
            .find(|op| op.object() == key);
        match op {
            Some(op) if retires(op) => vec![upstream(service, id, registered.revision)],
            _ => Vec::new(),
        }
    }

    /// What a drain can be about where nothing was retired: earlier registrations of the same name.
    fn older(&self, subject: &Subject) -> Vec<Target> {
        match subject {
            Subject::Upstream(service, id) => vec![upstream(service, id, self.committed.revision)],
            _ => Vec::new(),
        }
    }

    /// The longest time that proxies give what was retired.
    fn drain(&self, subject: &Subject) -> Duration {
        let of = |service: &ServiceName| self.drain_of(service.as_str());
        match subject {
            Subject::Service(service) | Subject::ServiceGone(service) => of(service),
            Subject::Upstream(service, _) | Subject::UpstreamGone(service, _) => of(service),
            Subject::AddressGone(_) => {
                let services = self.committed.ops.iter().filter_map(|op| op.key.split_once('/'));
                let drains = services.map(|(service, _)| self.drain_of(service));
                drains.max().unwrap_or_else(|| Timeouts::default().drain)
            }
            Subject::Authorizer(_) | Subject::Hold(_) | Subject::Limit(_) | Subject::Settled => {
                Timeouts::default().drain
            }
        }
    }

    fn drain_of(&self, service: &str) -> Duration {
        if let Some(entry) = self.head().table.entry(service) {
            return entry.service.timeouts.drain;
        }
        let last = self.last_body(&ObjectKey::service(service));
        let parsed = last.and_then(|body| Service::parse(service, &body).ok());
        parsed.map_or_else(|| Timeouts::default().drain, |service| service.timeouts.drain)
    }

    fn objects(&self, subject: &Subject) -> Vec<ObjectKey> {
        match subject {
            Subject::Service(name) => vec![ObjectKey::service(name.as_str())],
            Subject::Upstream(service, id) => vec![ObjectKey::upstream(service.as_str(), id.as_str())],
            Subject::Authorizer(name) => vec![ObjectKey::authorizer(name.as_str())],
            Subject::Limit(id) => vec![ObjectKey::limit(*id)],
            _ => self.committed.ops.iter().map(Op::object).collect(),
        }
    }

    /// The addresses that the write took out of use; of a registration that retired nothing, its own.
    fn addresses(&self, subject: &Subject) -> BTreeSet<Address> {
        let address = |service: &str, id: &str, body: &str| Upstream::parse(service, id, body).ok().map(|u| u.address);
        let retired = self.committed.ops.iter().filter(|op| retires(op)).filter_map(|op| {
            let (service, id) = op.key.split_once('/')?;
            address(service, id, op.before.as_ref()?.body.as_str())
        });
        let mut addresses: BTreeSet<Address> = retired.collect();
        match subject {
            Subject::AddressGone(address) => drop(addresses.insert(address.clone())),
            Subject::Upstream(service, id) if addresses.is_empty() => {
                let entry = self
                    .head()
                    .table
                    .entry(service.as_str())
                    .and_then(|entry| entry.upstreams.get(id));
                addresses.extend(entry.map(|entry| entry.upstream.address.clone()));
            }
            Subject::UpstreamGone(service, id) if addresses.is_empty() => {
                let key = ObjectKey::upstream(service.as_str(), id.as_str());
                let last = self.last_body(&key);
                let body = last.as_deref().unwrap_or("{}");
                addresses.extend(address(service.as_str(), id.as_str(), body));
            }
            _ => {}
        }
        addresses
    }

    /// The body that an object had when it was deleted, if that was not long ago.
    fn last_body(&self, key: &ObjectKey) -> Option<String> {
        let deleted = |op: &Op| op.verb == Verb::Delete && op.kind == key.kind && op.key == key.key;
        let commit = self.recent.last(PAST_DEPTH, &|commit| commit.ops.iter().any(deleted))?;
        let op = commit.ops.iter().find(|op| deleted(op))?;
        Some(op.before.as_ref()?.body.as_str().to_owned())
    }
}

fn upstream(service: &ServiceName, id: &UpstreamId, before: Revision) -> Target {
    Target::Upstream {
        service: service.shared(),
        id: id.shared(),
        before,
    }
}

/// Whether an operation took an identity out of use: deleted it, replaced it by another, or told it to drain.
fn retires(op: &Op) -> bool {
    if op.kind != Kind::Upstream || op.before.is_none() {
        return false;
    }
    let draining = || {
        let parsed = op.key.split_once('/').zip(op.body.as_ref());
        let parsed = parsed.and_then(|((service, id), body)| Upstream::parse(service, id, body.as_str()).ok());
        parsed.is_some_and(|upstream| upstream.state == UpstreamState::Draining)
    };
    op.verb == Verb::Delete || op.registration.is_none() || draining()
}
