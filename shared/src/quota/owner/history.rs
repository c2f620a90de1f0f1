//! The limits as they were: a proxy that is cut off goes by the table that it saw last.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use crate::change::Revision;
use crate::quota::{Label, OnUnreachable, Rule, Rules, stretch};

/// Forms of one limit that are told apart; older ones are merged into the one that permits most.
const FORMS_MAX: usize = 8;
/// Deleted limits whose charges may count if they are made again.
const DELETED_MAX: usize = 100_000;

#[derive(Debug)]
pub struct History {
    /// A proxy that lost its owner for so long uses no standby any more.
    forget_after: Duration,
    current: Rules,
    /// Of each limit that there was, ascending by revision; the last may be what was deleted.
    forms: BTreeMap<Uuid, Vec<Rule>>,
    /// What was deleted, until what it charged counts no more.
    deleted: BTreeMap<Uuid, (Rule, Label)>,
    standby_counts: Duration,
}

impl History {
    pub fn new(forget_after: Duration) -> History {
        History {
            forget_after,
            current: Rules::default(),
            forms: BTreeMap::new(),
            deleted: BTreeMap::new(),
            standby_counts: Duration::ZERO,
        }
    }

    pub fn current(&self) -> &Rules {
        &self.current
    }

    /// False when these are not newer.
    pub fn replace(&mut self, rules: Rules, now: Label) -> bool {
        if rules.revision <= self.current.revision {
            return false;
        }
        self.deleted.retain(|_, (_, until)| *until > now);
        for rule in self
            .current
            .rules
            .values()
            .filter(|rule| rules.of(&rule.limit).is_none())
        {
            let until = now.after(rule.span()).after(rule.validity());
            self.deleted.insert(rule.limit, (*rule, until));
        }
        while self.deleted.len() > DELETED_MAX {
            self.deleted.pop_first();
        }
        for rule in rules.rules.values() {
            let forms = self.forms.entry(rule.limit).or_default();
            if forms.last().is_none_or(|last| last.revision < rule.revision) {
                forms.push(*rule);
            }
            if forms.len() > FORMS_MAX {
                let oldest = forms.remove(0);
                let merged = &mut forms[0];
                merged.threshold = merged.threshold.max(oldest.threshold);
                merged.period = merged.period.min(oldest.period);
                if oldest.on_unreachable == OnUnreachable::Share {
                    merged.on_unreachable = OnUnreachable::Share;
                }
            }
        }
        self.current = rules;
        self.recall();
        true
    }

    /// What these limits charged by a moment ago may count yet.
    pub fn former<'a>(&'a self, rules: &'a Rules) -> impl Iterator<Item = &'a Rule> {
        rules.rules.values().chain(self.deleted.values().map(|(rule, _)| rule))
    }

    /// Whether a limit was deleted that the store counted, and that may be made again as one that it does not count before what was
    /// spent by then is over.
    pub fn has_deleted(&self, ledger_above: Duration, now: Label) -> bool {
        let mut stored = self.deleted.values().filter(|(rule, _)| rule.period > ledger_above);
        let counts = |(rule, until): &(Rule, Label)| {
            let spent = until.before(rule.span());
            now < spent.after(stretch(ledger_above) * 2)
        };
        stored.any(counts)
    }

    /// How long what was spent of a standby counts, for whichever limit.
    pub fn standby_counts(&self) -> Duration {
        self.standby_counts
    }

    fn recall(&mut self) {
        let is_shared = |form: &Rule| form.has_standby(self.forget_after);
        let shared = self.forms.values().filter(|forms| forms.iter().any(is_shared));
        let spans = shared.flatten().map(Rule::span);
        self.standby_counts = spans.max().unwrap_or_default();
    }

    /// Forgets what every proxy is past.
    pub fn forget_before(&mut self, revision: Revision) {
        let current = &self.current;
        self.forms.retain(|limit, forms| {
            while forms.get(1).is_some_and(|next| next.revision <= revision) {
                forms.remove(0);
            }
            current.rules.contains_key(limit) || forms.last().is_some_and(|last| last.revision > revision)
        });
        self.recall();
    }

    /// The forms of a limit that may be in use at a proxy that was seen at `revision` last.
    pub fn since(&self, limit: &Uuid, revision: Revision) -> &[Rule] {
        let forms = self.forms.get(limit).map_or(&[][..], Vec::as_slice);
        let first = forms.iter().rposition(|form| form.revision <= revision).unwrap_or(0);
        &forms[first..]
    }

    pub fn is_shared(&self, limit: &Uuid) -> bool {
        let mut forms = self.since(limit, Revision::ZERO).iter();
        forms.any(|form| form.has_standby(self.forget_after))
    }

    /// How long after its last promise a proxy seen at `revision` last uses no standby.
    pub fn standby_begins(&self, rule: &Rule, revision: Revision) -> Duration {
        let forms = self.since(&rule.limit, revision).iter();
        let shared = forms.filter(|form| form.has_standby(self.forget_after));
        let begins = shared.map(|form| form.validity() + form.period);
        begins.min().unwrap_or_default()
    }

    /// The most tokens that a proxy seen at `revision` last may spend of its standby within one period of `rule`.
    pub fn standby(&self, rule: &Rule, revision: Revision, weight: u64) -> u64 {
        let shared = self.since(&rule.limit, revision).iter();
        let shared = shared.filter(|form| form.has_standby(self.forget_after));
        let most = shared.map(|form| {
            let times = rule.period.as_nanos().div_ceil(form.period.as_nanos().max(1));
            form.standby(weight)
                .saturating_mul(u64::try_from(times).unwrap_or(u64::MAX))
        });
        most.max().unwrap_or(0)
    }
}
