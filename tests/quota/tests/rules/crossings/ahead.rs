//! What is granted before it may be spent.

use super::*;

const SOON: Duration = Duration::from_millis(200);

impl World {
    fn grant_ahead(&mut self, account: AccountId, id: u64, tokens: u64, not_before_in: Duration) -> Vec<Said> {
        self.tell(Told::Grant {
            id,
            account,
            epoch: 1,
            revision: Revision(1),
            tokens,
            bucket: (1, 1),
            not_before_in,
            expires_in: Duration::from_secs(2),
        })
    }

    fn wait_for(&mut self, duration: Duration) -> Vec<Said> {
        self.now = self.now + duration;
        self.hand(Input::Tick)
    }

    fn is_admitted(&self, account: AccountId, cost: u32) -> bool {
        let need = Need { key: account.key, cost };
        matches!(self.slots.decide(&[need], || self.now), Decision::Admitted { .. })
    }
}

fn returns(said: &[Said]) -> Vec<(u64, u64, Duration)> {
    let returns = said.iter().filter_map(|said| match said {
        Said::Return { used, unspent, age, .. } => Some((*used, *unspent, *age)),
        _ => None,
    });
    returns.collect()
}

#[test]
fn the_rules_of_grants_ahead_hold_until_their_moment() {
    let (mut world, account) = waiting();
    world.grant_ahead(account, 1, TOKENS, SOON);
    world.proxy.unqueue(account, 1, false);
    let Verdict::Refuse { retry } = world.proxy.block(account, 1, world.now) else {
        panic!("VULCAN_SIM_ORDER=a grant ahead, a request: not refused");
    };
    // Its owner's clock may be a little slower.
    assert!(retry > world.now + SOON && retry < world.now + SOON * 2);
    world.wait_for(SOON);
    assert!(
        world.slots.rest(account.key) == 0 && !world.is_admitted(account, 1),
        "VULCAN_SIM_ORDER=a grant ahead, its moment by the fastest clock, a request: admitted"
    );
    world.now = retry;
    assert_eq!(world.proxy.block(account, 1, world.now), Verdict::Again);
    assert!(world.is_admitted(account, 1));
}

#[test]
fn what_is_granted_ahead_and_not_asked_for_goes_back() {
    let (mut world, account) = waiting();
    world.proxy.unqueue(account, 1, false);
    for id in 1..=9 {
        world.grant_ahead(account, id, TOKENS, Duration::from_millis(100) * id as u32);
    }
    let said: Vec<Said> = (0..50)
        .flat_map(|_| world.wait_for(Duration::from_millis(20)))
        .collect();
    let unspent: u64 = returns(&said).iter().map(|(_, unspent, _)| unspent).sum();
    assert_eq!(unspent, 9 * TOKENS, "{said:?}");
}

#[test]
fn who_needs_more_at_once_than_was_granted_ahead_asks_anew() {
    let (mut world, account) = waiting();
    world.proxy.unqueue(account, 1, false);
    world.grant_ahead(account, 1, TOKENS, SOON);
    world.now = world.now + Duration::from_millis(100);
    assert_eq!(world.proxy.block(account, TOKENS as u32 + 1, world.now), Verdict::Wait);
    let outputs = world.proxy.take_outputs(world.now);
    let said = world.note(outputs);
    assert_eq!(returns(&said), [(0, TOKENS, Duration::ZERO)]);
    assert!(said.iter().any(|said| matches!(said, Said::Want(_))), "{said:?}");
}

#[test]
fn what_was_used_up_is_told_with_the_next_want_and_when_it_was() {
    let (mut world, account) = waiting();
    world.proxy.unqueue(account, 1, false);
    world.grant_ahead(account, 1, TOKENS, SOON);
    world.grant_ahead(account, 2, TOKENS, SOON * 2);
    world.wait_for(SOON + Duration::from_millis(1));
    assert_eq!(world.proxy.block(account, 1, world.now), Verdict::Again);
    assert!(world.is_admitted(account, TOKENS as u32));
    let used_at = world.now;
    world.proxy.prefetch(account, world.now);
    let said = world.wait_for(SOON);
    assert_eq!(returns(&said), [], "{said:?}");
    assert_eq!(world.proxy.block(account, 1, world.now), Verdict::Again);
    assert!(world.is_admitted(account, 1));
    world.proxy.prefetch(account, world.now);
    let outputs = world.proxy.take_outputs(world.now);
    let said = world.note(outputs);
    assert!(matches!(said[..], [Said::Return { .. }, Said::Want(_)]), "{said:?}");
    assert_eq!(returns(&said), [(TOKENS, 0, world.now.since(used_at))]);
}

#[test]
fn who_is_told_that_there_is_more_gives_back_what_was_granted_ahead_and_asks() {
    let (mut world, account) = waiting();
    world.proxy.unqueue(account, 1, false);
    world.grant_ahead(account, 1, TOKENS, SOON);
    let said = world.tell(Told::Exhausted {
        account,
        epoch: 1,
        retry_in: Duration::ZERO,
    });
    assert_eq!(returns(&said), [(0, TOKENS, Duration::ZERO)]);
    world.now = world.now + Duration::from_millis(100);
    assert_eq!(world.proxy.block(account, 1, world.now), Verdict::Wait);
}
