//! What was withdrawn lets nobody in any more.

use std::collections::BTreeSet;

use crate::guard::{User, Withdrawn, read_token};
use crate::world::World;

/// What a writer was told is withdrawn everywhere.
pub struct Gone {
    what: Withdrawn,
    /// Proxies that said so themselves.
    reached: BTreeSet<usize>,
}

impl World {
    /// A revocation was answered 200.
    pub fn withdrawn(&mut self, what: &Withdrawn, reached: BTreeSet<usize>) {
        self.count.add("revocations answered 200");
        let what = what.clone();
        self.volume_mut().ledger.withdrawn.push(Gone { what, reached });
    }

    /// A request's head leaves, with this token: it was not withdrawn there, as far as a proxy is bound by what was said.
    pub fn check_leave(&mut self, i: usize, user: User, token: Option<&str>) {
        let Some((of, version)) = token.and_then(read_token) else {
            return self.violate(format!("a request of proxy {i} carries {token:?}"));
        };
        let Some((volume, leased)) = self.followed(i) else {
            return;
        };
        let mut gone = volume.ledger.withdrawn.iter();
        let hit = gone.find(|gone| (leased || gone.reached.contains(&i)) && gone.what.is_of(user, version));
        if let Some(Gone { what, .. }) = hit {
            let what = format!("{what:?}");
            self.violate(format!(
                "a request of proxy {i} carries version {version} of user {user} after {what} was said to hold"
            ));
        } else if of != user {
            self.violate(format!("a request of proxy {i} by user {user} carries {token:?}"));
        }
    }
}
