//! How many requests may be in flight where: the ledgers of all shards.

use std::time::Duration;

use uuid::Uuid;

use super::{InFlight, Owner};
use crate::change::Revision;
use crate::quota::message::{AccountId, Shard, Told, UNMET};
use crate::quota::permits::owner::{Around, Ledger, Terms};
use crate::quota::permits::{Level, Report};
use crate::quota::{Concurrent, Rules};

/// What a proxy wants that was not heard for so long is nothing to go by.
const HEARD: Duration = Duration::from_secs(3);

impl Owner {
    pub(super) fn permits_reported(&mut self, instance: Uuid, report: &Report) {
        let now = self.now;
        // What of others is in flight was given up when they left.
        if !self.members.contains(&instance) {
            return;
        }
        let shard = report.account.shard();
        let accounts_max = self.settings.accounts_max;
        let held = self.held.get_mut(&shard);
        let Some(held) = held.filter(|held| held.epoch() == Some(report.epoch)) else {
            return;
        };
        held.permits.report(instance, report, accounts_max, now);
        self.serve_permits(shard, &[report.account]);
    }

    /// What is in flight there was in flight in a life that is over.
    pub(super) fn permits_begin_anew(&mut self, instance: &Uuid) {
        self.held
            .values_mut()
            .for_each(|held| held.permits.began_anew(instance));
    }

    pub(super) fn permits_ended(&mut self, instance: &Uuid) {
        self.held.values_mut().for_each(|held| held.permits.ended(instance));
    }

    pub(super) fn look_at_permits(&mut self, former: &Rules) {
        if self.history.current().concurrent != former.concurrent {
            self.held.values_mut().for_each(|held| held.permits.look_at_all());
        }
    }

    pub(super) fn tick_permits(&mut self) {
        let held = self.held.iter_mut();
        let restless: Vec<(Shard, Vec<AccountId>)> = held
            .map(|(shard, held)| (*shard, held.permits.restless()))
            .filter(|(_, accounts)| !accounts.is_empty())
            .collect();
        for (shard, accounts) in restless {
            self.serve_permits(shard, &accounts);
        }
    }

    fn serve_permits(&mut self, shard: Shard, accounts: &[AccountId]) {
        self.with_permits(shard, accounts, Ledger::serve);
    }

    /// Asks whoever holds some what of it is in flight.
    pub fn ask_in_flight(&mut self, account: AccountId) {
        self.with_permits(account.shard(), &[account], |ledger, account, terms, around| {
            ledger.ask(&account, terms, around);
        });
    }

    fn with_permits(
        &mut self,
        shard: Shard,
        accounts: &[AccountId],
        look: impl Fn(&mut Ledger, AccountId, Terms, &mut Around<'_>),
    ) {
        let now = self.now;
        let Some(held) = self.held.get_mut(&shard) else { return };
        let Some(epoch) = held.epoch() else { return };
        let (peers, members) = (&self.peers, &self.members);
        let is_heard = |instance: &Uuid| {
            let peer = peers.get(instance).filter(|_| members.contains(instance));
            peer.is_some_and(|peer| peer.id.boot != UNMET && now.since(peer.heard_at) < HEARD)
        };
        let mut told: Vec<(Uuid, Level)> = Vec::new();
        for account in accounts {
            let rule = self.history.current().concurrent.get(&account.limit);
            let mut around = Around {
                now,
                numbers: &mut self.levels,
                is_heard: &is_heard,
                told: &mut told,
            };
            look(&mut held.permits, *account, terms(rule, epoch), &mut around);
        }
        for (instance, level) in told {
            self.tell(instance, Told::Permits(level));
        }
    }

    /// None: nobody counts it here, or the limit does not say how many.
    pub fn in_flight(&self, account: &AccountId) -> Option<InFlight> {
        let rule = self.history.current().concurrent.get(&account.limit)?;
        let held = self.held.get(&account.shard()).filter(|held| held.claim.is_some())?;
        Some(InFlight {
            in_flight: held.permits.in_flight(account),
            of: rule.most,
        })
    }
}

fn terms(rule: Option<&Concurrent>, epoch: u64) -> Terms {
    Terms {
        most: rule.map_or(0, |rule| rule.most),
        revision: rule.map_or(Revision::ZERO, |rule| rule.revision),
        epoch,
    }
}
