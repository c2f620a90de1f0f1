//! What a write of many objects waits for: each of them as if it had been written alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use shared::change::{Kind, ObjectKey, Op, OpId, Revision, Verb};
use shared::model::{Service, Timeouts, UpstreamState};
use shared::stream::wait::{Condition, Target, WaitSpec};

use super::{DRAIN_MARGIN, Goal, Past, Plan, Subject, TIMEOUT, retires};
use crate::changelog::{Committed, Head, Recent};
use crate::registry::apply::Wanted;

/// What became of a write of many objects.
#[derive(Clone, Debug)]
pub struct Carried {
    /// That were committed for it, in order, each with its own operations. None: it stood already.
    pub revisions: Vec<(Revision, Vec<Op>)>,
    /// At which all of it stands.
    pub head: Arc<Head>,
    /// Of the last commit; of the true head without one.
    pub revision: Revision,
    pub op_id: Option<OpId>,
}

impl Carried {
    /// As one.
    pub fn committed(&self) -> Committed {
        Committed {
            revision: self.revision,
            appended: !self.revisions.is_empty(),
            head: self.head.clone(),
            op_id: self.op_id,
            ops: self.revisions.iter().flat_map(|(_, ops)| ops.iter().cloned()).collect(),
        }
    }
}

impl Plan {
    /// Costs a look at every object that is wanted.
    pub fn of_many(
        wanted: &Wanted,
        carried: &Carried,
        committed: &Committed,
        recent: &dyn Recent,
        goal: Option<Goal>,
        timeout: Option<Duration>,
    ) -> Plan {
        let many = Many {
            wanted,
            carried,
            recent,
        };
        let mut drained = many.retired();
        let retires_any = !drained.is_empty();
        if wanted.is_everything() {
            drained.push(Target::Any {
                before: carried.revision,
            });
        }
        let healthy = many.checked();
        let longest = many.drain(&drained) + DRAIN_MARGIN;
        let chosen = goal.unwrap_or(match (retires_any, healthy.is_empty()) {
            (true, _) => Goal::Drained,
            // A repetition asks for what the first one asked for.
            (false, _) if wanted.is_everything() && carried.revisions.is_empty() => Goal::Drained,
            (false, false) => Goal::Healthy,
            (false, true) => Goal::Applied,
        });
        let fits = match chosen {
            Goal::Drained => longest.max(TIMEOUT),
            _ => TIMEOUT,
        };
        let condition = match (chosen, goal.is_none()) {
            (Goal::None | Goal::Applied, _) => Condition::Applied,
            (Goal::Healthy, _) => Condition::Settled {
                healthy,
                drained: Vec::new(),
            },
            (Goal::Drained, true) => Condition::Settled { healthy, drained },
            (Goal::Drained, false) => Condition::Drained(drained),
        };
        let past = Past { recent, committed };
        Plan {
            goal: chosen,
            spec: WaitSpec {
                revision: carried.revision,
                condition,
                objects: many.objects(),
            },
            timeout: timeout.unwrap_or(fits),
            addresses: past.addresses(&Subject::Settled),
            own: None,
        }
    }
}

struct Many<'a> {
    wanted: &'a Wanted,
    carried: &'a Carried,
    recent: &'a dyn Recent,
}

impl Many<'_> {
    /// What was committed retired it, or what was committed earlier for what stands as it is wanted.
    fn retired(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let mut written = BTreeSet::new();
        for (revision, ops) in &self.carried.revisions {
            for op in ops {
                written.insert(op.object());
                if retires(op) {
                    targets.extend(upstream(&op.object(), *revision));
                }
            }
        }
        let mut standing: HashMap<Revision, Vec<&ObjectKey>> = HashMap::new();
        for (key, wish) in self.wanted.objects().iter().filter(|(key, _)| !written.contains(key)) {
            match (&key.kind, wish) {
                (Kind::Upstream, None) => targets.extend(upstream(key, self.carried.revision)),
                (Kind::Service, None) => targets.push(Target::Service {
                    service: key.key.clone(),
                    before: self.carried.revision,
                }),
                (Kind::Upstream, Some(_)) => {
                    let since = self.carried.head.state.get(key).map(|object| object.revision);
                    since
                        .into_iter()
                        .for_each(|since| standing.entry(since).or_default().push(key));
                }
                _ => {}
            }
        }
        for (revision, keys) in standing {
            targets.extend(self.retired_at(revision, &keys));
        }
        targets
    }

    /// Which of those that were last changed at `revision` retired something by that.
    fn retired_at(&self, revision: Revision, keys: &[&ObjectKey]) -> Vec<Target> {
        let since = Revision(revision.0.saturating_sub(1));
        let commits = self.recent.after(since, 1).unwrap_or_default();
        let Some(commit) = commits.first().filter(|commit| commit.revision == revision) else {
            return Vec::new();
        };
        let keys: BTreeSet<&ObjectKey> = keys.iter().copied().collect();
        let retiring = commit.ops.iter().filter(|op| retires(op)).map(Op::object);
        retiring
            .filter(|key| keys.contains(key))
            .filter_map(|key| upstream(&key, revision))
            .collect()
    }

    /// Service and id of what is wanted, and what proxies ask how it is.
    fn checked(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let wanted = self.wanted.objects().iter().filter(|(_, wish)| wish.is_some());
        let checked = wanted.filter_map(|(key, _)| {
            let (service, id) = key.upstream_parts()?;
            let entry = self.carried.head.table.entry(service)?;
            entry.service.health_check.as_ref()?;
            let (id, registered) = entry.upstreams.get_key_value(id)?;
            let is_active = registered.upstream.state == UpstreamState::Active;
            is_active.then(|| (entry.service.name.shared(), id.shared()))
        });
        checked.collect()
    }

    /// The longest time that proxies give to one of these.
    fn drain(&self, targets: &[Target]) -> Duration {
        let table = &self.carried.head.table;
        let ops = || self.carried.revisions.iter().flat_map(|(_, ops)| ops);
        let of = |service: &str| table.entry(service).map(|entry| entry.service.timeouts.drain);
        let named = targets.iter().filter_map(|target| match target {
            Target::Upstream { service, .. } | Target::Service { service, .. } => of(service),
            Target::Address { .. } | Target::Any { .. } => None,
        });
        let deleted = ops().filter(|op| op.verb == Verb::Delete && op.kind == Kind::Service);
        let deleted = deleted.filter_map(|op| {
            let service = Service::parse(&op.key, op.before.as_ref()?.body.as_str()).ok()?;
            Some(service.timeouts.drain)
        });
        let any = targets.iter().any(|target| matches!(target, Target::Any { .. }));
        let all = table
            .entries()
            .filter(|_| any)
            .map(|entry| entry.service.timeouts.drain);
        let longest = named.chain(deleted).chain(all).max();
        longest.unwrap_or_else(|| Timeouts::default().drain)
    }

    /// What a proxy must not refuse.
    fn objects(&self) -> Vec<ObjectKey> {
        let wanted = self.wanted.objects().iter().filter(|(_, wish)| wish.is_some());
        let written = self
            .carried
            .revisions
            .iter()
            .flat_map(|(_, ops)| ops.iter().map(Op::object));
        wanted.map(|(key, _)| key.clone()).chain(written).collect()
    }
}

fn upstream(key: &ObjectKey, before: Revision) -> Option<Target> {
    let (service, id) = key.upstream_parts()?;
    Some(Target::Upstream {
        service: service.into(),
        id: id.into(),
        before,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::change::{Commit, Epoch};
    use shared::state::State;
    use uuid::Uuid;

    use super::*;
    use crate::changelog::History;
    use crate::registry::apply::Rest;

    struct World {
        head: Head,
        history: History,
    }

    impl World {
        fn new() -> World {
            World {
                head: Head::of(State::empty(Epoch(Uuid::nil()))),
                history: History::after_floor(Revision::ZERO),
            }
        }

        /// What applying the document waits for.
        fn apply(&mut self, document: &Value, rest: Rest) -> Plan {
            let wanted = Wanted::read(&document.to_string(), rest).unwrap();
            let ops = wanted.change(&self.head).unwrap().ops;
            let mut revisions = Vec::new();
            if !ops.is_empty() {
                let revision = self.head.state.revision.next();
                self.head = self.head.with(&ops, revision);
                let commit = Commit {
                    revision,
                    at_ms: 0,
                    actor: "test".into(),
                    op_id: OpId(Uuid::from_u128(revision.0.into())),
                    ops: ops.clone(),
                };
                self.history.push(Arc::new(commit));
                revisions.push((revision, ops));
            }
            let carried = Carried {
                revisions,
                head: Arc::new(self.head.clone()),
                revision: self.head.state.revision,
                op_id: None,
            };
            Plan::of_many(&wanted, &carried, &carried.committed(), &self.history, None, None)
        }
    }

    fn document(address: &str) -> Value {
        json!({"services": {
            "web": {"match": [], "health_check": {"path": "/"}, "timeouts": {"drain": "90s"}, "upstreams": {"a": {"address": address}}},
            "plain": {"match": [], "upstreams": {"h:9": {}}},
        }})
    }

    fn settled(plan: &Plan) -> (Vec<String>, Vec<Target>) {
        let Condition::Settled { healthy, drained } = &plan.spec.condition else {
            panic!("{:?}", plan.spec.condition);
        };
        let healthy = healthy.iter().map(|(service, id)| format!("{service}/{id}"));
        (healthy.collect(), drained.clone())
    }

    fn gone(before: u64) -> Target {
        upstream(&ObjectKey::upstream("web", "a"), Revision(before)).unwrap()
    }

    #[test]
    fn each_object_is_waited_for_as_if_it_were_alone_and_again_when_it_is_repeated() {
        let mut world = World::new();
        let first = world.apply(&document("h:1"), Rest::Stays);
        assert_eq!((first.goal, first.timeout), (Goal::Healthy, TIMEOUT));
        assert_eq!(settled(&first), (vec!["web/a".to_owned()], Vec::new()));
        let moved = world.apply(&document("h:2"), Rest::Stays);
        let again = world.apply(&document("h:2"), Rest::Stays);
        for plan in [moved, again] {
            assert_eq!((plan.goal, plan.timeout), (Goal::Drained, Duration::from_secs(95)));
            assert_eq!(settled(&plan), (vec!["web/a".to_owned()], vec![gone(2)]));
            assert_eq!(plan.spec.revision, Revision(2));
            assert!(plan.spec.objects.contains(&ObjectKey::service("plain")));
        }
    }

    #[test]
    fn what_is_everything_waits_for_everything_that_drains() {
        let mut world = World::new();
        world.apply(&document("h:1"), Rest::Goes);
        let only = json!({"services": {"plain": {"match": []}}});
        let any = |before| Target::Any {
            before: Revision(before),
        };
        let pruned = world.apply(&only, Rest::Goes);
        assert_eq!((pruned.goal, pruned.timeout), (Goal::Drained, Duration::from_secs(95)));
        let (healthy, drained) = settled(&pruned);
        assert!(
            healthy.is_empty() && drained.contains(&gone(2)) && drained.contains(&any(2)),
            "{drained:?}"
        );
        let again = world.apply(&only, Rest::Goes);
        assert_eq!(
            (again.goal, settled(&again)),
            (Goal::Drained, (Vec::new(), vec![any(2)]))
        );
        let service = json!({"services": {"plain": {"match": [], "open": true}}});
        assert_eq!(world.apply(&service, Rest::Goes).goal, Goal::Applied);
    }
}
