//! The proxy's end: which allowances it holds, what it asks for, and what it may do without its owners.
//!
//! One thread at a time drives it; the decisions themselves are made in [`Slots`], without it. It is asked when a slot
//! has nothing to take (`block`) or little left (`prefetch`), and told what the owners say.
//!
//! ```text
//!   allowance   granted ─▶ next ─▶ open in its slot ── spent, expired, recalled, voided ─▶ returned
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::message::{AccountId, Down, GrantId, KeyHash, ProxyId, SHARDS, Said, Shard, Told, UNMET, Up};
use super::permits::proxy::Holder;
use super::{DELTA, Label, Rules, Settings, Slots, shrink, stretch};
use crate::change::Revision;
use crate::time::Time;

mod census;
mod heir;
mod holding;
mod late;
mod link;
mod mark;
mod observing;
mod permits;
mod returning;
mod standby;
mod view;
mod want;

use heir::Heir;
use holding::{Allowance, Holding, Source};
use late::Late;
use link::Link;
use mark::Mark;
use observing::Observing;
use view::{Before, View};

pub use observing::Passed;

#[derive(Clone, Debug)]
pub enum Input {
    /// At least every 20 ms.
    Tick,
    /// The limits of the table that is about to be acknowledged: nothing granted by other rules is spent after this.
    Rules(Rules),
    /// Those of another store: its revisions, and the epochs of its shards, are numbers of another row. A `Welcome` follows.
    Anew(Rules),
    Message(Down),
    /// The control plane that welcomed this proxy read the epochs of all claimed shards from the store, SERIAL, after the
    /// proxy was on the roster.
    Welcome(Vec<(Shard, u64)>),
    /// The machine slept: its clock stood still while others went on.
    Slept,
    /// Nothing is decided any more; what is held goes back.
    Leave,
    /// What passed since the last of these, under limits that only observe.
    Passed(Vec<Passed>),
    /// What [`Output::Mark`] asked for is done, and outlives this process and its machine.
    Marked(bool),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Send(Up),
    /// Requests that wait for this account should decide again.
    Wake(AccountId),
    /// The next life of this proxy is to find a mark, or none; the last of these counts.
    Mark(bool),
    /// Of requests that passed, so many would have been refused; none: nobody can say.
    Observed {
        limit: Uuid,
        requests: u64,
        refused: Option<u64>,
    },
}

/// What a request is to do that its slot refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an allowance now: decide again.
    Again,
    /// It was queued; decide again when woken, and call `unqueue` when it is over.
    Wait,
    /// Nothing is to be had before.
    Refuse { retry: Time },
    /// The limit says that without its owner nothing is counted.
    Uncounted,
    /// The table that it goes by is not the one of now: route anew.
    Stale,
}

#[derive(Debug)]
pub struct Proxy {
    id: ProxyId,
    settings: Settings,
    slots: Arc<Slots>,
    rules: Rules,
    views: Vec<View>,
    welcomed: bool,
    links: BTreeMap<Uuid, Link>,
    /// Of the last message, to whichever owner: one that was not heard for long and is forgotten is not numbered anew.
    number: u64,
    /// Label time is at least that, at that time.
    earliest: Option<(Label, Time)>,
    holdings: BTreeMap<KeyHash, Holding>,
    /// When each holding is to be looked at next.
    agenda: BTreeSet<(Time, KeyHash)>,
    /// Since when all that was spent on this machine is known; none: always.
    knows: Option<Time>,
    /// When this life began, unless it is the first.
    began: Option<Time>,
    heir: Heir,
    /// Accounts that have some of it open.
    standbys: BTreeSet<KeyHash>,
    /// When standby was used last, and the oldest table that it was used by, as far as that counts.
    standby_used: Option<(Time, Revision)>,
    /// Where the search for a holding to forget goes on.
    cursor: Option<KeyHash>,
    /// Allowances that are over, and of which some was reserved.
    late: Late,
    observing: Observing,
    permits: Holder,
    mark: Mark,
    leaving: bool,
    outputs: Vec<Output>,
}

impl Proxy {
    /// `is_marked`: the last [`Output::Mark`] of the lives before, if it was done: true for an instance that is new.
    pub fn new(id: ProxyId, settings: Settings, slots: Arc<Slots>, is_marked: bool, now: Time) -> Proxy {
        Proxy {
            id,
            slots,
            rules: Rules::default(),
            views: vec![View::unmet(&settings, now); usize::from(SHARDS)],
            welcomed: false,
            settings,
            links: BTreeMap::new(),
            number: 0,
            earliest: None,
            holdings: BTreeMap::new(),
            agenda: BTreeSet::new(),
            knows: (id.boot > 1).then_some(now),
            began: (id.boot > 1).then_some(now),
            heir: Heir::default(),
            standbys: BTreeSet::new(),
            standby_used: None,
            cursor: None,
            late: Late::default(),
            observing: Observing::default(),
            permits: Holder::new(Arc::default(), settings.accounts_max),
            mark: Mark::new(is_marked, id.boot <= 1, now),
            leaving: false,
            outputs: Vec::new(),
        }
    }

    pub fn handle(&mut self, input: Input, now: Time) -> Vec<Output> {
        match input {
            Input::Tick => self.tick(now),
            Input::Rules(rules) => self.replace_rules(rules, now),
            Input::Anew(rules) => self.begin_anew(rules, now),
            Input::Message(down) => self.message(down, now),
            Input::Welcome(epochs) => {
                self.void_permits_of_absence(now);
                self.welcomed = true;
                epochs
                    .into_iter()
                    .for_each(|(shard, epoch)| self.adopt(shard, epoch, None, now));
            }
            Input::Slept => self.wake_up(now),
            Input::Leave => {
                self.leaving = true;
                self.void_all(now);
                self.permits.void(|_| true, now);
                self.links.values_mut().for_each(|link| link.hurry(now));
            }
            Input::Passed(passed) => self.observe(passed, now),
            Input::Marked(is_set) => self.mark.written(is_set, now),
        }
        self.flush(now);
        std::mem::take(&mut self.outputs)
    }

    /// Whether nothing is counted here, nor was a while ago: nothing becomes due.
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty() && self.holdings.is_empty() && self.observing.is_idle() && self.permits.is_idle()
    }

    /// What the calls between two inputs brought about.
    pub fn take_outputs(&mut self, now: Time) -> Vec<Output> {
        self.flush(now);
        std::mem::take(&mut self.outputs)
    }

    fn tick(&mut self, now: Time) {
        while let Some((due, key)) = self.agenda.first().copied().filter(|(due, _)| *due <= now) {
            self.agenda.remove(&(due, key));
            self.look_after(key, now);
        }
        self.tick_observing(now);
        self.tick_permits(now);
        self.beat(now);
        self.tick_mark(now);
        let owners: BTreeSet<Uuid> = self.views.iter().filter_map(|view| view.owner).collect();
        let keep = self.settings.promise * 4;
        self.links
            .retain(|id, link| owners.contains(id) || now.since(link.heard_when) < keep);
    }

    fn replace_rules(&mut self, rules: Rules, now: Time) {
        if rules.revision < self.rules.revision {
            return;
        }
        let changed = |(key, holding): (&KeyHash, &Holding)| {
            let rule = rules.of(&holding.account.limit).copied();
            (rule.map(|rule| rule.revision) != Some(holding.rule.revision)).then_some((*key, rule))
        };
        for (key, rule) in self.holdings.iter().filter_map(changed).collect::<Vec<_>>() {
            self.void(key, now);
            if let (Some(holding), Some(rule)) = (self.holdings.get_mut(&key), rule) {
                holding.follow(rule, now);
            }
        }
        self.void_permits_of_others(&rules, now);
        self.rules = rules;
    }

    /// What is held may be over, and so may be what is still to come for a message from before.
    fn wake_up(&mut self, now: Time) {
        self.void_all(now);
        self.heir.forget();
        self.links.values_mut().for_each(Link::forget_sends);
        self.views.iter_mut().for_each(|view| view.reached = None);
    }

    /// What was spent here stays known; of everything else that the owners of the store before said nothing holds.
    fn begin_anew(&mut self, rules: Rules, now: Time) {
        self.void_all(now);
        self.views.fill(View::unmet(&self.settings, now));
        self.permits.void(|_| true, now);
        (0..SHARDS).for_each(|shard| self.permits.adopt(shard, 0, now));
        self.welcomed = false;
        self.heir.end();
        self.rules = rules;
        for holding in self.holdings.values_mut() {
            let rule = self.rules.of(&holding.account.limit).copied();
            holding.follow(rule.unwrap_or(holding.rule), now);
            (holding.wanted_at, holding.heard) = (None, (0, 0));
        }
    }

    fn void_all(&mut self, now: Time) {
        let keys: Vec<KeyHash> = self.holdings.keys().copied().collect();
        keys.into_iter().for_each(|key| self.void(key, now));
    }

    /// Gives up all allowances of an account. What was said of when to come again does not hold, either.
    fn void(&mut self, key: KeyHash, now: Time) {
        self.close(key, now);
        self.slots.forgive(key);
        self.give_back_next(key, now);
    }

    fn message(&mut self, down: Down, now: Time) {
        if down.to.instance != self.id.instance {
            return;
        }
        let link = self.links.entry(down.from).or_insert_with(|| Link::new(now));
        link.heard_when = now;
        if !down.items.contains(&Told::Powerless) {
            link.able_when = now;
        }
        // An owner that has not heard of this life yet. It is heard, so that it does; but its numbers are the former life's.
        let is_known = down.to.boot == self.id.boot || down.to.boot == UNMET;
        let sent = if is_known {
            link.heard = link.heard.max(down.number);
            link.sent_at(down.heard)
        } else {
            None
        };
        link.prove(down.now, now);
        if let Some(sent) = sent {
            let forget_after = self.settings.forget_after;
            for view in self.views.iter_mut().filter(|view| view.owner == Some(down.from)) {
                view.reach(sent, forget_after, now);
            }
        }
        let earliest = self.earliest_at(now);
        // It read what it answers after that was sent, and what it grants is valid from then on: how long the ways took is no matter.
        let (since, label) = sent.map_or((now, down.now), |sent| (sent, down.heard_at));
        let behind = earliest.filter(|_| self.earliest_at(since) > Some(label.after(DELTA)));
        if let Some(label) = behind {
            self.say(down.from, Said::Behind { label });
        } else if earliest.is_none_or(|earliest| down.now > earliest) {
            self.earliest = Some((down.now, now));
        }
        for told in down.items {
            if is_known || matches!(told, Told::Beat { .. } | Told::Census { .. }) {
                self.told(down.from, (down.number, sent), told, behind.is_some(), now);
            }
        }
    }

    /// By the owner's message of that number; `sent`: when what it answers was.
    fn told(&mut self, owner: Uuid, (number, sent): (u64, Option<Time>), told: Told, behind: bool, now: Time) {
        match told {
            Told::Grant {
                id,
                account,
                epoch,
                revision,
                tokens,
                bucket,
                not_before_in,
                expires_in,
            } => {
                if !self.links.get_mut(&owner).is_some_and(|link| link.see(id)) {
                    return;
                }
                if !behind {
                    self.adopt(account.shard(), epoch, Some(owner), now);
                }
                let allowance = Allowance {
                    source: Source::Grant { owner, id },
                    tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
                    bucket,
                    is_ahead: not_before_in > Duration::ZERO,
                    not_before: now + stretch(not_before_in),
                    expiry: sent.map_or(Time::ZERO, |sent| sent + shrink(expires_in)),
                };
                let is_current = self.views[usize::from(account.shard())].epoch == epoch && self.welcomed;
                let rule = self
                    .rules
                    .of(&account.limit)
                    .copied()
                    .filter(|rule| rule.revision == revision);
                match rule.filter(|_| is_current && !behind && !self.leaving && now < allowance.expiry) {
                    Some(rule) => self.granted(account, rule, allowance, (epoch, number), now),
                    None => self.give_back(&allowance, now),
                }
            }
            Told::Recall { id, tokens } => self.recalled(owner, id, tokens, now),
            Told::Exhausted {
                account,
                epoch,
                retry_in,
            } => {
                let is_current = self.views[usize::from(account.shard())].epoch == epoch;
                let holding = self.holdings.get_mut(&account.key).filter(|_| is_current && !behind);
                if let Some(holding) = holding
                    && holding.hear((epoch, number))
                {
                    let retry = now + retry_in;
                    holding.retry = retry;
                    if retry_in.is_zero() {
                        // There may be more than what was granted ahead.
                        self.give_back_next(account.key, now);
                    }
                    let evicted = self.slots.exhaust(account.key, retry);
                    self.make_room(evicted, now);
                    self.outputs.push(Output::Wake(account));
                }
            }
            Told::Observed { id, refused } => self.observed(id, refused),
            Told::Permits(level) => self.permits_told(owner, &level, now),
            Told::Powerless => {}
            _ if behind => {}
            Told::Beat { shards } => {
                for (shard, epoch) in shards {
                    self.adopt(shard, epoch, Some(owner), now);
                }
            }
            Told::Census { shard, epoch } => {
                self.adopt(shard, epoch, Some(owner), now);
                self.count(owner, shard, epoch, now);
            }
            Told::Standby(standby) => self.assigned(owner, standby, now),
            Told::Testament(testament) => self.inherit(owner, testament, sent, now),
        }
    }

    /// The least that label time can be, or could unless it was set forward since.
    fn earliest_at(&self, time: Time) -> Option<Label> {
        let at = |(label, at): (Label, Time)| label.after(shrink(time.since(at))).before(stretch(at.since(time)));
        self.earliest.map(at)
    }

    /// A newer owner: what the older ones granted is void, and they are not listened to. It is asked, whatever they said of
    /// when there will be something again: they may have been closed for longer than it is.
    fn adopt(&mut self, shard: Shard, epoch: u64, owner: Option<Uuid>, now: Time) {
        let Some(view) = self.views.get_mut(usize::from(shard)) else {
            return;
        };
        if epoch < view.epoch || (epoch == view.epoch && (view.owner.is_some() || owner.is_none())) {
            return;
        }
        let is_new = epoch > view.epoch;
        let former = view.owner.and_then(|owner| self.links.get(&owner)?.earliest);
        if let Some((label, at)) = former {
            let epoch = view.epoch;
            view.before = Some(Before { epoch, label, at });
        }
        let lasts = self.settings.ledger_above * 2;
        view.oldest = view
            .oldest
            .filter(|oldest| now.since(oldest.at) < lasts)
            .or(view.before);
        view.epoch = epoch;
        view.owner = owner;
        // Of an owner that is met now nothing was taken up yet.
        self.permits.adopt(shard, epoch, now);
        let view = &mut self.views[usize::from(shard)];
        if is_new {
            view.standby.number = 0;
            view.standby.epoch = epoch;
            for key in self.of_shard(shard).map(|(key, _)| *key).collect::<Vec<_>>() {
                self.void(key, now);
                if let Some(holding) = self.holdings.get_mut(&key) {
                    (holding.wanted_at, holding.retry) = (None, Time::ZERO);
                    self.agenda.insert((now, key));
                }
            }
        }
        if let Some(link) = owner.and_then(|owner| self.links.get_mut(&owner)) {
            link.beat_due = true;
        }
    }

    /// Never seen: it is as good as returned. A grant that comes later is not taken any more.
    fn recalled(&mut self, owner: Uuid, id: GrantId, tokens: u64, now: Time) {
        let source = Source::Grant { owner, id };
        let Some(link) = self.links.get_mut(&owner) else { return };
        if link.see(id) {
            self.say(
                owner,
                Said::Return {
                    id,
                    used: 0,
                    unspent: tokens,
                    age: Duration::ZERO,
                    earlier: Vec::new(),
                    unsettled: false,
                },
            );
            return;
        }
        let held = self.holdings.iter().find(|(_, holding)| holding.holds(source));
        let Some(key) = held.map(|(key, _)| *key) else {
            link.hurry(now);
            return;
        };
        let Some(holding) = self.holdings.get_mut(&key) else {
            return;
        };
        if holding
            .open
            .as_ref()
            .is_some_and(|open| open.allowance.source == source)
        {
            self.close(key, now);
            self.advance(key, now);
        } else if let Some(index) = holding.next.iter().position(|allowance| allowance.source == source)
            && let Some(allowance) = holding.next.remove(index)
        {
            self.give_back(&allowance, now);
        }
    }

    fn say(&mut self, owner: Uuid, said: Said) {
        if let Some(link) = self.links.get_mut(&owner) {
            link.outbox.push(said);
        }
    }

    fn flush(&mut self, now: Time) {
        self.say_of_permits();
        for (owner, link) in &mut self.links {
            link.gather(now);
            while let Some(items) = link.take_batch() {
                self.number += 1;
                link.sent(self.number, now);
                self.outputs.push(Output::Send(Up {
                    from: self.id,
                    to: *owner,
                    number: self.number,
                    heard: link.heard,
                    revision: self.rules.revision,
                    items,
                }));
            }
        }
    }
}
