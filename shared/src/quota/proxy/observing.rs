//! What passes under limits that only observe: told to the owner now and then, which says what it would have refused.

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;

use super::{Output, Proxy};
use crate::quota::message::{AccountId, Said, Seen};
use crate::time::Time;

/// An owner that has not answered by then will not.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// What is told and not answered yet; what is beyond is not told.
const ASKED_MAX: usize = 1 << 16;

/// Requests of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed {
    pub account: AccountId,
    pub requests: u64,
    /// Of all of them.
    pub tokens: u64,
    /// When the first and the last of them were.
    pub since: Time,
    pub until: Time,
}

#[derive(Debug, Default)]
pub struct Observing {
    last: u64,
    /// Ascending by time as well.
    asked: BTreeMap<u64, Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    limit: Uuid,
    requests: u64,
    at: Time,
}

impl Observing {
    pub fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }
}

impl Proxy {
    pub(super) fn observe(&mut self, passed: Vec<Passed>, now: Time) {
        for of in passed {
            let shard = of.account.shard();
            let owner = self.views[usize::from(shard)].owner;
            let owner = owner.filter(|_| !self.is_unheard(shard, now) && self.observing.asked.len() < ASKED_MAX);
            let (limit, requests) = (of.account.limit, of.requests);
            let Some(owner) = owner else {
                self.outputs.push(Output::Observed {
                    limit,
                    requests,
                    refused: None,
                });
                continue;
            };
            self.observing.last += 1;
            let id = self.observing.last;
            self.observing.asked.insert(
                id,
                Asked {
                    limit,
                    requests,
                    at: now,
                },
            );
            let seen = Seen {
                id,
                account: of.account,
                requests,
                tokens: of.tokens,
                since: now.since(of.since),
                until: now.since(of.until),
            };
            self.say(owner, Said::Seen(seen));
        }
    }

    pub(super) fn observed(&mut self, id: u64, refused: u64) {
        if let Some(Asked { limit, requests, .. }) = self.observing.asked.remove(&id) {
            let refused = Some(refused.min(requests));
            self.outputs.push(Output::Observed {
                limit,
                requests,
                refused,
            });
        }
    }

    pub(super) fn tick_observing(&mut self, now: Time) {
        while let Some(first) = self.observing.asked.first_entry()
            && now.since(first.get().at) >= ANSWERED_WITHIN
        {
            let Asked { limit, requests, .. } = first.remove();
            self.outputs.push(Output::Observed {
                limit,
                requests,
                refused: None,
            });
        }
    }
}
