use std::time::Duration;

use uuid::Uuid;

use crate::change::Revision;
use crate::quota::OnUnreachable;

use super::*;

fn rule(algorithm: Algorithm, millis: u64) -> Rule {
    Rule {
        limit: Uuid::nil(),
        revision: Revision(1),
        algorithm,
        period: Duration::from_millis(millis),
        threshold: 10,
        on_unreachable: OnUnreachable::Closed,
    }
}

fn at(millis: u64) -> Label {
    Label::from_nanos(1_000_000_000_000 + millis * 1_000_000)
}

#[test]
fn a_charge_counts_until_a_period_after_the_end_of_its_bucket_and_a_little_longer() {
    let rule = rule(Algorithm::Sliding, 3_000);
    let mut window = Window::default();
    let bucket = rule.bucket_of(at(0));
    window.charge(bucket, 4);
    assert_eq!(window.charged(&rule, at(50)), 4);
    let free = window.frees_at(&rule, at(50), 1);
    assert_eq!(free, rule.end(bucket).after(rule.span()));
    assert_eq!(window.charged(&rule, free.before(Duration::from_nanos(1))), 4);
    assert_eq!(window.charged(&rule, free), 0);
    window.prune(&rule, free);
    assert!(window.is_empty());
}

#[test]
fn only_what_was_charged_is_taken_back() {
    let mut window = Window::default();
    window.charge(7, 4);
    assert_eq!(
        (window.discharge(7, 3), window.discharge(7, 3), window.discharge(8, 1)),
        (3, 1, 0)
    );
    assert!(window.is_empty());
}

#[test]
fn another_form_of_the_limit_begins_with_what_the_last_period_had() {
    let (from, to) = (rule(Algorithm::Sliding, 600), rule(Algorithm::Fixed, 3_000));
    let mut window = Window::default();
    window.charge(from.bucket_of(at(100)), 3);
    window.charge(from.bucket_of(at(1_000)), 4);
    window.convert(&from, &to, at(1_010));
    assert_eq!(window.charged(&to, at(1_010)), 4);
}

#[test]
fn what_may_be_spent_later_counts_from_then_on() {
    let rule = rule(Algorithm::Sliding, 3_000);
    let mut window = Window::default();
    let (first, later) = (rule.bucket_of(at(0)), rule.bucket_of(at(3_200)));
    window.charge(first, 4);
    let free = window.frees_at(&rule, at(0), 4);
    window.charge_ahead(free, later, 5);
    window.charge_ahead(free, later, 2);
    let moment = Duration::from_nanos(1);
    assert_eq!(
        (window.charged(&rule, free.before(moment)), window.charged(&rule, free)),
        (4, 7)
    );
    assert_eq!(window.peaks(&rule, &[at(0), free.after(moment)]), [7, 7]);
    assert_eq!((window.peak(&rule, at(0)), window.charged(&rule, at(0))), (7, 4));
    assert_eq!(window.charges(at(0)), [(first, 4)]);
    assert_eq!(window.charges(free), [(first, 4), (later, 7)]);
    window.prune(&rule, free);
    assert_eq!(window.charges(free), [(later, 7)]);
}

#[test]
fn what_was_charged_ahead_is_taken_back_before_and_after_it_may_be_spent() {
    let rule = rule(Algorithm::Sliding, 3_000);
    let mut window = Window::default();
    let bucket = rule.bucket_of(at(100));
    window.charge_ahead(at(100), bucket, 5);
    window.charge_ahead(at(110), bucket, 5);
    assert_eq!(
        (window.withdraw(at(100), bucket, 2), window.withdraw(at(110), bucket, 9)),
        (2, 5)
    );
    assert_eq!(window.charges(Label::MAX), [(bucket, 3)]);
    window.prune(&rule, at(120));
    assert_eq!((window.withdraw(at(100), bucket, 9), window.is_empty()), (3, true));
}
