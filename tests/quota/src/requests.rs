//! Requests, which need a token of every limit.

use shared::quota::permits::Report;
use shared::quota::proxy::Verdict;
use shared::quota::slots::{Attempt, Decision, Need, Taken};
use shared::quota::{AccountId, Down, Inherited, Said, Told, Up};

use uuid::Uuid;

use crate::dice::{Dice, MILLI, SECOND};
use crate::focus::Focus;
use crate::world::World;

/// How often a proxy is asked: bursts, and rests between them.
pub struct Load {
    /// Requests per second and proxy, at the least and at the most.
    rates: (u64, u64),
    uniform: Option<f64>,
    /// One proxy after another is asked for so long.
    turns: Option<u64>,
    interrupted: u64,
    next: u64,
}

/// A request that waits for tokens.
#[derive(Clone, Debug)]
pub struct Waiting {
    token: [u8; 8],
    account: AccountId,
    cost: u32,
}

/// As long as a request may wait.
const WAIT: u64 = 60 * MILLI;

/// At least as long as a standby is open before someone looks.
const ALONE: u64 = 300 * MILLI;
/// What a request costs of which it turns out later how much it used.
const RESERVED: u32 = 3;

/// Enough of its name to tell it apart in a trace.
pub fn short(account: &AccountId) -> String {
    format!("{:04x}", account.key.halves().0 >> 48)
}

impl Load {
    pub fn new(focus: Focus, dice: &mut Dice) -> Load {
        Load {
            rates: (5, dice.one(&[40, 120])),
            uniform: None,
            turns: (focus == Focus::Crossing).then_some(100 * MILLI),
            interrupted: if focus == Focus::Peace { 0 } else { 6 },
            next: 0,
        }
    }

    pub fn uniform(&mut self, rate: f64) {
        self.uniform = Some(rate);
    }

    /// All of it is asked of one proxy, and after so long of the next one.
    pub fn moving(&mut self, proxies: usize, stay: u64) {
        self.uniform = self.uniform.map(|rate| rate * proxies as f64);
        self.turns = Some(stay);
    }

    fn pause(&self, dice: &mut Dice) -> u64 {
        match self.uniform {
            // Exponential, as those of many independent callers are.
            Some(rate) => {
                let uniform = (dice.below(1 << 53) + 1) as f64 / (1_u64 << 53) as f64;
                (-uniform.ln() / rate * SECOND as f64) as u64
            }
            None => {
                let rate = if dice.percent(85) { self.rates.1 } else { self.rates.0 };
                dice.below(2 * SECOND / rate)
            }
        }
    }
}

impl World {
    pub fn begin_requests(&mut self) {
        for proxy in 0..self.proxies.len() {
            self.ask_for_ever(proxy);
        }
    }

    pub fn ask_for_ever(&mut self, proxy: usize) {
        let pause = self.load.pause(&mut self.dice);
        self.after(pause, move |world| {
            let turn = world
                .load
                .turns
                .map(|turn| (world.now / turn) as usize % world.proxies.len());
            if turn.is_none_or(|turn| turn == proxy) {
                world.request(proxy);
            }
            world.ask_for_ever(proxy);
        });
    }

    fn request(&mut self, proxy: usize) {
        let paused_until = self.proxies[proxy].paused_until;
        if paused_until > self.now {
            if self.dice.percent(20) {
                self.at(paused_until, move |world| world.request(proxy));
            }
            return;
        }
        self.oracle.tally.asked += 1;
        let token = self.limits.tokens[self.dice.index(self.limits.tokens.len())];
        if self.focus == Focus::Permits {
            self.fly(proxy, token);
            return;
        }
        let cost = match self.load.uniform {
            None if self.dice.percent(5) => 2,
            None if self.dice.percent(8) => RESERVED,
            _ => 1,
        };
        self.decide(proxy, token, cost, false);
    }

    fn decide(&mut self, proxy: usize, token: [u8; 8], cost: u32, waited: bool) {
        let accounts: Vec<AccountId> = self.proxies[proxy]
            .rules
            .rules
            .keys()
            .map(|id| AccountId::of(*id, &token))
            .collect();
        let needs: Vec<Need> = accounts.iter().map(|account| Need { key: account.key, cost }).collect();
        for _ in 0..8 {
            let mut taken = Vec::new();
            let note = |attempt: &Attempt<'_>| {
                if cost == RESERVED {
                    taken.extend((0..needs.len()).filter_map(|need| attempt.reserve(need)));
                }
            };
            if self.proxies[proxy].machine.is_none() {
                return;
            }
            let (decision, at) = match self.depth == 0 && self.dice.percent(self.load.interrupted) {
                true => self.decide_interrupted(proxy, &needs),
                false => {
                    let mono = self.proxies[proxy].clock.mono(self.now);
                    let slots = &self.proxies[proxy].slots;
                    (slots.decide_noting(&needs, || mono, note), self.now)
                }
            };
            let mono = self.proxies[proxy].clock.mono(self.now);
            let Some(machine) = &mut self.proxies[proxy].machine else {
                return;
            };
            let verdict = match decision {
                Decision::Admitted { low, .. } => {
                    let lows = accounts.iter().enumerate().filter(|(need, _)| low >> need & 1 == 1);
                    lows.for_each(|(_, account)| machine.prefetch(*account, mono));
                    let outputs = machine.take_outputs(mono);
                    self.admitted(proxy, &accounts, at, u64::from(cost), waited);
                    self.proxy_outputs(proxy, outputs);
                    self.settle_later(proxy, accounts.into_iter().zip(taken).collect(), at);
                    return;
                }
                Decision::Exhausted { .. } => {
                    self.count.add("refused without asking");
                    return;
                }
                Decision::Short { need } => {
                    let verdict = machine.block(accounts[need], cost, mono);
                    let is_alone = verdict == Verdict::Again && machine.is_cut_off(accounts[need].shard(), mono);
                    let outputs = machine.take_outputs(mono);
                    if is_alone {
                        self.proxies[proxy].alone_at = Some(self.now);
                    }
                    self.proxy_outputs(proxy, outputs);
                    (verdict, accounts[need])
                }
            };
            match verdict {
                (Verdict::Again, _) => {}
                (Verdict::Wait, account) => return self.wait(proxy, Waiting { token, account, cost }),
                _ => {
                    self.count.add("refused");
                    return;
                }
            }
        }
    }

    /// Once its answer comes it is known what a request used.
    fn settle_later(&mut self, proxy: usize, taken: Vec<(AccountId, Taken)>, at: u64) {
        if taken.is_empty() {
            return;
        }
        let (life, used) = (self.proxies[proxy].life, self.dice.below(u64::from(RESERVED)));
        let later = self.dice.between(MILLI, 2 * SECOND);
        self.after(later, move |world| world.settle(proxy, life, taken, at, used));
    }

    fn settle(&mut self, proxy: usize, life: u64, taken: Vec<(AccountId, Taken)>, at: u64, used: u64) {
        let paused_until = self.proxies[proxy].paused_until;
        if paused_until > self.now {
            self.at(paused_until, move |world| world.settle(proxy, life, taken, at, used));
            return;
        }
        if self.proxies[proxy].life != life {
            return;
        }
        let mono = self.proxies[proxy].clock.mono(self.now);
        for (account, taken) in taken {
            let key = short(&account);
            self.note(|| format!("p{proxy} used {used} of {RESERVED} of {key}"));
            self.oracle.settle(account, at, u64::from(RESERVED), used);
            let of = &mut self.proxies[proxy];
            let late = of.slots.settle(taken, used);
            let Some(machine) = of.machine.as_mut().filter(|_| late > 0) else {
                continue;
            };
            machine.settle_late(taken, late);
            let outputs = machine.take_outputs(mono);
            self.count.add("settled late");
            self.proxy_outputs(proxy, outputs);
        }
    }

    /// Between the steps of a decision, others act.
    fn decide_interrupted(&mut self, proxy: usize, needs: &[Need]) -> (Decision, u64) {
        let slots = self.proxies[proxy].slots.clone();
        let life = self.proxies[proxy].life;
        let mut attempt = Attempt::look(&slots, needs);
        self.interrupt();
        let (mono, at) = (self.proxies[proxy].clock.mono(self.now), self.now);
        if let Some(refused) = attempt.refusal(mono) {
            return (refused, at);
        }
        while attempt.take_next() {
            self.interrupt();
        }
        let is_over = self.proxies[proxy].life != life;
        if attempt.is_complete() && !is_over {
            return (attempt.admitted(mono), at);
        }
        self.count.add("tokens put back");
        attempt.put_back();
        (Decision::Short { need: 0 }, at)
    }

    fn interrupt(&mut self) {
        self.depth += 1;
        for _ in 0..self.dice.below(6) {
            self.step();
        }
        self.depth -= 1;
    }

    /// Whether no owner can have granted what this proxy spends.
    fn is_alone(&self, proxy: usize) -> bool {
        let heard = self.network.last_cut.get(&proxy).copied().unwrap_or(u64::MAX);
        let cut = (0..self.planes.len()).all(|plane| self.network.down_cut.contains(&(proxy, plane)));
        cut && self.now > heard.saturating_add(SECOND)
    }

    fn admitted(&mut self, proxy: usize, accounts: &[AccountId], at: u64, cost: u64, waited: bool) {
        self.count.add("admitted");
        if self.is_alone(proxy) {
            self.count.add("standbys spent");
        }
        self.oracle.tally.admitted += 1;
        self.oracle.tally.waited += u64::from(waited);
        let alone_at = self.proxies[proxy].alone_at;
        let is_alone = alone_at.is_some_and(|alone_at| at.saturating_sub(alone_at) < ALONE);
        for account in accounts {
            let key = short(account);
            self.note(|| format!("p{proxy} admits {cost} of {key}"));
            if let Some(violated) = self.oracle.admit(*account, at, cost, is_alone) {
                self.violate(violated);
            }
        }
    }

    fn wait(&mut self, proxy: usize, waiting: Waiting) {
        self.load.next += 1;
        let id = self.load.next;
        let of = &mut self.proxies[proxy];
        of.waiting.insert(id, waiting);
        let life = of.life;
        self.after(WAIT, move |world| {
            if world.proxies[proxy].life == life {
                world.give_up(proxy, id);
            }
        });
    }

    fn give_up(&mut self, proxy: usize, id: u64) {
        let of = &mut self.proxies[proxy];
        let Some(waiting) = of.waiting.remove(&id) else { return };
        if let Some(machine) = &mut of.machine {
            machine.unqueue(waiting.account, waiting.cost, false);
        }
        self.count.add("waited in vain");
    }

    pub fn wake(&mut self, proxy: usize) {
        if self.proxies[proxy].paused_until > self.now {
            return;
        }
        self.wake_flights(proxy);
        for (_, waiting) in std::mem::take(&mut self.proxies[proxy].waiting) {
            if let Some(machine) = &mut self.proxies[proxy].machine {
                machine.unqueue(waiting.account, waiting.cost, true);
            }
            self.decide(proxy, waiting.token, waiting.cost, true);
        }
    }

    fn name(&self, instance: Uuid) -> String {
        let proxy = self.proxies.iter().position(|proxy| proxy.instance == instance);
        proxy.map_or_else(|| "nobody".to_owned(), |proxy| format!("p{proxy}"))
    }

    pub fn tally_up(&mut self, up: &Up) {
        let is_about = |said: &Said| matches!(said, Said::Want(_) | Said::Return { .. });
        self.oracle.tally.messages += u64::from(up.items.iter().any(is_about));
        for said in &up.items {
            if let Said::Permits(report) = said {
                let from = self.name(up.from.instance);
                self.note(|| {
                    let Report { number, ceiling, in_flight, wanted, epoch, .. } = *report;
                    let key = short(&report.account);
                    format!("{from} says of {key}: {number}, at most {ceiling}, {in_flight} in flight, wants {wanted}, epoch {epoch}")
                });
            }
            if let Said::Census {
                epoch,
                uses,
                knows,
                inherited,
                ..
            } = said
            {
                let from = self.name(up.from.instance);
                let uses: Vec<String> = uses
                    .iter()
                    .map(|used| format!("{} of {}", used.tokens, short(&used.account)))
                    .collect();
                self.note(|| format!("{from} counts {uses:?} for epoch {epoch}, knows {knows:?}"));
                if let Some(Inherited { testament, age }) = inherited {
                    self.count.add("testaments told on");
                    self.note(|| format!("{from} inherited {age:?} ago {testament:?}"));
                }
            }
        }
        if up.items.iter().any(|said| matches!(said, Said::Behind { .. })) {
            self.count.add("owners told that they are behind");
        }
    }

    pub fn tally_down(&mut self, down: &Down) {
        let is_about = |told: &Told| matches!(told, Told::Grant { .. } | Told::Recall { .. } | Told::Exhausted { .. });
        self.oracle.tally.messages += u64::from(down.items.iter().any(is_about));
        for told in &down.items {
            match told {
                Told::Grant {
                    tokens,
                    account,
                    not_before_in,
                    ..
                } => {
                    self.count.add(if not_before_in.is_zero() {
                        "grants"
                    } else {
                        "grants ahead"
                    });
                    let (to, key) = (self.name(down.to.instance), short(account));
                    self.note(|| {
                        format!(
                            "{:.4} grants {tokens} of {key} to {to}, in {not_before_in:?}",
                            down.from.to_string()
                        )
                    });
                }
                Told::Recall { .. } => self.count.add("recalls"),
                Told::Testament(_) => self.count.add("testaments"),
                Told::Exhausted { account, retry_in, .. } => {
                    self.count.add("exhausted");
                    let (to, key) = (self.name(down.to.instance), short(account));
                    self.note(|| {
                        format!(
                            "{:.4} has nothing of {key} for {to}, {retry_in:?}",
                            down.from.to_string()
                        )
                    });
                }
                Told::Standby(standby) => {
                    self.count.add("standbys");
                    let (to, parts) = (self.name(down.to.instance), standby.weight * 100 / shared::quota::WHOLE);
                    self.note(|| {
                        format!(
                            "{:.4} assigns {parts} % of {} to {to}",
                            down.from.to_string(),
                            standby.shard
                        )
                    });
                }
                Told::Permits(level) => {
                    self.count.add("levels");
                    let (to, key) = (self.name(down.to.instance), short(&level.account));
                    self.note(|| {
                        let (number, level, is_all) = (level.number, level.level, level.is_all);
                        format!(
                            "{:.4} sets {key} of {to} to {level} by {number}, all: {is_all}",
                            down.from.to_string()
                        )
                    });
                }
                Told::Powerless => self.count.add("owners without their store"),
                Told::Beat { .. } | Told::Census { .. } | Told::Observed { .. } => {}
            }
        }
    }
}
