//! One life of a proxy, as its owner knows it.

use std::collections::{BTreeMap, VecDeque};

use crate::change::Revision;
use crate::quota::message::{AccountId, GrantId, ProxyId, Told};
use crate::quota::{Label, Settings, shrink};

/// Own messages whose send is remembered; an answer to an older one proves nothing.
const SENDS_MAX: usize = 256;

/// No proxy is sent more than one message or grant in so long, on average.
const MESSAGE_NANOS: u64 = 1_000;

#[derive(Debug)]
pub struct Peer {
    pub id: ProxyId,
    pub outbox: Vec<Told>,
    /// Of the last message to it.
    number: u64,
    /// When which was sent.
    sends: VecDeque<(u64, Label)>,
    /// The newest message from it, and when it was read. Its send was no later.
    pub heard: u64,
    pub heard_at: Label,
    /// Of the table that it was seen with last.
    pub revision: Revision,
    /// Until when it uses no standby, for a limit whose allowances and whose period take no time.
    pub quiet_until: Label,
    /// It may have used standby until then.
    pub used_until: Label,
    /// The table that it may have gone by then.
    pub used_revision: Revision,
    pub grants: BTreeMap<GrantId, Grant>,
    last_grant: GrantId,
    pub beat_at: Label,
}

/// Handed out, and not heard of again.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub account: AccountId,
    /// Of the limit.
    pub revision: Revision,
    /// Where it is charged.
    pub bucket: u64,
    pub tokens: u64,
    pub at: Label,
    pub expires: Label,
    pub recalled: bool,
}

impl Peer {
    pub fn new(id: ProxyId, now: Label) -> Peer {
        // One that was forgotten, and joined again, knows the numbers from before.
        let first = now.as_nanos() / MESSAGE_NANOS;
        Peer {
            id,
            outbox: Vec::new(),
            number: first,
            sends: VecDeque::new(),
            heard: 0,
            heard_at: Label::ZERO,
            revision: Revision::ZERO,
            quiet_until: Label::ZERO,
            used_until: Label::ZERO,
            used_revision: Revision::ZERO,
            grants: BTreeMap::new(),
            last_grant: first,
            beat_at: Label::ZERO,
        }
    }

    pub fn next_number(&mut self, now: Label) -> u64 {
        self.number += 1;
        self.sends.push_back((self.number, now));
        if self.sends.len() > SENDS_MAX {
            self.sends.pop_front();
        }
        self.number
    }

    pub fn next_grant(&mut self, grant: Grant) -> GrantId {
        self.last_grant += 1;
        self.grants.insert(self.last_grant, grant);
        self.last_grant
    }

    /// It promised, having read our message `heard`, to use no standby for a while. The while is counted from our send of
    /// that message, so it ends here no later than there.
    pub fn promised(&mut self, heard: u64, settings: &Settings) {
        let Ok(index) = self.sends.binary_search_by_key(&heard, |(number, _)| *number) else {
            return;
        };
        let until = self.sends[index].1.after(shrink(settings.promise));
        self.quiet_until = self.quiet_until.max(until);
    }
}
