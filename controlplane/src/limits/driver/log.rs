//! What the log tells an owner.

use std::collections::BTreeSet;
use std::sync::Arc;

use shared::change::{Commit, Kind, ObjectKey};
use shared::quota::owner::{Input, Roster};
use shared::quota::{Label, Owner, Shard};
use shared::state::Object;
use shared::stream::roster::Member;
use uuid::Uuid;

use super::Driver;
use crate::changelog::{Head, Recent};

impl Driver {
    pub(super) fn roster_read(&mut self, shards: BTreeSet<Shard>) {
        let now = self.owner.as_ref().map_or(Label::ZERO, Owner::label);
        let roster = Roster {
            members: self.members.clone(),
            left: self.departures.since(now, self.settings.forget_after),
        };
        for shard in shards {
            let roster = roster.clone();
            self.input(Input::Roster { shard, roster });
        }
    }

    /// Hands on what was committed, in order.
    pub(super) fn follow_log(&mut self) {
        let head = self.changelog.head();
        if head.state.revision == self.head.state.revision {
            return;
        }
        let now = self.owner.as_ref().map_or(Label::ZERO, Owner::label);
        let moved = match self.changelog.after(self.head.state.revision, usize::MAX) {
            Some(commits) => {
                let reached = commits.iter().filter(|commit| commit.revision <= head.state.revision);
                let mut of_roster = reached.filter(|commit| is_of_roster(commit)).peekable();
                let moved = of_roster.peek().is_some();
                of_roster.for_each(|commit| self.departed(commit, now));
                moved
            }
            None => {
                self.departures.missed(now);
                true
            }
        };
        let former = std::mem::replace(&mut self.head, head);
        if moved {
            self.members = members(&self.head);
            if let Some(relay) = &mut self.relay {
                relay.forget_others(&self.members);
            }
            self.input(Input::Members(self.members.clone()));
        }
        if !self.head.table.has_limits_of(&former.table) {
            self.replace_rules();
        }
    }

    fn departed(&mut self, commit: &Commit, now: Label) {
        for departed in self.departures.commit(commit, now) {
            let Some(boot) = departed.how.boot.filter(|_| departed.how.goodbye) else {
                continue;
            };
            // A life that began since is not over.
            let met = self.owner.as_ref().and_then(|owner| owner.met(departed.instance));
            if met.is_none_or(|met| met <= boot) {
                self.input(Input::Goodbye(departed.instance));
            }
        }
    }
}

fn is_of_roster(commit: &Commit) -> bool {
    commit.ops.iter().any(|op| op.kind == Kind::Member)
}

pub(super) fn members(head: &Head) -> BTreeSet<Uuid> {
    let from = ObjectKey::member("");
    let members = head.state.objects.range(from..);
    let members = members.take_while(|(key, _)| key.kind == Kind::Member);
    let read = |(_, object): (_, &Arc<Object>)| serde_json::from_str::<Member>(object.body.as_str()).ok();
    members.filter_map(read).map(|member| member.instance).collect()
}
