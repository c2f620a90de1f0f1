//! What the tests of this module build their logs and proxies from.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::change::{Before, Body, Commit, Epoch, Kind, Op, OpId, Revision, Verb};
use crate::state::State;
use crate::stream::message::{Draining, Hello, Level};
use crate::stream::roster::Member;
use crate::stream::roster::member::{self, Join};
use crate::time::Time;

pub const LEASE: Duration = Duration::from_secs(10);

pub fn at(ms: u64) -> Time {
    Time::from_nanos((100_000 + ms) * 1_000_000)
}

pub fn instance(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// A log in memory, with its fold.
#[derive(Clone)]
pub struct Log {
    pub state: State,
    pub commits: Vec<Commit>,
}

impl Log {
    pub fn new() -> Log {
        Log {
            state: State::empty(Epoch(Uuid::from_u128(1))),
            commits: Vec::new(),
        }
    }

    pub fn commit(&mut self, ops: Vec<Op>) -> Commit {
        let commit = Commit {
            revision: self.state.revision.next(),
            at_ms: 0,
            actor: "test".into(),
            op_id: OpId(Uuid::nil()),
            ops,
        };
        self.state.apply(&commit).unwrap();
        self.commits.push(commit.clone());
        commit
    }

    pub fn put(&mut self, kind: Kind, key: &str, body: &str) -> Commit {
        let op = self.op(Verb::Put, kind, key, Some(Body::from_json(body).unwrap()));
        self.commit(vec![op])
    }

    pub fn service(&mut self, name: &str) -> Commit {
        self.put(
            Kind::Service,
            name,
            &format!(r#"{{"match":[{{"hosts":["{name}.test"]}}]}}"#),
        )
    }

    pub fn join(&mut self, name: &str, instance: Uuid) -> Commit {
        let held = Member::of(&self.state, name).map(|member| member.instance);
        let member = Member {
            instance,
            lease_ms: LEASE.as_millis() as u64,
        };
        match member::join(&self.state, &name.into(), member, held) {
            Join::Append(op) => self.commit(vec![op]),
            other => panic!("{name} cannot join: {other:?}"),
        }
    }

    pub fn leave(&mut self, name: &str, goodbye: bool) -> Commit {
        let held = Member::of(&self.state, name).unwrap();
        let op = member::leave(&self.state, &name.into(), held.instance, goodbye).unwrap();
        self.commit(vec![op])
    }

    fn op(&self, verb: Verb, kind: Kind, key: &str, body: Option<Body>) -> Op {
        let mut op = Op {
            verb,
            kind,
            key: key.into(),
            body,
            registration: None,
            before: None,
        };
        op.before = self.state.get(&op.object()).map(|object| Before {
            body: object.body.clone(),
            revision: object.revision,
            registration: object.registration,
        });
        op
    }
}

/// A proxy with nothing, of the name's own instance.
pub fn hello(name: &str, instance: Uuid, boot: u64) -> Hello {
    Hello {
        name: name.into(),
        instance,
        boot,
        epoch: None,
        since: Revision::ZERO,
        digest: Default::default(),
        lease_ms: LEASE.as_millis() as u64,
        resync: false,
        build: "test".into(),
        features: Vec::new(),
    }
}

pub fn level(applied: u64) -> Level {
    Level {
        applied: Revision(applied),
        persisted: true,
        ..Level::default()
    }
}

pub fn draining(service: &str, id: &str, registration: u64) -> Draining {
    let (service, id): (Arc<str>, Arc<str>) = (service.into(), id.into());
    Draining {
        service,
        address: id.clone(),
        id,
        registration: Revision(registration),
        in_flight: 1,
    }
}
