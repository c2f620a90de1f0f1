//! The limits of the fleet, and their changes.

use std::time::Duration;

use shared::change::Revision;
use shared::quota::owner::Input;
use shared::quota::{AccountId, Algorithm, OnUnreachable, Rule, Rules};
use uuid::Uuid;

use crate::dice::{Dice, MILLI};
use crate::focus::Focus;
use crate::permits::any_concurrent;
use crate::world::World;

pub struct Limits {
    pub rules: Rules,
    /// All that there ever were.
    pub ids: Vec<Uuid>,
    pub tokens: Vec<[u8; 8]>,
    kinds: Kinds,
}

/// What limits of a run are like.
#[derive(Clone, Copy)]
struct Kinds {
    periods: &'static [u64],
    thresholds: &'static [u64],
    fixed: u64,
    share: u64,
}

impl Limits {
    pub fn new(focus: Focus, dice: &mut Dice) -> Limits {
        let kinds = Kinds {
            periods: match focus {
                Focus::Ledger => &[2_500, 4_000],
                Focus::Edits => &[600, 1_000, 2_000, 2_500, 4_000],
                Focus::Members => &[600, 1_000, 2_000, 3_000],
                Focus::Share => &[600, 1_000],
                Focus::Heirs => &[1_000, 2_000, 2_500],
                Focus::Crossing => &[2_000, 3_000],
                Focus::Chaos | Focus::Clocks => &[600, 1_000, 2_000, 3_000],
                _ => &[600, 1_000, 2_000],
            },
            thresholds: match focus {
                Focus::Share => &[4, 8, 20, 60],
                Focus::Crossing => &[8, 20],
                _ => &[1, 3, 8, 20, 60],
            },
            fixed: 35,
            share: match focus {
                Focus::Share => 100,
                Focus::Chaos | Focus::Members | Focus::Edits | Focus::Heirs => 40,
                _ => 0,
            },
        };
        let (ids, tokens) = match focus {
            Focus::Chaos | Focus::Delays => (1 + dice.below(3), 1 + dice.below(4)),
            Focus::Edits => (2, 1),
            Focus::Crossing => (1, 1),
            _ => (1 + dice.below(2), 1 + dice.below(2)),
        };
        let mut limits = Limits {
            rules: Rules::default(),
            ids: (0..ids).map(|_| dice.uuid()).collect(),
            tokens: (0..tokens).map(u64::to_le_bytes).collect(),
            kinds,
        };
        limits.rules.revision = Revision(1);
        for id in limits.ids.clone() {
            if focus == Focus::Permits {
                limits.rules.concurrent.insert(id, any_concurrent(Revision(1), dice));
                continue;
            }
            let rule = limits.any(id, dice);
            limits.rules.rules.insert(id, rule);
        }
        limits
    }

    fn any(&self, limit: Uuid, dice: &mut Dice) -> Rule {
        Rule {
            limit,
            revision: self.rules.revision,
            algorithm: if dice.percent(self.kinds.fixed) {
                Algorithm::Fixed
            } else {
                Algorithm::Sliding
            },
            period: Duration::from_millis(dice.one(self.kinds.periods)),
            threshold: dice.one(self.kinds.thresholds),
            on_unreachable: if dice.percent(self.kinds.share) {
                OnUnreachable::Share
            } else {
                OnUnreachable::Closed
            },
        }
    }

    pub fn accounts(&self) -> impl Iterator<Item = AccountId> + '_ {
        let of = |id: &Uuid, token: &[u8; 8]| AccountId::of(*id, token);
        self.ids
            .iter()
            .flat_map(move |id| self.tokens.iter().map(move |token| of(id, token)))
    }

    /// Those in which there are accounts.
    pub fn shards(&self) -> u64 {
        self.accounts().fold(0, |shards, account| shards | 1 << account.shard())
    }
}

impl World {
    pub fn set_up_measure(&mut self, proxies: usize, threshold: u64, period: Duration, load: f64, fixed: bool) {
        let id = self.dice.uuid();
        let rule = Rule {
            limit: id,
            revision: Revision(1),
            algorithm: if fixed { Algorithm::Fixed } else { Algorithm::Sliding },
            period,
            threshold,
            on_unreachable: OnUnreachable::Share,
        };
        self.limits.rules.rules = [(id, rule)].into();
        self.limits.ids = vec![id];
        self.limits.tokens.truncate(1);
        self.settings = shared::quota::Settings::default();
        self.proxies = (0..proxies).map(|_| crate::proxy::Proxy::new(&mut self.dice)).collect();
        self.load
            .uniform(threshold as f64 * load / period.as_secs_f64() / proxies as f64);
    }

    /// One limit is changed, deleted or made again.
    pub fn edit(&mut self) {
        let id = self.limits.ids[self.dice.index(self.limits.ids.len())];
        self.limits.rules.revision = Revision(self.limits.rules.revision.0 + 1);
        let revision = self.limits.rules.revision;
        let fresh = self.limits.any(id, &mut self.dice);
        let thresholds = self.limits.kinds.thresholds;
        let dice = &mut self.dice;
        if self.focus == Focus::Permits {
            self.edit_concurrent(id);
        } else {
            match self.limits.rules.rules.get_mut(&id) {
                None => drop(self.limits.rules.rules.insert(id, fresh)),
                Some(rule) => match dice.below(10) {
                    0..2 => {
                        self.limits.rules.rules.remove(&id);
                        self.count.add("limits deleted");
                    }
                    2..6 => (rule.threshold, rule.revision) = (dice.one(thresholds), revision),
                    6..8 => (rule.period, rule.revision) = (fresh.period, revision),
                    _ => *rule = fresh,
                },
            }
        }
        self.count.add("edits");
        let rules = self.limits.rules.clone();
        self.note(|| format!("edit: {:?}", rules.rules.get(&id)));
        self.oracle.replaced(&rules, self.now);
        self.flights.replaced(&rules);
        for plane in 0..self.planes.len() {
            let later = self.dice.between(MILLI, 80 * MILLI);
            self.after(later, move |world| world.rules_to_plane(plane));
        }
        for proxy in 0..self.proxies.len() {
            let later = self.dice.between(MILLI, 80 * MILLI);
            self.after(later, move |world| world.rules_to_proxy(proxy));
        }
    }

    fn rules_to_plane(&mut self, plane: usize) {
        let paused_until = self.planes[plane].paused_until;
        if paused_until > self.now {
            self.at(paused_until, move |world| world.rules_to_plane(plane));
            return;
        }
        let rules = self.limits.rules.clone();
        self.planes[plane].rules = rules.revision;
        self.owner(plane, Input::Rules(rules));
        self.check_settled();
    }

    fn rules_to_proxy(&mut self, proxy: usize) {
        let of = &self.proxies[proxy];
        let deaf = (0..self.planes.len()).all(|plane| self.network.down_cut.contains(&(proxy, plane)));
        if of.paused_until > self.now || deaf {
            self.after(50 * MILLI, move |world| world.rules_to_proxy(proxy));
            return;
        }
        let rules = self.limits.rules.clone();
        self.hand_proxy(proxy, shared::quota::proxy::Input::Rules(rules.clone()));
        self.proxies[proxy].rules = rules;
        self.check_settled();
    }

    fn check_settled(&mut self) {
        let revision = self.limits.rules.revision;
        let planes = self
            .planes
            .iter()
            .all(|plane| plane.owner.is_none() || plane.rules == revision);
        let proxies = self
            .proxies
            .iter()
            .all(|proxy| proxy.machine.is_none() || proxy.rules.revision == revision);
        if planes && proxies {
            self.oracle.settled(self.now);
            self.flights.settled();
        }
    }
}
