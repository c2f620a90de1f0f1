//! What a second life of a proxy tells of its first, and who is served soon after a proxy and then an owner ended within one
//! period.

use std::sync::Arc;
use std::time::Duration;

use quota_sim::{after_two_ends, all_after_two_ends};
use shared::change::Revision;
use shared::quota::proxy::{Input, Output};
use shared::quota::slots::{Decision, Need};
use shared::quota::{
    AccountId, Algorithm, Down, Inherited, Label, OnUnreachable, Proxy, ProxyId, Rule, Rules, Said, Settings, Shard,
    Slots, Testament, Told,
};
use shared::time::Time;
use uuid::Uuid;

const PERIOD: Duration = Duration::from_secs(60);
const FIRST: Uuid = Uuid::from_u128(7);
const NEXT: Uuid = Uuid::from_u128(70);
const PROXY: ProxyId = ProxyId {
    instance: Uuid::from_u128(8),
    boot: 2,
};

fn rule() -> Rule {
    Rule {
        limit: Uuid::from_u128(9),
        revision: Revision(1),
        algorithm: Algorithm::Sliding,
        period: PERIOD,
        threshold: 8,
        on_unreachable: OnUnreachable::Closed,
    }
}

fn account(shard: Shard) -> AccountId {
    let mut accounts = (0..10_000_u32).map(|key| AccountId::of(rule().limit, &key.to_le_bytes()));
    accounts.find(|account| account.shard() == shard).unwrap()
}

/// The second life of a proxy that remembers one account, whose slots take more.
struct Heir {
    proxy: Proxy,
    slots: Arc<Slots>,
    now: Time,
    label: Label,
    told: u64,
    heard: u64,
}

impl Heir {
    /// The store has these epochs when it is welcomed.
    fn new(epochs: &[(Shard, u64)]) -> Heir {
        let mut heir = Heir::unwelcomed();
        heir.hand(Input::Welcome(epochs.to_vec()));
        heir
    }

    fn unwelcomed() -> Heir {
        let slots = Arc::new(Slots::new(8));
        let settings = Settings {
            accounts_max: 1,
            ..Settings::default()
        };
        let now = Time::from_nanos(1_000_000_000);
        let mut heir = Heir {
            proxy: Proxy::new(PROXY, settings, slots.clone(), false, now),
            slots,
            now,
            label: Label::from_nanos(1_700_000_000_000_000_000),
            told: 0,
            heard: 0,
        };
        let rules = Rules {
            revision: Revision(1),
            rules: [(rule().limit, rule())].into(),
            ..Rules::default()
        };
        heir.hand(Input::Rules(rules));
        heir
    }

    fn hand(&mut self, input: Input) -> Vec<Said> {
        let outputs = self.proxy.handle(input, self.now);
        let mut said = Vec::new();
        for output in outputs {
            if let Output::Send(up) = output {
                self.heard = up.number;
                said.extend(up.items);
            }
        }
        said
    }

    fn tell(&mut self, from: Uuid, told: Told) -> Vec<Said> {
        self.told += 1;
        self.hand(Input::Message(Down {
            from,
            to: PROXY,
            number: self.told,
            heard: self.heard,
            heard_at: self.label,
            now: self.label,
            items: vec![told],
        }))
    }

    fn beat(&mut self, from: Uuid, shard: Shard, epoch: u64) -> Vec<Shard> {
        let shards = vec![(shard, epoch)];
        self.tell(from, Told::Beat { shards });
        let said = self.hand(Input::Tick);
        let asked = said.into_iter().filter_map(|said| match said {
            Said::Beat { heir, .. } => Some(heir),
            _ => None,
        });
        asked.flatten().collect()
    }

    fn told(&mut self, from: Uuid, shard: Shard, epoch: u64) {
        let at = self.label;
        self.tell(
            from,
            Told::Testament(Testament {
                shard,
                epoch,
                at,
                since: Label::ZERO,
                revision: Revision::ZERO,
                estates: Vec::new(),
            }),
        );
    }

    /// What it tells the owner of a newer epoch.
    fn counts(&mut self, shard: Shard, epoch: u64) -> Option<Inherited> {
        let said = self.tell(NEXT, Told::Census { shard, epoch });
        let mut told = said.into_iter().filter_map(|said| match said {
            Said::Census { inherited, .. } => Some(inherited),
            _ => None,
        });
        told.next().unwrap()
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.label = self.label.after(time);
    }
}

#[test]
fn a_second_life_asks_until_it_is_told_and_tells_how_long_ago_that_was() {
    let mut heir = Heir::new(&[(3, 1)]);
    assert_eq!(heir.beat(FIRST, 3, 1), [3]);
    heir.pass(Duration::from_secs(1));
    heir.told(FIRST, 3, 1);
    heir.pass(Duration::from_secs(2));
    assert!(heir.beat(FIRST, 3, 1).is_empty());
    let told = heir.counts(3, 2).unwrap();
    assert_eq!(told.age, (Duration::from_secs(2), Duration::from_secs(3)));
    assert_eq!(heir.beat(NEXT, 3, 2), [3]);
    heir.pass(2 * PERIOD + Duration::from_secs(1));
    assert!(heir.beat(NEXT, 3, 2).is_empty());
    assert_eq!(heir.counts(3, 3), None);
}

/// Another one had the shard already, and may have granted what the first life spent.
#[test]
fn the_rules_of_heirs_hold_when_an_owner_speaks_whose_claim_was_over() {
    let mut heir = Heir::unwelcomed();
    heir.beat(FIRST, 3, 1);
    heir.told(FIRST, 3, 1);
    heir.hand(Input::Welcome(vec![(3, 2)]));
    let told = heir.counts(3, 3);
    assert!(
        told.is_none(),
        "VULCAN_SIM_ORDER=a second life, told by an owner that had been followed: told {told:?}"
    );
}

#[test]
fn the_rules_of_heirs_hold_over_a_sleep() {
    let mut heir = Heir::new(&[(3, 1)]);
    heir.beat(FIRST, 3, 1);
    heir.told(FIRST, 3, 1);
    heir.hand(Input::Slept);
    let told = heir.counts(3, 2);
    assert!(
        told.is_none(),
        "VULCAN_SIM_ORDER=a testament, a sleep, a census: told {told:?}"
    );
}

/// What it spent itself it does not know any more: it had to forget an account.
#[test]
fn the_rules_of_heirs_hold_for_a_life_that_forgot() {
    let mut heir = Heir::new(&[(3, 1)]);
    heir.beat(FIRST, 3, 1);
    heir.told(FIRST, 3, 1);
    let of = account(3);
    heir.proxy.block(of, 1, heir.now);
    heir.hand(Input::Tick);
    heir.tell(
        FIRST,
        Told::Grant {
            id: 1,
            account: of,
            epoch: 1,
            revision: Revision(1),
            tokens: 1,
            bucket: (1, 500_000_000),
            not_before_in: Duration::ZERO,
            expires_in: Duration::from_secs(1),
        },
    );
    let now = heir.now;
    let need = Need { key: of.key, cost: 1 };
    assert!(matches!(heir.slots.decide(&[need], || now), Decision::Admitted { .. }));
    heir.proxy.unqueue(of, 1, true);
    heir.pass(Duration::from_secs(1));
    heir.hand(Input::Tick);
    heir.proxy.block(account(4), 1, heir.now);
    let told = heir.counts(3, 2);
    assert!(
        told.is_none(),
        "VULCAN_SIM_ORDER=a testament, an account forgotten, a census: told {told:?}"
    );
}

#[test]
fn grants_flow_soon_after_the_end_of_a_proxy_and_then_of_an_owner() {
    for goodbye in [false, true] {
        // What was in hand at the first end counts as spent, and what of that was spent counts twice.
        for (threshold, load, least) in [(1_000_000_000, 0.000_000_1, 0.99), (600, 1.0, 0.7)] {
            let admitted = after_two_ends(7, threshold, PERIOD, load, goodbye);
            assert!(
                admitted >= least,
                "{admitted:.3} of {threshold} at {load}, goodbye {goodbye}"
            );
        }
    }
}

/// What it spent is in the store, and what it used of its standby is not.
#[test]
fn a_long_period_is_whole_after_both_ends_unless_standby_was_used() {
    let (threshold, period) = (600, Duration::from_secs(200));
    let admitted = all_after_two_ends(7, threshold, period, false);
    assert!(admitted > threshold * 9 / 10, "{admitted} of {threshold}");
    // The control.
    let admitted = all_after_two_ends(7, threshold, period, true);
    assert!(admitted <= threshold / 2, "{admitted} of {threshold}");
}
