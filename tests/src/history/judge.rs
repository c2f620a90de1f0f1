//! Holds what writers were told against the log.
//!
//! Each operation in the log is *claimed* by the attempt that it is the effect of: by the revision or the operation id that
//! was told, else by its content. Two attempts of the same content (two deletes of one object by one actor) are told apart
//! where their answers tell them apart, and are counted otherwise.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use super::{Attempt, Entry, Fold, Rule, Told, Verb, Violation};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub committed: usize,
    /// Told to be committed without a revision of their own: it stood already.
    pub stood_already: usize,
    pub not_committed: usize,
    pub unknown_and_there: usize,
    pub unknown_and_absent: usize,
    pub unanswered_and_there: usize,
    pub unanswered_and_absent: usize,
    pub refused: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} committed, {} stood already, {} not committed, unknown: {} there and {} absent, \
             unanswered: {} there and {} absent, {} refused",
            self.committed,
            self.stood_already,
            self.not_committed,
            self.unknown_and_there,
            self.unknown_and_absent,
            self.unanswered_and_there,
            self.unanswered_and_absent,
            self.refused
        )
    }
}

pub struct Verdict {
    pub tally: Tally,
    pub violations: Vec<Violation>,
    pub fold: Fold,
}

/// `attempts` in any order; `log` whole, in order.
pub fn judge(attempts: &[Attempt], log: &[Entry]) -> Verdict {
    let (fold, violations) = Fold::of(log);
    let mut court = Court {
        log,
        fold,
        bounds: Bounds::of(attempts),
        claims: Claims::of(log),
        tally: Tally::default(),
        violations,
    };
    // Those that say most go first: what they leave is for the others.
    let heads = attempts.iter().filter_map(|attempt| court.hear_committed(attempt));
    let heads = heads.collect();
    court.bounds.begun(heads);
    for attempt in attempts {
        court.hear_unknown(attempt);
    }
    court.hear_unanswered(attempts);
    for attempt in attempts {
        court.hear_refused(attempt);
    }
    court.unclaimed(attempts);
    Verdict {
        tally: court.tally,
        violations: court.violations,
        fold: court.fold,
    }
}

struct Court<'a> {
    log: &'a [Entry],
    fold: Fold,
    bounds: Bounds,
    claims: Claims,
    tally: Tally,
    violations: Vec<Violation>,
}

impl Court<'_> {
    fn accuse(&mut self, rule: Rule, attempt: &Attempt, what: impl fmt::Display) {
        let detail = format!("{what}: {attempt:?}");
        self.violations.push(Violation { rule, detail });
    }

    /// Tells when it began, and a head of then or later.
    fn hear_committed(&mut self, attempt: &Attempt) -> Option<(u64, u64)> {
        let Told::Committed { revision } = attempt.told else {
            return None;
        };
        let floor = self.bounds.floor(attempt);
        if self.claims.claim(attempt, |at| at == revision).is_some() {
            self.tally.committed += 1;
            self.effective(attempt, revision);
            return Some((attempt.begun, revision - 1));
        }
        let stands = self.fold.at(&attempt.object, revision);
        let is_there = self.log.last().is_some_and(|last| revision <= last.revision);
        let stood = is_there
            && match attempt.verb {
                Verb::Put => stands.is_some_and(|stands| Some(&stands.body) == attempt.body.as_ref()),
                Verb::Delete => stands.is_none(),
            };
        match stood {
            true if revision >= floor => self.tally.stood_already += 1,
            true => self.accuse(Rule::Untrue, attempt, format_args!("decided before revision {floor}")),
            false => self.accuse(Rule::Lost, attempt, "it is not there"),
        }
        stood.then_some((attempt.begun, revision))
    }

    fn hear_unknown(&mut self, attempt: &Attempt) {
        let Told::Unknown { op_id } = &attempt.told else {
            return;
        };
        let entry = self.log.iter().find(|entry| entry.op_id == *op_id);
        let Some(revision) = entry.map(|entry| entry.revision) else {
            self.tally.unknown_and_absent += 1;
            return;
        };
        match self.claims.claim(attempt, |at| at == revision) {
            Some(_) => {
                self.tally.unknown_and_there += 1;
                self.effective(attempt, revision);
            }
            None => self.accuse(
                Rule::Misattributed,
                attempt,
                format_args!("revision {revision} has another write"),
            ),
        }
    }

    /// They are told apart by nothing: each takes what nobody else claims.
    fn hear_unanswered(&mut self, attempts: &[Attempt]) {
        for attempt in attempts.iter().filter(|attempt| attempt.told == Told::Nothing) {
            let floor = self.bounds.floor(attempt);
            match self.claims.claim(attempt, |at| at > floor) {
                Some(revision) => {
                    self.tally.unanswered_and_there += 1;
                    self.effective(attempt, revision);
                }
                None => self.tally.unanswered_and_absent += 1,
            }
        }
    }

    /// What a write that is there has to be besides.
    fn effective(&mut self, attempt: &Attempt, revision: u64) {
        let floor = self.bounds.floor(attempt);
        if revision <= floor {
            self.accuse(
                Rule::Overtaken,
                attempt,
                format_args!("revision {floor} was answered before"),
            );
        }
        let before = self.fold.at(&attempt.object, revision - 1);
        let expected = attempt.if_match;
        if expected.is_some() && before.map(|before| before.revision) != expected {
            self.accuse(Rule::ConditionBroken, attempt, format_args!("at revision {revision}"));
        }
    }

    fn hear_refused(&mut self, attempt: &Attempt) {
        let (from, to) = (self.bounds.floor(attempt), self.bounds.ceiling(attempt));
        let was_true = match attempt.told {
            Told::OtherRevision => self.fold.was(&attempt.object, from, to, |stands| {
                stands.map(|stands| stands.revision) != attempt.if_match
            }),
            Told::NoService => {
                let service = attempt.object.split('/').nth(1).unwrap_or_default();
                let service = format!("service/{service}");
                self.fold.was(&service, from, to, |stands| stands.is_none())
            }
            Told::NotCommitted => {
                self.tally.not_committed += 1;
                return;
            }
            _ => return,
        };
        self.tally.refused += 1;
        if !was_true {
            self.accuse(Rule::Untrue, attempt, format_args!("at no revision of {from} to {to}"));
        }
    }

    fn unclaimed(&mut self, attempts: &[Attempt]) {
        let left = std::mem::take(&mut self.claims.open);
        for (content, revisions) in left {
            for revision in revisions {
                let asked = attempts.iter().find(|attempt| {
                    Content::of(attempt) == content
                        && !matches!(
                            attempt.told,
                            Told::Committed { .. } | Told::Unknown { .. } | Told::Nothing
                        )
                });
                let elsewhere = attempts.iter().find(|attempt| Content::of(attempt) == content);
                match (asked, elsewhere) {
                    (Some(attempt), _) => self.accuse(Rule::Denied, attempt, format_args!("it is revision {revision}")),
                    (None, Some(attempt)) => self.accuse(
                        Rule::AppendedTwice,
                        attempt,
                        format_args!("it is revision {revision}, too"),
                    ),
                    (None, None) => {
                        let detail = format!("nobody asked for {content:?} of revision {revision}");
                        let rule = Rule::MadeUp;
                        self.violations.push(Violation { rule, detail });
                    }
                }
            }
        }
    }
}

/// What tells a write from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Content {
    actor: String,
    verb: Verb,
    object: String,
    body: Option<Value>,
}

impl Content {
    fn of(attempt: &Attempt) -> Content {
        Content {
            actor: attempt.actor.clone(),
            verb: attempt.verb,
            object: attempt.object.clone(),
            body: attempt.body.clone(),
        }
    }
}

/// Operations that no attempt has claimed yet: their revisions, in order, by what they are.
struct Claims {
    open: HashMap<Content, Vec<u64>>,
}

impl Claims {
    fn of(log: &[Entry]) -> Claims {
        let mut open: HashMap<Content, Vec<u64>> = HashMap::new();
        for entry in log {
            for op in &entry.ops {
                // A service takes its upstreams with it.
                let owner = op.key.split('/').next();
                let with_its_service = op.verb == Verb::Delete
                    && op.kind == "upstream"
                    && entry.ops.iter().any(|other| {
                        other.verb == Verb::Delete && other.kind == "service" && Some(&*other.key) == owner
                    });
                if with_its_service {
                    continue;
                }
                let content = Content {
                    actor: entry.actor.clone(),
                    verb: op.verb,
                    object: op.object(),
                    body: op.body.clone(),
                };
                open.entry(content).or_default().push(entry.revision);
            }
        }
        Claims { open }
    }

    fn claim(&mut self, attempt: &Attempt, at: impl Fn(u64) -> bool) -> Option<u64> {
        let content = Content::of(attempt);
        let revisions = self.open.get_mut(&content)?;
        let index = revisions.iter().position(|revision| at(*revision))?;
        let revision = revisions.remove(index);
        if revisions.is_empty() {
            self.open.remove(&content);
        }
        Some(revision)
    }
}

/// Which revisions an attempt can have to do with, by what was answered before it began and what began after it ended.
struct Bounds {
    /// By time: the greatest revision that was told up to then.
    told: Vec<(u64, u64)>,
    /// By time, last first: the least head that attempts found that began then or later.
    begun: Vec<(u64, u64)>,
}

impl Bounds {
    fn of(attempts: &[Attempt]) -> Bounds {
        let mut told = Vec::new();
        for attempt in attempts {
            if let Told::Committed { revision } = attempt.told {
                told.push((attempt.ended, revision));
            }
        }
        told.sort_unstable();
        let mut greatest = 0;
        for (_, revision) in &mut told {
            greatest = greatest.max(*revision);
            *revision = greatest;
        }
        let begun = Vec::new();
        Bounds { told, begun }
    }

    /// `heads` are the least revisions that were the head when an attempt began, or later.
    fn begun(&mut self, mut heads: Vec<(u64, u64)>) {
        heads.sort_unstable_by(|a, b| b.cmp(a));
        let mut least = u64::MAX;
        for (_, revision) in &mut heads {
            least = least.min(*revision);
            *revision = least;
        }
        self.begun = heads;
    }

    /// The head was there already when the attempt began.
    fn floor(&self, attempt: &Attempt) -> u64 {
        let before = self.told.partition_point(|(at, _)| *at < attempt.begun);
        self.told[..before].last().map_or(0, |(_, revision)| *revision)
    }

    /// The head was not beyond this when the attempt ended.
    fn ceiling(&self, attempt: &Attempt) -> u64 {
        let after = self.begun.partition_point(|(at, _)| *at > attempt.ended);
        self.begun[..after].last().map_or(u64::MAX, |(_, revision)| *revision)
    }
}
