//! Proxies whose standby an owner does not know: those that it has not heard since it claimed, and their lives before.
//!
//! All of them together have at most what those whose standby is known have not.

use std::time::Duration;

use uuid::Uuid;

use super::Owner;
use super::claim::Held;
use super::standby::Ghost;
use crate::change::Revision;
use crate::quota::message::{ProxyId, UNMET};
use crate::quota::{Label, Rule, WHOLE, shrink};

#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// It uses none any more.
    until: Label,
    /// That life was over by then. What it used counts for a period, and who comes after it does not know of it.
    ended: Option<Label>,
}

impl Silence {
    pub fn going_on(until: Label) -> Silence {
        Silence { until, ended: None }
    }

    pub fn over(ended: Label) -> Silence {
        let until = Label::MAX;
        Silence {
            until,
            ended: Some(ended),
        }
    }
}

impl Held {
    /// It says what it has. `began`: the life that says so; none: those before it used none. Whether it was silent until now.
    pub fn break_silence(&mut self, instance: &Uuid, began: Option<Label>) -> bool {
        let Some(silence) = self.silent.get_mut(instance) else {
            return false;
        };
        let was_silent = silence.ended.is_none();
        match began {
            None => drop(self.silent.remove(instance)),
            Some(began) => silence.ended = Some(silence.ended.map_or(began, |ended| ended.min(began))),
        }
        was_silent
    }

    /// Once nobody is silent any more, what lives before may have used is the use of one that is gone. `counts`: how long
    /// any use counts.
    pub fn tidy_silence(&mut self, now: Label, counts: Duration) {
        let vouched = self.vouched;
        let matters = |silence: &Silence| match silence.ended {
            None => now < silence.until,
            Some(ended) => now < ended.after(counts) && vouched < ended,
        };
        self.silent.retain(|_, silence| matters(silence));
        let ended: Option<Vec<Label>> = self.silent.values().map(|silence| silence.ended).collect();
        let Some(ended) = ended.and_then(|ended| ended.into_iter().max()) else {
            return;
        };
        self.ghosts.push(Ghost {
            id: ProxyId {
                instance: Uuid::nil(),
                boot: UNMET,
            },
            weight: WHOLE.saturating_sub(self.weight_known()),
            revision: Revision::ZERO,
            quiet_until: Label::MAX,
            used_until: ended,
            idle_from: Label::ZERO,
            ended: Label::ZERO,
            until: ended.after(counts),
        });
        self.silent.clear();
    }

    /// The most that the silent have, if one of them may spend any of it within a period of a token that is granted now and
    /// valid until `expires`.
    pub fn silent_weight(&self, rule: &Rule, now: Label, expires: Label) -> u64 {
        let since = now.before(rule.span());
        let quiet_until = self.vouched.after(shrink(rule.validity()));
        let counts = |silence: &Silence| match silence.ended {
            None => quiet_until < expires,
            Some(ended) => quiet_until < ended && since < ended,
        };
        match self.silent.values().any(counts) {
            true => WHOLE.saturating_sub(self.weight_known()),
            false => 0,
        }
    }
}

impl Owner {
    /// Nothing that was used of a standby before this counts; none: that is not known.
    pub(super) fn vouched(&self, held: &Held) -> Option<Label> {
        let since = self.now.before(self.history.standby_counts());
        let peers = held.holders.keys().map(|instance| self.peers.get(instance));
        let peers = peers.map(|peer| peer.map(|peer| (peer.used_until, peer.quiet_until)));
        let ghosts = held
            .ghosts
            .iter()
            .map(|ghost| Some((ghost.used_until.max(ghost.ended), ghost.quiet_until)));
        let mut all = peers.chain(ghosts);
        let vouched = all.try_fold(self.now, |vouched, of| match of {
            Some((used_until, quiet_until)) if used_until <= since => Some(vouched.min(quiet_until)),
            _ => None,
        });
        vouched.filter(|_| held.silent.is_empty())
    }
}
