//! What is said may be overtaken by what is said later: orders that chance brings about too rarely.

mod ahead;
mod marks;

use std::sync::Arc;
use std::time::Duration;

use shared::change::Revision;
use shared::quota::proxy::{Input, Output, Verdict};
use shared::quota::slots::{Decision, Need};
use shared::quota::{
    AccountId, Algorithm, Down, Label, OnUnreachable, Proxy, ProxyId, Rule, Rules, Said, Settings, Slots, Standby,
    Told, WHOLE,
};
use shared::time::Time;
use uuid::Uuid;

const OWNER: Uuid = Uuid::from_u128(7);
const PROXY: ProxyId = ProxyId {
    instance: Uuid::from_u128(8),
    boot: 1,
};
const TOKENS: u64 = 8;

fn rule() -> Rule {
    Rule {
        limit: Uuid::from_u128(9),
        revision: Revision(1),
        algorithm: Algorithm::Sliding,
        period: Duration::from_secs(10),
        threshold: TOKENS,
        on_unreachable: OnUnreachable::Closed,
    }
}

struct World {
    id: ProxyId,
    proxy: Proxy,
    slots: Arc<Slots>,
    now: Time,
    told: u64,
    /// The newest message of the proxy.
    heard: u64,
    /// Of the owner.
    label: Label,
    /// How long the owner has had what it answers.
    kept: Duration,
}

impl World {
    fn new(account: AccountId, rule: Rule) -> World {
        World::with(Settings::default(), account, rule)
    }

    fn with(settings: Settings, account: AccountId, rule: Rule) -> World {
        World::of((PROXY, false), settings, account, rule)
    }

    /// With a life that found a mark or none.
    fn of((id, is_marked): (ProxyId, bool), settings: Settings, account: AccountId, rule: Rule) -> World {
        let slots = Arc::new(Slots::new(8));
        let now = Time::from_nanos(1_000_000_000);
        let mut world = World {
            id,
            proxy: Proxy::new(id, settings, slots.clone(), is_marked, now),
            slots,
            now,
            told: 0,
            heard: 0,
            label: Label::from_nanos(1_700_000_000_000_000_000),
            kept: Duration::ZERO,
        };
        let rules = Rules {
            observed: Default::default(),
            concurrent: Default::default(),
            revision: Revision(1),
            rules: [(rule.limit, rule)].into(),
        };
        world.hand(Input::Rules(rules));
        world.hand(Input::Welcome(vec![(account.shard(), 1)]));
        world.tell(Told::Beat {
            shards: vec![(account.shard(), 1)],
        });
        world.hand(Input::Tick);
        world
    }

    fn note(&mut self, outputs: Vec<Output>) -> Vec<Said> {
        let sent = outputs.into_iter().filter_map(|output| match output {
            Output::Send(up) => Some(up),
            Output::Wake(_) | Output::Mark(_) | Output::Observed { .. } => None,
        });
        let mut said = Vec::new();
        for up in sent {
            self.heard = up.number;
            said.extend(up.items);
        }
        said
    }

    fn hand(&mut self, input: Input) -> Vec<Said> {
        let outputs = self.proxy.handle(input, self.now);
        self.note(outputs)
    }

    fn tell(&mut self, told: Told) -> Vec<Said> {
        self.tell_from(OWNER, told)
    }

    fn tell_from(&mut self, from: Uuid, told: Told) -> Vec<Said> {
        self.tell_all(from, vec![told])
    }

    fn tell_all(&mut self, from: Uuid, items: Vec<Told>) -> Vec<Said> {
        self.told += 1;
        let label = self.label;
        self.hand(Input::Message(Down {
            from,
            to: self.id,
            number: self.told,
            heard: self.heard,
            heard_at: label.before(self.kept),
            now: label,
            items,
        }))
    }

    fn grant(&mut self, account: AccountId) -> Vec<Said> {
        self.grant_by(account, 1, Revision(1))
    }

    fn grant_by(&mut self, account: AccountId, id: u64, revision: Revision) -> Vec<Said> {
        self.tell(Told::Grant {
            id,
            account,
            epoch: 1,
            revision,
            tokens: TOKENS,
            bucket: (1, 1),
            not_before_in: Duration::ZERO,
            expires_in: Duration::from_secs(1),
        })
    }
}

fn waiting() -> (World, AccountId) {
    let account = AccountId::of(rule().limit, b"token");
    let mut world = World::new(account, rule());
    assert_eq!(world.proxy.block(account, 1, world.now), Verdict::Wait);
    let outputs = world.proxy.take_outputs(world.now);
    assert!(world.note(outputs).iter().any(|said| matches!(said, Said::Want(_))));
    (world, account)
}

#[test]
fn the_rules_of_recalls_hold_when_they_overtake_the_grant() {
    let (mut world, account) = waiting();
    let returned = world.tell(Told::Recall { id: 1, tokens: TOKENS });
    let all = |said: &Said| {
        matches!(
            said,
            Said::Return {
                id: 1,
                used: 0,
                unspent: TOKENS,
                ..
            }
        )
    };
    assert!(returned.iter().any(all), "{returned:?}");
    world.grant(account);
    let rest = world.slots.rest(account.key);
    assert!(
        rest == 0,
        "VULCAN_SIM_ORDER=a recall before its grant: {rest} can be spent"
    );
}

#[test]
fn the_rules_of_numbers_hold_when_an_owner_is_back() {
    let (mut world, account) = waiting();
    let before = world.heard;
    let shard = account.shard();
    let beat = |epoch| Told::Beat {
        shards: vec![(shard, epoch)],
    };
    world.tell_from(Uuid::from_u128(70), beat(2));
    world.now = world.now + Settings::default().promise * 5;
    world.hand(Input::Tick);
    world.heard = 0;
    world.tell(beat(3));
    world.hand(Input::Tick);
    let after = world.heard;
    assert!(after > before, "VULCAN_SIM_ORDER=message {after} after {before}");
}

#[test]
fn the_rules_of_label_time_hold_for_an_owner_that_is_behind() {
    let (mut world, account) = waiting();
    world.label = world.label.before(Duration::from_millis(100));
    let said = world.grant(account);
    let rest = world.slots.rest(account.key);
    assert!(
        rest == 0 && said.iter().any(|said| matches!(said, Said::Behind { .. })),
        "VULCAN_SIM_ORDER=a grant of 100 ms ago by label time: {rest} can be spent"
    );
}

/// Another owner's label time is ahead of one that answers by so much; it reads what it is asked at once, and answers in so long.
fn granted_by_one_behind(ahead: u64, answers_in: u64) -> u32 {
    let [ahead, answers_in] = [ahead, answers_in].map(Duration::from_millis);
    let (mut world, account) = waiting();
    let asked = world.heard;
    (world.now, world.label) = (world.now + answers_in, world.label.after(answers_in));
    let label = world.label;
    world.label = label.after(ahead);
    world.tell_from(Uuid::from_u128(70), Told::Powerless);
    (world.heard, world.label, world.kept) = (asked, label, answers_in);
    world.grant(account);
    world.slots.rest(account.key)
}

#[test]
fn the_rules_of_label_time_hold_for_an_owner_that_answers_late() {
    assert_eq!(u64::from(granted_by_one_behind(15, 100)), TOKENS);
    let rest = granted_by_one_behind(25, 100);
    assert!(
        rest == 0,
        "VULCAN_SIM_ORDER=asked, 100 ms, a grant of 25 ms ago by label time: {rest} can be spent"
    );
}

/// What it read came to it after a while, and so did its answer.
#[test]
fn an_owner_is_not_behind_by_what_the_way_took() {
    let (mut world, account) = waiting();
    let (asked, label) = (world.heard, world.label);
    world.now = world.now + Duration::from_millis(200);
    world.label = label.after(Duration::from_millis(200));
    world.tell_from(Uuid::from_u128(70), Told::Powerless);
    (world.heard, world.label) = (asked, label.after(Duration::from_millis(100)));
    let said = world.grant(account);
    assert_eq!(u64::from(world.slots.rest(account.key)), TOKENS, "{said:?}");
}

#[test]
fn the_rules_of_sleep_hold_for_answers_to_what_was_said_before() {
    let (mut world, account) = waiting();
    let asked = world.heard;
    world.hand(Input::Slept);
    world.heard = asked;
    world.grant(account);
    let rest = world.slots.rest(account.key);
    assert!(
        rest == 0,
        "VULCAN_SIM_ORDER=a want, a sleep, its grant: {rest} can be spent"
    );
}

#[test]
fn the_rules_of_standbys_hold_when_the_owner_is_heard_again() {
    let (mut world, account, rule) = with_a_standby();
    let shard = account.shard();
    world.now = world.now + rule.period * 2;
    let now = world.now;
    assert_eq!(world.proxy.block(account, 1, now), Verdict::Again);
    let need = Need {
        key: account.key,
        cost: 1,
    };
    assert!(matches!(world.slots.decide(&[need], || now), Decision::Admitted { .. }));
    world.tell(Told::Beat {
        shards: vec![(shard, 1)],
    });
    let said = world.hand(Input::Tick);
    let promises = said.iter().find_map(|said| match said {
        Said::Beat { promised, idle, .. } => Some((*promised, *idle)),
        _ => None,
    });
    let (rest, told) = (world.slots.rest(account.key), (true, Some(Duration::ZERO)));
    assert!(
        promises == Some(told) && rest == 0,
        "VULCAN_SIM_ORDER=standby spent, the owner heard, a beat: told {promises:?}, {rest} can be spent"
    );
}

/// An account with a standby, and a proxy that has all of it.
fn with_a_standby() -> (World, AccountId, Rule) {
    with_a_standby_and(Settings::default())
}

fn with_a_standby_and(settings: Settings) -> (World, AccountId, Rule) {
    with_a_standby_of((PROXY, false), settings)
}

fn with_a_standby_of(life: (ProxyId, bool), settings: Settings) -> (World, AccountId, Rule) {
    let account = AccountId::of(rule().limit, b"token");
    let rule = Rule {
        threshold: 10 * TOKENS,
        on_unreachable: OnUnreachable::Share,
        ..rule()
    };
    let mut world = World::of(life, settings, account, rule);
    world.tell(Told::Standby(Standby {
        shard: account.shard(),
        epoch: 1,
        number: 1,
        weight: WHOLE,
    }));
    (world, account, rule)
}

#[test]
fn the_rules_of_standbys_hold_until_a_period_is_over() {
    let (mut world, account, rule) = with_a_standby();
    let lost = world.now;
    let promised = Settings::default().promise;
    for waited in [promised, rule.period, rule.period + rule.validity()] {
        world.now = lost + waited;
        let verdict = world.proxy.block(account, 1, world.now);
        assert!(
            verdict != Verdict::Again,
            "VULCAN_SIM_ORDER=the owner lost, standby spent {waited:?} later: {verdict:?}"
        );
    }
    world.now = lost + promised + (rule.period + rule.validity()) * 2;
    assert_eq!(world.proxy.block(account, 1, world.now), Verdict::Again);
}

/// Its owner says so every second, for long. Whether it may use its standby then, and whether it has promised not to.
fn told_for_long(items: &[Told]) -> (Verdict, bool) {
    let (mut world, account, rule) = with_a_standby();
    world.hand(Input::Tick);
    let second = Duration::from_secs(1);
    let seconds = ((rule.period + rule.validity()) * 2).as_secs() + 3;
    let mut has_promised = false;
    for _ in 0..seconds {
        world.now = world.now + second;
        world.label = world.label.after(second);
        let mut said = world.tell_all(OWNER, items.to_vec());
        said.extend(world.hand(Input::Tick));
        for said in said {
            if let Said::Beat { promised, .. } = said {
                has_promised = promised;
            }
        }
    }
    (world.proxy.block(account, 1, world.now), has_promised)
}

#[test]
fn an_owner_without_its_store_keeps_nobody_from_a_standby() {
    let shard = AccountId::of(rule().limit, b"token").shard();
    let beat = Told::Beat {
        shards: vec![(shard, 1)],
    };
    assert_eq!(told_for_long(&[beat.clone(), Told::Powerless]), (Verdict::Again, false));
    // The control: one that can grant is asked.
    assert_eq!(told_for_long(&[beat]), (Verdict::Wait, true));
}

#[test]
fn the_rules_of_standbys_hold_when_accounts_make_room_for_each_other() {
    let settings = Settings {
        accounts_max: 1,
        ..Settings::default()
    };
    let (mut world, account, rule) = with_a_standby_and(settings);
    world.now = world.now + rule.period * 2;
    let other = (0_u64..)
        .map(|token| AccountId::of(rule.limit, &token.to_le_bytes()))
        .find(|other| other.shard() == account.shard());
    let all = rule.threshold as u32;
    assert_eq!(world.proxy.block(account, all, world.now), Verdict::Again);
    let now = world.now;
    let need = Need {
        key: account.key,
        cost: all,
    };
    assert!(matches!(world.slots.decide(&[need], || now), Decision::Admitted { .. }));
    world.proxy.prefetch(account, now);
    world.proxy.block(other.unwrap(), 1, now);
    let verdict = world.proxy.block(account, 1, now);
    assert!(
        verdict != Verdict::Again,
        "VULCAN_SIM_ORDER=a standby spent, another account asked for, the first again: {verdict:?}"
    );
}

/// Its owner is heard after so long, for a moment; then it is alone for longer than a period.
fn alone_after(silence: Duration) -> Verdict {
    let settings = Settings {
        forget_after: Duration::from_secs(40),
        ..Settings::default()
    };
    let (mut world, account, rule) = with_a_standby_and(settings);
    world.hand(Input::Tick);
    world.tell(Told::Beat { shards: Vec::new() });
    world.now = world.now + silence;
    world.hand(Input::Tick);
    world.tell(Told::Beat { shards: Vec::new() });
    world.now = world.now + settings.promise * 2 + (rule.period + rule.validity()) * 2;
    world.proxy.block(account, 1, world.now)
}

#[test]
fn the_rules_of_standbys_hold_for_one_that_was_given_to_others() {
    assert_eq!(alone_after(Duration::from_secs(30)), Verdict::Again);
    let verdict = alone_after(Duration::from_secs(41));
    assert!(
        verdict != Verdict::Again,
        "VULCAN_SIM_ORDER=silence until it is forgotten, an answer, silence: {verdict:?}"
    );
}

#[test]
fn who_was_let_in_again_is_not_kept_out_by_what_was_said_before() {
    let (mut world, account) = waiting();
    let exhausted = |seconds| Told::Exhausted {
        account,
        epoch: 1,
        retry_in: Duration::from_secs(seconds),
    };
    let before = world.told;
    world.told = before + 1;
    world.tell(exhausted(0));
    world.told = before;
    world.tell(exhausted(10));
    assert_eq!(world.proxy.block(account, 1, world.now), Verdict::Wait);
    // The control: said later, it holds.
    world.told = before + 2;
    world.tell(exhausted(10));
    let refused = world.proxy.block(account, 1, world.now);
    assert!(matches!(refused, Verdict::Refuse { .. }), "{refused:?}");
}

#[test]
fn a_newer_owner_is_asked_whatever_the_one_before_said() {
    let (mut world, account) = waiting();
    world.tell(Told::Exhausted {
        account,
        epoch: 1,
        retry_in: Duration::from_secs(9),
    });
    let refused = world.proxy.block(account, 1, world.now);
    assert!(matches!(refused, Verdict::Refuse { .. }), "{refused:?}");
    let shards = vec![(account.shard(), 2)];
    world.tell_from(Uuid::from_u128(10), Told::Beat { shards });
    assert_eq!(world.proxy.block(account, 1, world.now), Verdict::Wait);
    let said = world.hand(Input::Tick);
    assert!(said.iter().any(|said| matches!(said, Said::Want(_))), "{said:?}");
}

#[test]
fn the_rules_of_edits_hold_for_what_is_granted_by_the_form_before() {
    let (mut world, account) = waiting();
    world.grant(account);
    let edited = Rule {
        revision: Revision(2),
        ..rule()
    };
    world.hand(Input::Rules(Rules {
        observed: Default::default(),
        concurrent: Default::default(),
        revision: Revision(2),
        rules: [(edited.limit, edited)].into(),
    }));
    let held = world.slots.rest(account.key);
    assert!(held == 0, "VULCAN_SIM_ORDER=a grant, an edit: {held} can be spent");
    world.grant_by(account, 2, Revision(1));
    let late = world.slots.rest(account.key);
    assert!(
        late == 0,
        "VULCAN_SIM_ORDER=an edit, a grant by what was before: {late} can be spent"
    );
    world.grant_by(account, 3, Revision(2));
    assert_eq!(u64::from(world.slots.rest(account.key)), TOKENS);
}

/// The control: in order, the grant is there to be spent.
#[test]
fn a_grant_can_be_spent_once_however_often_it_comes() {
    let (mut world, account) = waiting();
    world.grant(account);
    assert_eq!(u64::from(world.slots.rest(account.key)), TOKENS);
    let returned = world.tell(Told::Recall { id: 1, tokens: TOKENS });
    assert!(returned.iter().any(|said| matches!(said, Said::Return { id: 1, .. })));
    world.grant(account);
    assert_eq!(world.slots.rest(account.key), 0);
}
