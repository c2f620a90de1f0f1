//! The allowances of one account: the one that is open in its slot, and those behind it.

use std::collections::VecDeque;
use std::time::Duration;

use uuid::Uuid;

use super::returning::Used;
use super::standby::own;
use super::{Output, Proxy};
use crate::quota::message::{AccountId, GrantId, KeyHash, Shard};
use crate::quota::slots::{Evicted, Place};
use crate::quota::window::Window;
use crate::quota::{Label, Rule};
use crate::time::Time;

/// Allowances of one account that wait behind the open one.
const NEXT_MAX: usize = 32;
/// So many of them that could be open are more than there is use for.
const IDLE: usize = 4;
/// Times at which an open allowance is looked at, and what was spent until then told from the rest.
const EARLIER_MAX: usize = 8;
/// How often what is left of an open allowance is looked at.
const LOOKS: u32 = 3;
/// So many requests that were to come and did not are no chance.
const MISSED: u128 = 8;
/// Below this part of an allowance more is asked for, if it had enough tokens for that.
pub(super) const LOW: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Grant {
        owner: Uuid,
        id: GrantId,
    },
    /// Of this proxy's own standby; the bucket of its window that it was charged to.
    Standby {
        bucket: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    pub source: Source,
    pub tokens: u32,
    /// It was granted before it could be spent, and is never called back.
    pub is_ahead: bool,
    pub not_before: Time,
    pub expiry: Time,
    /// What it was granted for, and the length of that bucket in nanoseconds.
    pub bucket: (u64, u64),
}

#[derive(Debug)]
pub struct Open {
    pub allowance: Allowance,
    /// What was left when it was looked at last, and since when that is so, at the latest.
    rest: u32,
    moved: Time,
    /// How many of the spent are in the account's demand.
    demanded: u32,
    /// How many had been spent when it was looked at before, since the time before that.
    earlier: Vec<(u64, Time)>,
}

/// Tokens that were spent.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    pub bucket: (u64, u64),
    pub tokens: u64,
    /// The last of them: then or before.
    pub at: Time,
}

#[derive(Debug)]
pub struct Holding {
    pub account: AccountId,
    pub rule: Rule,
    pub open: Option<Open>,
    /// By when they may be spent.
    pub next: VecDeque<Allowance>,
    /// Tokens that requests wait for.
    pub queued: u64,
    /// That the last request takes which waited.
    pub least: u64,
    /// Tokens that were spent or asked for in vain since the rate was reckoned last.
    pub demanded: u64,
    pub rated_at: Time,
    /// Tokens per second, thousandths.
    pub rate: u64,
    pub wanted_at: Option<Time>,
    /// The owner has nothing before this.
    pub retry: Time,
    /// The newest of its messages that said what there is: its epoch, and the number.
    pub heard: (u64, u64),
    /// Of the last period, for a census.
    pub spent: VecDeque<Spent>,
    /// The longest period that it was counted by.
    keep: Duration,
    /// What was spent of the standby, by this proxy's clock.
    pub standby: Window,
    pub due: Time,
}

impl Holding {
    pub fn new(account: AccountId, rule: Rule, now: Time) -> Holding {
        Holding {
            account,
            rule,
            open: None,
            next: VecDeque::new(),
            queued: 0,
            least: 1,
            demanded: 0,
            rated_at: now,
            rate: 0,
            wanted_at: None,
            retry: Time::ZERO,
            heard: (0, 0),
            spent: VecDeque::new(),
            keep: rule.span(),
            standby: Window::default(),
            due: Time::ZERO,
        }
    }

    pub fn follow(&mut self, rule: Rule, now: Time) {
        let at = Label::from_nanos(now.as_nanos());
        self.standby.convert(&own(&self.rule), &own(&rule), at);
        self.keep = self.keep.max(rule.span());
        self.retry = Time::ZERO;
        self.rule = rule;
    }

    pub fn holds(&self, source: Source) -> bool {
        let open = self.open.iter().map(|open| open.allowance.source);
        open.chain(self.next.iter().map(|allowance| allowance.source))
            .any(|held| held == source)
    }

    /// Whether a message is no older than what was heard of the account before.
    pub fn hear(&mut self, message: (u64, u64)) -> bool {
        let is_newer = message >= self.heard;
        self.heard = self.heard.max(message);
        is_newer
    }

    /// What was asked for until now goes into the rate.
    pub fn reckon(&mut self, rest: u32, now: Time) {
        if let Some(open) = &mut self.open {
            let spent = open.allowance.tokens.saturating_sub(rest);
            self.demanded += u64::from(spent.saturating_sub(open.demanded));
            open.demanded = spent.max(open.demanded);
        }
        let elapsed = now.since(self.rated_at);
        if elapsed >= self.rule.portion() / 2 {
            let rate = u128::from(self.demanded) * 1_000_000_000_000 / elapsed.as_nanos().max(1);
            self.rate = (self.rate + u64::try_from(rate).unwrap_or(u64::MAX >> 1)) / 2;
            (self.demanded, self.rated_at) = (0, now);
        }
    }

    /// Nobody asks any more, by what was asked for before, and others need what there is: some of it was granted ahead.
    fn has_stopped(&self, now: Time) -> bool {
        let mut held = self.open.iter().map(|open| &open.allowance).chain(&self.next);
        if !held.any(|allowance| allowance.is_ahead) {
            return false;
        }
        let since = match (&self.open, self.next.front()) {
            (Some(open), _) if open.rest > 0 => open.moved,
            (None, Some(next)) => next.not_before,
            _ => now,
        };
        let missed = u128::from(self.rate) * now.since(since).as_nanos() / 1_000_000_000_000;
        self.queued == 0 && missed >= MISSED * u128::from(self.least.max(1))
    }

    pub fn record(&mut self, spent: Spent) {
        let together = self.rule.period / 60;
        match self.spent.back_mut() {
            Some(last) if last.bucket == spent.bucket && spent.at.since(last.at) < together => {
                last.tokens += spent.tokens;
                last.at = last.at.max(spent.at);
            }
            _ => self.spent.push_back(spent),
        }
    }

    /// Forgets what is too long ago for anyone to ask.
    pub fn prune(&mut self, now: Time) {
        let keep = self.keep;
        while self.spent.front().is_some_and(|spent| now.since(spent.at) > keep) {
            self.spent.pop_front();
        }
        self.standby.prune(&own(&self.rule), Label::from_nanos(now.as_nanos()));
    }

    /// Its slot refuses requests until `retry`; while it does, an edit must find what it has to undo.
    pub fn is_forgotten(&self, now: Time) -> bool {
        let is_unused = self.open.is_none() && self.next.is_empty() && self.queued == 0 && self.spent.is_empty();
        is_unused && now >= self.retry
    }
}

/// What was certainly spent by then: not so many as were put back, which may have been taken for it.
fn certain(earlier: &[(u64, Time)], mut put_back: u64) -> Vec<(u64, Time)> {
    let certain = earlier.iter().map(|(tokens, at)| {
        let doubtful = put_back.min(*tokens);
        put_back -= doubtful;
        (tokens - doubtful, *at)
    });
    certain.filter(|(tokens, _)| *tokens > 0).collect()
}

impl Proxy {
    /// `message`: the epoch, and the number of the message.
    pub(super) fn granted(
        &mut self,
        account: AccountId,
        rule: Rule,
        allowance: Allowance,
        message: (u64, u64),
        now: Time,
    ) {
        let Some(holding) = self.hold(account, rule, now) else {
            self.give_back(&allowance, now);
            return;
        };
        if holding.hear(message) {
            holding.retry = Time::ZERO;
        }
        holding.wanted_at = None;
        if holding.next.len() == NEXT_MAX {
            self.give_back(&allowance, now);
            return;
        }
        let queued = holding.queued > 0;
        let behind = |other: &Allowance| other.not_before <= allowance.not_before;
        holding.next.insert(holding.next.partition_point(behind), allowance);
        self.advance(account.key, now);
        self.schedule(account.key, now, allowance.expiry);
        if queued {
            self.outputs.push(Output::Wake(account));
        }
    }

    /// Sees to it that what is open has something left, if there is anything. What there will be is waited for.
    pub(super) fn advance(&mut self, key: KeyHash, now: Time) {
        loop {
            let Some(holding) = self.holdings.get(&key) else { return };
            if let Some(open) = &holding.open {
                // Of what requests take more than one of at once some may come back.
                let is_spent = self.slots.rest(key) == 0 && (holding.least <= 1 || !holding.next.is_empty());
                if !is_spent && now < open.allowance.expiry {
                    return;
                }
                self.close(key, now);
            }
            let Some(holding) = self.holdings.get_mut(&key) else {
                return;
            };
            let Some(allowance) = holding.next.front().copied() else {
                return;
            };
            if now < allowance.not_before {
                holding.retry = holding.retry.max(allowance.not_before);
                let evicted = self.slots.exhaust(key, holding.retry);
                self.make_room(evicted, now);
                return;
            }
            holding.next.pop_front();
            match now < allowance.expiry {
                true => self.open(key, allowance, now),
                false => self.give_back(&allowance, now),
            }
        }
    }

    pub(super) fn open(&mut self, key: KeyHash, allowance: Allowance, now: Time) {
        let Some(holding) = self.holdings.get_mut(&key) else {
            return;
        };
        holding.open = Some(Open {
            allowance,
            rest: allowance.tokens,
            moved: now,
            demanded: 0,
            earlier: Vec::new(),
        });
        let low = if allowance.tokens >= 2 * LOW {
            allowance.tokens / LOW
        } else {
            0
        };
        let evicted = self.slots.open(key, allowance.tokens, allowance.expiry, low);
        self.make_room(evicted, now);
        self.schedule(key, now, allowance.expiry);
    }

    /// Ends what is open, and tells what became of it.
    pub(super) fn close(&mut self, key: KeyHash, now: Time) {
        let rest = match self.holdings.get(&key) {
            Some(holding) if holding.open.is_some() => self.slots.close(key),
            _ => return,
        };
        let put_back = self.slots.put_back(key);
        let reserved = self.slots.reserved(key);
        self.closed(key, rest, Some(put_back), reserved, now);
    }

    /// `put_back`: tokens that may have seemed to be spent before they were; none: nobody knows how many. `reserved`: where it
    /// was, if what is not used of it may turn out later.
    fn closed(&mut self, key: KeyHash, rest: u32, put_back: Option<u64>, reserved: Option<Place>, now: Time) {
        let Some(holding) = self.holdings.get_mut(&key) else {
            return;
        };
        let Some(open) = holding.open.take() else { return };
        let allowance = open.allowance;
        let earlier = put_back.map_or(Vec::new(), |put_back| certain(&open.earlier, put_back));
        let last = if rest == open.rest && put_back == Some(0) {
            open.moved
        } else {
            now.min(allowance.expiry)
        };
        let used = allowance.tokens.saturating_sub(rest);
        holding.demanded += u64::from(used.saturating_sub(open.demanded));
        match allowance.source {
            Source::Grant { owner, id } => {
                let tokens = u64::from(used);
                if used > 0 {
                    let bucket = allowance.bucket;
                    holding.record(Spent {
                        bucket,
                        tokens,
                        at: last,
                    });
                }
                let reserved = reserved.filter(|_| used > 0);
                // Something else will be said soon.
                let is_asked_on = allowance.is_ahead || !holding.next.is_empty();
                let used = Used {
                    tokens: used,
                    last,
                    earlier: &earlier,
                    unsettled: reserved.is_some(),
                    waits: is_asked_on.then(|| holding.rule.validity()),
                };
                self.give_back_used(&allowance, used, now);
                if let Some(place) = reserved {
                    self.late.closed(place, (owner, id), tokens, now);
                }
            }
            Source::Standby { bucket } => self.standby_closed(key, bucket, u64::from(used), u64::from(rest), last, now),
        }
    }

    /// Another account took the slot.
    pub(super) fn make_room(&mut self, evicted: Option<Evicted>, now: Time) {
        if let Some(evicted) = evicted {
            self.closed(evicted.key, evicted.rest, None, None, now);
        }
    }

    /// They lie together.
    pub(super) fn of_shard(&self, shard: Shard) -> impl Iterator<Item = (&KeyHash, &Holding)> {
        let first = u64::from(shard) << 58;
        let ends = [(first, 0), (first | u64::MAX >> 6, u64::MAX)];
        let [first, last] = ends.map(|(high, low)| KeyHash::from_halves(high, low));
        self.holdings.range(first..=last)
    }

    /// What became due for an account.
    pub(super) fn look_after(&mut self, key: KeyHash, now: Time) {
        let Some(holding) = self.holdings.get_mut(&key) else {
            return;
        };
        holding.due = Time::ZERO;
        holding.prune(now);
        if holding.is_forgotten(now) {
            self.holdings.remove(&key);
            return;
        }
        if let Some(open) = &mut holding.open {
            let rest = self.slots.rest(key);
            if rest != open.rest {
                if open.earlier.len() < EARLIER_MAX {
                    open.earlier.push((u64::from(open.rest - rest.min(open.rest)), now));
                }
                (open.rest, open.moved) = (rest, now);
            }
        }
        if holding.next.iter().filter(|next| next.not_before <= now).count() >= IDLE {
            self.give_back_next(key, now);
        }
        let holding = self.holdings.get(&key).filter(|holding| holding.has_stopped(now));
        if holding.is_some_and(|holding| !self.is_cut_off(holding.account.shard(), now)) {
            self.give_back_all(key, now);
        }
        self.advance(key, now);
        self.want(key, now);
        let Some(holding) = self.holdings.get(&key) else { return };
        let next = match &holding.open {
            _ if holding.queued > 0 => now + super::want::AGAIN,
            Some(open) => (now + holding.rule.portion() / LOOKS).min(open.allowance.expiry),
            None => match holding.next.front() {
                Some(next) => now.max(next.not_before) + holding.rule.portion() / LOOKS,
                None => now + holding.rule.portion(),
            },
        };
        self.schedule(key, now, next);
    }

    pub(super) fn schedule(&mut self, key: KeyHash, now: Time, due: Time) {
        let Some(holding) = self.holdings.get_mut(&key) else {
            return;
        };
        let due = due.max(now);
        if holding.due != Time::ZERO && holding.due <= due {
            return;
        }
        self.agenda.remove(&(holding.due, key));
        holding.due = due;
        self.agenda.insert((due, key));
    }

    /// The holding of an account, a new one if there is none. Bounded: what nobody uses makes room, and with what it spent
    /// forgotten this proxy knows less.
    pub(super) fn hold(&mut self, account: AccountId, rule: Rule, now: Time) -> Option<&mut Holding> {
        if !self.holdings.contains_key(&account.key) {
            if self.holdings.len() >= self.settings.accounts_max {
                self.forget_one(now)?;
            }
            self.holdings.insert(account.key, Holding::new(account, rule, now));
            self.schedule(account.key, now, now + rule.portion());
        }
        self.holdings.get_mut(&account.key)
    }

    fn forget_one(&mut self, now: Time) -> Option<()> {
        const LOOKS: usize = 32;
        let from = self.cursor.unwrap_or(KeyHash::LEAST);
        // What was spent of a standby is remembered here alone: forgotten, it could be spent again.
        let idle = |(_, holding): &(&KeyHash, &Holding)| holding.queued == 0 && holding.standby.is_empty();
        let near: Vec<KeyHash> = self
            .holdings
            .range(from..)
            .take(LOOKS)
            .filter(idle)
            .map(|(key, _)| *key)
            .collect();
        self.cursor = self.holdings.range(from..).nth(LOOKS).map(|(key, _)| *key);
        let holds = |key: &&KeyHash| {
            self.holdings
                .get(*key)
                .is_some_and(|holding| holding.open.is_none() && holding.next.is_empty())
        };
        let key = near.iter().find(holds).or_else(|| near.first()).copied()?;
        self.void(key, now);
        let holding = self.holdings.remove(&key)?;
        self.agenda.remove(&(holding.due, key));
        if !holding.spent.is_empty() {
            self.knows = Some(now);
        }
        Some(())
    }
}
