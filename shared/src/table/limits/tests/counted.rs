//! What is counted by a table's limits, and whether two tables count alike.

use std::time::Duration;

use super::{gone, id, limit, table};
use crate::change::{Kind, Revision};
use crate::quota::{Algorithm, OnUnreachable, Rule};
use crate::table::Table;
use crate::table::tests::put;

#[test]
fn what_is_enforced_is_counted_by_what_it_says() {
    let table = table(&[
        r#","period":10,"algorithm":"fixed","on_unreachable":"closed""#,
        r#","mode":"observe""#,
        "",
    ]);
    let edited = table.apply(&[limit(2, r#","period":7"#)], Revision(5)).table;
    let rules = edited.rules(Revision(9));
    assert_eq!(rules.revision, Revision(9));
    let fixed = Rule {
        limit: id(0).parse().unwrap(),
        revision: Revision(1),
        algorithm: Algorithm::Fixed,
        period: Duration::from_secs(10),
        threshold: 1,
        on_unreachable: OnUnreachable::Closed,
    };
    let default = Rule {
        limit: id(2).parse().unwrap(),
        revision: Revision(5),
        algorithm: Algorithm::Sliding,
        period: Duration::from_secs(7),
        threshold: 1,
        on_unreachable: OnUnreachable::Share,
    };
    assert_eq!(rules.rules.into_values().collect::<Vec<_>>(), [fixed, default]);
}

#[test]
fn only_a_change_of_limits_makes_other_limits() {
    let before = table(&[""]);
    let service = put(Kind::Service, "web", r#"{"match":[{"hosts":["a"]}]}"#);
    let routed = before.apply(&[service], Revision(2)).table;
    assert!(routed.has_limits_of(&before));
    for op in [limit(0, ""), limit(1, ""), gone(0)] {
        assert!(!routed.apply(&[op], Revision(3)).table.has_limits_of(&before));
    }
    let bare = Table::default();
    assert!(!bare.has_limits() && before.has_limits());
    assert!(bare.clone().has_limits_of(&bare), "without any limit");
}
