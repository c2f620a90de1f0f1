//! One life of a proxy, as its owner knows it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::claim::nanos;
use super::refund::Unsettled;
use crate::change::Revision;
use crate::quota::message::{AccountId, GrantId, ProxyId, Told};
use crate::quota::{Label, Rule, Settings, shrink};

/// Own messages whose send is remembered; an answer to an older one proves nothing.
const SENDS_MAX: usize = 256;
/// How much longer a grant is remembered than its proxy may take to tell what it used of it.
const LATE: Duration = Duration::from_secs(2);

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
    /// Of the table that its last beat was sent with.
    pub revision: Revision,
    /// Until when it uses no standby, for a limit whose allowances and whose period take no time.
    pub quiet_until: Label,
    /// It may have used standby until then.
    pub used_until: Label,
    /// The table that it may have gone by then.
    pub used_revision: Revision,
    pub grants: BTreeMap<GrantId, Grant>,
    /// Those of the returned of which something may come back.
    pub unsettled: BTreeMap<GrantId, Unsettled>,
    last_grant: GrantId,
    pub beat_at: Label,
}

/// The last that were used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numbers {
    message: u64,
    grant: GrantId,
}

impl Numbers {
    pub fn max(self, other: Numbers) -> Numbers {
        Numbers {
            message: self.message.max(other.message),
            grant: self.grant.max(other.grant),
        }
    }
}

/// Handed out, and not heard of again.
#[derive(Clone, Copy, Debug)]
pub struct Grant {
    pub account: AccountId,
    /// Of the claim that it was charged under; another's charges are not its.
    pub epoch: u64,
    /// Of the limit.
    pub revision: Revision,
    /// Where it is charged.
    pub bucket: u64,
    pub tokens: u64,
    /// From when on it may be spent.
    pub at: Label,
    pub expires: Label,
    /// Until then its proxy may tell what it used of it.
    pub forgotten: Label,
    /// It may be called back for somebody else.
    pub is_recallable: bool,
    /// But not before that: its proxy should have spent it by then.
    pub spent_by: Label,
}

/// Tokens of an account, and when they may be spent.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub tokens: u64,
    /// Where they are charged.
    pub bucket: u64,
    pub from: Label,
    pub expires: Label,
    /// When it should be spent, by what its proxy says that it spends.
    pub spent_by: Label,
}

impl Peer {
    /// `after`: a proxy that was forgotten may know numbers up to there.
    pub fn new(id: ProxyId, after: Numbers) -> Peer {
        Peer {
            id,
            outbox: Vec::new(),
            number: after.message,
            sends: VecDeque::new(),
            heard: 0,
            heard_at: Label::ZERO,
            revision: Revision::ZERO,
            quiet_until: Label::ZERO,
            used_until: Label::ZERO,
            used_revision: Revision::ZERO,
            grants: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            last_grant: after.grant,
            beat_at: Label::ZERO,
        }
    }

    pub fn numbers(&self) -> Numbers {
        Numbers {
            message: self.number,
            grant: self.last_grant,
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

    /// Grants what is charged already.
    pub fn grant(&mut self, account: AccountId, epoch: u64, rule: &Rule, part: Part, now: Label) {
        let Part {
            tokens,
            bucket,
            from,
            expires,
            spent_by,
        } = part;
        let revision = rule.revision;
        self.last_grant += 1;
        let grant = Grant {
            account,
            epoch,
            revision,
            bucket,
            tokens,
            at: from,
            expires,
            forgotten: expires.after(rule.validity()).after(LATE),
            // What cannot be spent yet its proxy gives back unasked.
            is_recallable: from <= now,
            spent_by,
        };
        self.grants.insert(self.last_grant, grant);
        self.outbox.push(Told::Grant {
            id: self.last_grant,
            account,
            epoch,
            revision,
            tokens,
            bucket: (bucket, nanos(rule.bucket())),
            not_before_in: from.since(now),
            expires_in: expires.since(self.heard_at),
        });
    }

    /// What comes back of an account counts no more.
    pub fn forget_grants(&mut self, account: &AccountId) {
        self.grants.retain(|_, grant| grant.account != *account);
        self.unsettled.retain(|_, of| of.account != *account);
    }

    /// It promised, having read our message `heard`, to use no standby for a while. The while is counted from our send of
    /// that message, so it ends here no later than there. Until when; none: nobody knows when that was.
    pub fn promised(&mut self, heard: u64, settings: &Settings) -> Option<Label> {
        let index = self.sends.binary_search_by_key(&heard, |(number, _)| *number).ok()?;
        let until = self.sends[index].1.after(shrink(settings.promise));
        self.quiet_until = self.quiet_until.max(until);
        Some(until)
    }
}
