//! What a new owner asks every proxy before it grants.

use uuid::Uuid;

use super::Proxy;
use crate::quota::message::{KeyHash, Oldest, Said, Shard, Use};
use crate::quota::{shrink, stretch};
use crate::time::Time;

impl Proxy {
    /// Tells what was spent in a shard. What is open is closed first, so that nothing is spent that was not told.
    pub(super) fn count(&mut self, owner: Uuid, shard: Shard, epoch: u64, now: Time) {
        let view = self.views[usize::from(shard)];
        if view.epoch != epoch || view.owner != Some(owner) {
            return;
        }
        let keys: Vec<KeyHash> = self.of_shard(shard).map(|(key, _)| *key).collect();
        let mut uses = Vec::new();
        for key in keys {
            self.close(key, now);
            self.advance(key, now);
            let Some(holding) = self.holdings.get_mut(&key) else {
                continue;
            };
            holding.prune(now);
            uses.extend(holding.spent.iter().map(|spent| Use {
                account: holding.account,
                tokens: spent.tokens,
                age: now.since(spent.at),
                bucket: spent.bucket,
            }));
        }
        let said = Said::Census {
            shard,
            epoch,
            knows: self.knows.map(|knows| now.since(knows)),
            began: self.mark.unknown_before.map(|began| now.since(began)),
            earliest: view
                .before
                .filter(|before| before.epoch + 1 == epoch)
                .map(|before| before.label.after(shrink(now.since(before.at)))),
            oldest: view.oldest.map(|oldest| Oldest {
                label: oldest.label.after(stretch(now.since(oldest.at))),
                age: now.since(oldest.at),
            }),
            uses,
            weight: view.standby.weight,
            permits: self.permits.count(shard, now),
            inherited: self.inherited(shard, now),
        };
        self.say(owner, said);
        if let Some(link) = self.links.get_mut(&owner) {
            link.beat_due = true;
        }
    }
}
