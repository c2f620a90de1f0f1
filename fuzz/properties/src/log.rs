//! A control plane's log in memory, with what stood after every revision.

use std::collections::BTreeMap;

use shared::change::{Before, Commit, Epoch, ObjectKey, Op, OpId, Revision};
use shared::state::State;
use shared::stream::message::Change;
use uuid::Uuid;

pub struct Log {
    pub commits: Vec<Commit>,
    /// The first is empty; one more than there are commits.
    pub states: Vec<State>,
}

impl Log {
    pub fn new(epoch: u128) -> Log {
        Log {
            commits: Vec::new(),
            states: vec![State::empty(Epoch(Uuid::from_u128(epoch)))],
        }
    }

    pub fn head(&self) -> &State {
        self.states.last().expect("the empty one")
    }

    /// Of several operations on one object the last counts. None at all: nothing is committed.
    pub fn commit(&mut self, ops: impl IntoIterator<Item = Op>) -> Option<Commit> {
        let ops: BTreeMap<ObjectKey, Op> = ops.into_iter().map(|op| (op.object(), op)).collect();
        if ops.is_empty() {
            return None;
        }
        let mut state = self.head().clone();
        let before = |key: &ObjectKey| {
            state.get(key).map(|object| Before {
                body: object.body.clone(),
                revision: object.revision,
                registration: object.registration,
            })
        };
        let ops = ops
            .into_iter()
            .map(|(key, op)| Op {
                before: before(&key),
                ..op
            })
            .collect();
        let commit = Commit {
            revision: state.revision.next(),
            at_ms: 0,
            actor: "fuzz".into(),
            op_id: OpId(Uuid::from_u128(state.revision.0.into())),
            ops,
        };
        state.apply(&commit).expect("the next one");
        self.states.push(state);
        self.commits.push(commit.clone());
        Some(commit)
    }

    /// What proxies are told of it: a line for every commit that changed configuration.
    pub fn changes(&self) -> Vec<Change> {
        let configuring = self.commits.iter().filter(|commit| commit.is_configuration());
        configuring
            .map(|commit| Change {
                from: self.states[commit.revision.0 as usize - 1].configured,
                to: commit.revision,
                ops: commit
                    .ops
                    .iter()
                    .filter(|op| op.kind.is_configuration())
                    .cloned()
                    .collect(),
            })
            .collect()
    }

    /// As a proxy that has read all of it holds it.
    pub fn at(&self, revision: Revision) -> Option<&State> {
        self.states.get(usize::try_from(revision.0).ok()?)
    }
}
