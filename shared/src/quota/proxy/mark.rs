//! What is kept of the standby beyond a life of a proxy: a mark on its disk, which says that none was used that may still count.
//!
//! ```text
//!   set ── some is wanted ─▶ removing ── durably ─▶ removed ── nothing of it counts ─▶ setting ── durably ─▶ set
//!                               ▲                                                        │
//!                               └──────────────────── some is wanted ────────────────────┘
//! ```
//!
//! Standby is used while it is removed, and at no other time. So a life that finds it knows that those before it used none
//! that nobody was told of, and says so.

use super::{Output, Proxy};
use crate::time::Time;

#[derive(Debug)]
pub struct Mark {
    state: State,
    /// When this life began, if those before it may have used standby that counts.
    pub unknown_before: Option<Time>,
    /// None was used after this.
    used_before: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Set,
    Removing,
    Removed,
    Setting,
}

impl Mark {
    /// `is_set`: this life found it.
    pub fn new(is_set: bool, is_first: bool, now: Time) -> Mark {
        Mark {
            state: if is_set { State::Set } else { State::Removed },
            unknown_before: (!is_set && !is_first).then_some(now),
            used_before: now,
        }
    }

    /// Whether standby may be used. If not, it may be soon.
    pub fn is_removed(&mut self, outputs: &mut Vec<Output>) -> bool {
        if matches!(self.state, State::Set | State::Setting) {
            self.state = State::Removing;
            outputs.push(Output::Mark(false));
        }
        self.state == State::Removed
    }

    /// Some may have been used until now.
    pub fn used(&mut self, now: Time) {
        self.used_before = now;
    }

    /// It is there or not, durably.
    pub fn written(&mut self, is_set: bool, now: Time) {
        match (self.state, is_set) {
            (State::Removing, false) => (self.state, self.used_before) = (State::Removed, now),
            (State::Setting, true) => self.state = State::Set,
            // It was wanted otherwise meanwhile.
            _ => {}
        }
    }
}

impl Proxy {
    /// A use counts for a period of its limit, or of what that becomes by edits, of which this proxy may not have heard. But
    /// where there are standbys none is as long as `forget_after`: twice that is on the safe side.
    pub(super) fn tick_mark(&mut self, now: Time) {
        let counts = self.settings.forget_after * 2;
        let is_due = self.standbys.is_empty() && now.since(self.mark.used_before) >= counts;
        if self.mark.state == State::Removed && is_due {
            self.mark.state = State::Setting;
            self.outputs.push(Output::Mark(true));
        }
    }
}
