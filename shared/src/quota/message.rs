//! What proxies and owners say to each other. Each message is a batch; any of them may be lost, late, doubled or overtaken.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::permits::{Level, Report};
use super::{Digest, Label};
use crate::change::Revision;

/// Accounts are spread over so many shards, each with one owner.
pub const SHARDS: u8 = 64;

/// Accounts that one message is about at the most: a few hundred bytes each.
pub const BATCH_MAX: usize = 4_096;

pub type Shard = u8;

/// Counts the grants of one owner to one proxy.
pub type GrantId = u64;

/// Of a limit's id and what is counted under: the account's name everywhere, and its place in the proxies' tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(Uuid);

impl KeyHash {
    /// None is before it.
    pub const LEAST: KeyHash = KeyHash(Uuid::nil());

    pub fn of(limit: Uuid, key: &[u8]) -> KeyHash {
        KeyHash::of_digests(Digest::of_limit(limit), Digest::of_key(key))
    }

    pub fn of_digests(limit: Digest, key: Digest) -> KeyHash {
        KeyHash(Uuid::from_u128(limit.with(key)))
    }

    /// Of what [`KeyHash::halves`] gave.
    pub fn from_halves(high: u64, low: u64) -> KeyHash {
        KeyHash(Uuid::from_u64_pair(high, low))
    }

    pub fn shard(self) -> Shard {
        (self.halves().0 >> 58) as Shard
    }

    pub fn halves(self) -> (u64, u64) {
        self.0.as_u64_pair()
    }
}

/// What is counted for one limit and one requester.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccountId {
    pub limit: Uuid,
    pub key: KeyHash,
}

impl AccountId {
    pub fn of(limit: Uuid, key: &[u8]) -> AccountId {
        AccountId {
            limit,
            key: KeyHash::of(limit, key),
        }
    }

    pub fn shard(&self) -> Shard {
        self.key.shard()
    }
}

/// The life of a proxy that has not been heard of: whichever it is.
pub const UNMET: u64 = 0;

/// One life of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProxyId {
    pub instance: Uuid,
    /// Counts the starts of this instance, from 1.
    pub boot: u64,
}

/// From a proxy to one incarnation of an owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Up {
    pub from: ProxyId,
    pub to: Uuid,
    /// Counts the messages from this proxy, to whichever owner.
    pub number: u64,
    /// The newest message of the owner that this proxy has read; 0: none.
    pub heard: u64,
    /// Of the table that this proxy counts by.
    pub revision: Revision,
    pub items: Vec<Said>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// A level: it replaces what was wanted before.
    Want(Want),
    /// An allowance is over: so many of it were spent, the last of them `age` ago or before; the others never will be.
    Return {
        id: GrantId,
        used: u64,
        unspent: u64,
        age: Duration,
        /// Of the used: so many were spent so long ago or before, oldest first.
        earlier: Vec<(u64, Duration)>,
        /// Some of the used may turn out not to have been.
        #[serde(default)]
        unsettled: bool,
    },
    /// Of what was returned as used of an allowance so many tokens were not, all in all: a level, which only grows.
    Refund { id: GrantId, tokens: u64 },
    Beat {
        /// No standby will be used for [`super::Settings::promise`] from the send of this, and the validity of an
        /// allowance and a period beyond it.
        promised: bool,
        /// When standby was last used, or may have been used by the life before this one.
        idle: Option<Duration>,
        /// The oldest table that it may have been used by, for as long as that counts.
        by: Revision,
        /// How long ago this life of the proxy began, if those before it may have used standby that still counts. None: they used
        /// none but what they told.
        began: Option<Duration>,
        standby: Vec<Standby>,
        /// Of these shards it wants to be told what was charged before it began.
        #[serde(default)]
        heir: Vec<Shard>,
    },
    Census {
        shard: Shard,
        epoch: u64,
        /// Since when this proxy knows all that was spent on its machine; none: always.
        knows: Option<Duration>,
        /// As in a beat.
        began: Option<Duration>,
        /// What label time would be now, at the least, by the owner before; none if this proxy did not hear that one.
        earliest: Option<Label>,
        oldest: Option<Oldest>,
        uses: Vec<Use>,
        weight: u64,
        /// All permits that are held in the shard.
        #[serde(default)]
        permits: Vec<Report>,
        /// What this life was told of those before it.
        #[serde(default)]
        inherited: Option<Inherited>,
    },
    /// Label time has reached this already.
    Behind { label: Label },
    /// What came under a limit that only observes.
    Seen(Seen),
    /// Of the permits of one account.
    Permits(Report),
}

/// Requests of one account that passed, whatever is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Counts what this proxy has said so.
    pub id: u64,
    pub account: AccountId,
    pub requests: u64,
    /// Of all of them.
    pub tokens: u64,
    /// How long ago the first and the last of them were.
    pub since: Duration,
    pub until: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    pub account: AccountId,
    /// Tokens that requests wait for.
    pub queued: u64,
    /// A request takes so many at once: fewer are of little use.
    #[serde(default)]
    pub least: u64,
    /// Tokens per second that are asked for here, thousandths, as far as that is known yet.
    pub rate: u64,
}

/// The oldest owner that a proxy heard not long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Oldest {
    /// What label time would be now by that owner, at the most.
    pub label: Label,
    /// How long ago that was known last.
    pub age: Duration,
}

/// What was spent of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    pub account: AccountId,
    pub tokens: u64,
    /// How long ago the last of them was, at least.
    pub age: Duration,
    /// The bucket that they were granted for, and its length in nanoseconds.
    pub bucket: (u64, u64),
}

impl Use {
    /// The bucket of what was spent of a standby.
    pub const STANDBY: (u64, u64) = (0, 0);
}

/// Which part of every account a proxy may spend once it has lost its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standby {
    pub shard: Shard,
    pub epoch: u64,
    /// Counts an owner's assignments to a proxy; 0: of an owner before.
    pub number: u64,
    /// Of [`super::WHOLE`].
    pub weight: u64,
}

/// From an owner to one life of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Down {
    pub from: Uuid,
    pub to: ProxyId,
    pub number: u64,
    /// The newest message of the proxy that the owner has read, 0: none, and when by its label time.
    pub heard: u64,
    pub heard_at: Label,
    /// Label time at the send.
    pub now: Label,
    pub items: Vec<Told>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    Grant {
        id: GrantId,
        account: AccountId,
        epoch: u64,
        /// Of the limit.
        revision: Revision,
        tokens: u64,
        /// Where it is charged until it is told where it was spent, and the length of that bucket in nanoseconds.
        bucket: (u64, u64),
        /// None of it may be spent before this has passed since the send.
        #[serde(default)]
        not_before_in: Duration,
        /// From when the message `heard` was read, by the owner's label time.
        expires_in: Duration,
    },
    Recall {
        id: GrantId,
        tokens: u64,
    },
    Exhausted {
        account: AccountId,
        epoch: u64,
        retry_in: Duration,
    },
    /// The shards of this owner, and their epochs.
    Beat {
        shards: Vec<(Shard, u64)>,
    },
    /// All that this owner had claimed is over, and the store lets it claim nothing: it can grant nothing. In every message
    /// until it can.
    Powerless,
    /// Accept nothing of an older epoch, give up what you hold by one, and say what you spent.
    Census {
        shard: Shard,
        epoch: u64,
    },
    Standby(Standby),
    /// Of the requests that were said to be seen, so many would have been refused.
    Observed {
        id: u64,
        refused: u64,
    },
    Permits(Level),
    Testament(Testament),
}

/// All that an owner had charged in a shard at some moment, to whomever: what it granted until then, whether that is spent or
/// not, and what those before it did. One message, so that there are no parts of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testament {
    pub shard: Shard,
    pub epoch: u64,
    /// That moment, by its label time. All times in here are told apart by it, and mean nothing to anyone else.
    pub at: Label,
    /// What was spent before this it does not know.
    pub since: Label,
    /// Of the limits that it went by: what the store counted then, is not in here.
    pub revision: Revision,
    pub estates: Vec<Estate>,
}

/// What was charged of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estate {
    pub account: AccountId,
    /// The length of a bucket, in nanoseconds.
    pub bucket: u64,
    /// Buckets and tokens.
    pub charges: Vec<(u64, u64)>,
}

/// A testament, kept by the life of a proxy that it was for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inherited {
    pub testament: Testament,
    /// How long ago it was given, at least and at most.
    pub age: (Duration, Duration),
}

impl Testament {
    /// How many.
    pub fn charges(&self) -> usize {
        self.estates.iter().map(|estate| estate.charges.len()).sum()
    }
}

/// All that an owner charged in a shard; it grants nothing there any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    pub shard: Shard,
    pub epoch: u64,
    pub charges: Vec<Charge>,
    /// Of the limits that it went by: what the store counted then, is not in here.
    pub revision: Revision,
    /// Nothing that was used of a standby before this counts; none: that is not known.
    pub vouched: Option<Label>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    pub account: AccountId,
    pub tokens: u64,
    /// The bucket, and its length in nanoseconds.
    pub bucket: (u64, u64),
    /// Since the end of the bucket, and until it.
    pub age: Duration,
    pub ahead: Duration,
}
