use uuid::Uuid;

use crate::change::Revision;
use crate::quota::OnUnreachable;

use super::*;

const CLAIM: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> Label {
    Label::from_nanos(seconds * 1_000_000_000)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Written when label time was 1,000 s, of which 5 may have been skipped.
fn predecessor() -> Claim {
    Claim {
        epoch: 1,
        owner: Uuid::nil(),
        from: at(995),
        to: at(1_010),
        recorded: None,
    }
}

fn claimed(now: u64) -> Held {
    let mut held = Held::default();
    held.claim = Some(Claim {
        to: at(now).after(CLAIM),
        ..predecessor()
    });
    held.skip = Skip::since(Some(&predecessor()), at(now), CLAIM);
    held
}

fn rule() -> Rule {
    Rule {
        limit: Uuid::nil(),
        revision: Revision(1),
        algorithm: Algorithm::Fixed,
        period: seconds(100),
        threshold: 1,
        on_unreachable: OnUnreachable::Closed,
    }
}

#[test]
fn all_that_nobody_knows_about_may_have_been_skipped() {
    let mut held = claimed(1_300);
    assert!(held.moment(at(1_300)).is_none());
    held.settle_skip();
    let moment = held.moment(at(1_301)).unwrap();
    assert_eq!(moment.counted(Algorithm::Sliding), at(1_301 - 305));
    assert_eq!(moment.counted(Algorithm::Fixed), at(1_301));
}

#[test]
fn of_proxies_the_one_that_knows_least_is_believed_and_nothing_is_taken_back() {
    let mut held = claimed(1_300);
    held.blind = at(1_310).after(held.skip.by());
    held.hear_skip(Some(at(1_298)), None, at(1_300));
    held.hear_skip(Some(at(1_296)), None, at(1_300));
    assert_eq!(held.skip.all(), seconds(305));
    held.settle_skip();
    assert_eq!((held.skip.all(), held.blind), (seconds(9), at(1_314)));
    held.hear_skip(Some(at(1_299)), None, at(1_300));
    assert_eq!(held.skip.all(), seconds(9));
    held.hear_skip(Some(at(1_290)), None, at(1_300));
    assert_eq!((held.skip.all(), held.blind), (seconds(15), at(1_320)));
}

#[test]
fn a_fixed_window_opens_later_by_what_was_skipped() {
    let mut held = claimed(1_030);
    held.hear_skip(Some(at(1_020)), None, at(1_030));
    held.settle_skip();
    // Within one window: the next one opens ten seconds late, and no other.
    assert_eq!(held.closed_until(&rule(), at(1_099)), None);
    assert_eq!(held.closed_until(&rule(), at(1_105)), Some(at(1_110)));
    assert_eq!(held.closed_until(&rule(), at(1_110)), None);
    assert_eq!(held.closed_until(&rule(), at(1_205)), None);
}

#[test]
fn a_jump_into_another_window_makes_the_one_after_it_late_too() {
    let mut held = claimed(1_130);
    held.hear_skip(Some(at(1_080)), None, at(1_130));
    held.settle_skip();
    assert_eq!(held.closed_until(&rule(), at(1_130)), Some(at(1_150)));
    assert_eq!(held.closed_until(&rule(), at(1_150)), None);
    let late = at(1_130).after(rule().span());
    assert_eq!(held.closed_until(&rule(), at(1_210)), Some(late));
    assert_eq!(held.closed_until(&rule(), at(1_300)), None);
}

#[test]
fn jumps_that_nobody_saw_make_the_next_window_late_by_all_of_them_if_they_were_in_this_one() {
    let told = |age: u64| {
        let mut held = claimed(1_030);
        let oldest = Oldest {
            label: at(1_010),
            age: seconds(age),
        };
        held.hear_skip(Some(at(1_020)), Some(oldest), at(1_030));
        held.settle_skip();
        held
    };
    // Ten seconds since the predecessor, five before it.
    let held = told(10);
    assert_eq!(held.closed_until(&rule(), at(1_099)), None);
    assert_eq!(held.closed_until(&rule(), at(1_100)), Some(at(1_115)));
    assert_eq!(held.closed_until(&rule(), at(1_115)), None);
    assert_eq!(held.closed_until(&rule(), at(1_200)), None);
    // The first of them may have been in the window before.
    let held = told(20);
    let until = at(1_030).after(rule().span());
    assert_eq!(held.closed_until(&rule(), at(1_031)), Some(until));
    assert_eq!(held.closed_until(&rule(), until), None);
}
