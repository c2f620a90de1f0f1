//! What people ask of an account.

use serde::{Deserialize, Serialize};

use super::Owner;
use crate::quota::message::{AccountId, Told};
use crate::quota::{Algorithm, Label, Row, Rule};

/// What was granted of an account, by label time. What proxies hold and have not spent is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub window: Span,
    /// None: it is not kept.
    pub previous: Option<Span>,
}

/// Requests in flight, as far as proxies have said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    pub in_flight: u64,
    pub of: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub from: Label,
    pub to: Label,
    pub tokens: u64,
    /// What would have been refused besides; none where it is refused.
    #[serde(default)]
    pub refused: Option<u64>,
}

impl Usage {
    /// Of an account that the store counts, at about `now`.
    pub fn of_row(row: Option<&Row>, rule: &Rule, now: Label) -> Usage {
        let charges = || row.into_iter().flat_map(|row| row.buckets.iter());
        let is_alike = row.is_none_or(|row| u128::from(row.bucket) == rule.bucket().as_nanos());
        if rule.algorithm == Algorithm::Fixed && is_alike {
            let bucket = rule.bucket_of(now);
            let span = |bucket| Span {
                from: rule.begin(bucket),
                to: rule.end(bucket),
                tokens: charges()
                    .filter(|(of, _)| **of == bucket)
                    .map(|(_, tokens)| tokens)
                    .sum(),
                refused: None,
            };
            return Usage {
                window: span(bucket),
                previous: bucket.checked_sub(1).map(span),
            };
        }
        // Another rule's buckets are charged to the period as a whole.
        let counts = |bucket: u64| !is_alike || rule.end(bucket) > now.before(rule.span());
        let counted = charges().filter(|(bucket, _)| counts(**bucket));
        Usage {
            window: Span {
                from: now.before(rule.period),
                to: now,
                tokens: counted.fold(0, |sum: u64, (_, tokens)| sum.saturating_add(*tokens)),
                refused: None,
            },
            previous: None,
        }
    }
}

impl Owner {
    /// Of an account that is counted here and in memory, under one of the limits of now; none of any other.
    pub fn usage(&self, id: &AccountId) -> Option<Usage> {
        let now = self.now;
        let Some(rule) = self.rule_in_memory(id) else {
            return self.usage_observed(id);
        };
        let held = self.held.get(&id.shard()).filter(|held| held.claim.is_some())?;
        let window = held.accounts.get(id).map(|account| &account.window);
        let charged = |bucket: u64| window.map_or(0, |window| window.charged_to(bucket));
        Some(match rule.algorithm {
            Algorithm::Sliding => Usage {
                window: Span {
                    from: now.before(rule.period),
                    to: now,
                    tokens: window.map_or(0, |window| window.charged(rule, now)),
                    refused: None,
                },
                previous: None,
            },
            Algorithm::Fixed => {
                let bucket = rule.bucket_of(now);
                let span = |bucket| Span {
                    from: rule.begin(bucket),
                    to: rule.end(bucket),
                    tokens: charged(bucket),
                    refused: None,
                };
                Usage {
                    window: span(bucket),
                    previous: bucket.checked_sub(1).map(span),
                }
            }
        })
    }

    /// Lets an account begin anew, as if nothing had been granted of it. What proxies hold stays theirs. Whether it is
    /// counted here.
    pub fn reset(&mut self, id: &AccountId) -> bool {
        let held = self.held.get_mut(&id.shard());
        let Some((held, epoch)) = held.and_then(|held| held.epoch().map(|epoch| (held, epoch))) else {
            return false;
        };
        held.accounts.remove(id);
        held.waiting.remove(id);
        held.observed.remove(id);
        for peer in self.peers.values_mut() {
            // What comes back of them is of the count that was.
            peer.forget_grants(id);
        }
        // Those who know that there is nothing know it no longer.
        let members: Vec<_> = self.members.iter().copied().collect();
        for member in members {
            let told = Told::Exhausted {
                account: *id,
                epoch,
                retry_in: std::time::Duration::ZERO,
            };
            self.tell(member, told);
        }
        true
    }

    /// None: there is no such limit, or the store counts it.
    fn rule_in_memory(&self, id: &AccountId) -> Option<&Rule> {
        let rule = self.history.current().of(&id.limit)?;
        (rule.period <= self.settings.ledger_above).then_some(rule)
    }
}
