//! What the cells of every engine must do.

use std::sync::Arc;

use futures_util::future::join_all;
use shared::change::Revision;
use shared::quota::{AccountId, CellKey, CellValue, Claim, Label, Outcome, Row};
use uuid::Uuid;

use super::{Case, Medium};
use crate::store::Cells;

/// Every case with its name; each needs a medium of its own.
pub const CELL_CASES: [(&str, Case); 8] = [
    ("nothing_is_there_at_first", |medium| {
        Box::pin(nothing_is_there_at_first(medium))
    }),
    ("the_first_swap_expects_nothing", |medium| {
        Box::pin(the_first_swap_expects_nothing(medium))
    }),
    ("a_swap_needs_what_is_there", |medium| {
        Box::pin(a_swap_needs_what_is_there(medium))
    }),
    ("a_prolonged_claim_is_not_put_back", |medium| {
        Box::pin(a_prolonged_claim_is_not_put_back(medium))
    }),
    ("one_of_many_swaps_wins", |medium| {
        Box::pin(one_of_many_swaps_wins(medium))
    }),
    ("cells_do_not_touch_each_other", |medium| {
        Box::pin(cells_do_not_touch_each_other(medium))
    }),
    ("a_value_of_another_kind_is_not_written", |medium| {
        Box::pin(a_value_of_another_kind_is_not_written(medium))
    }),
    ("cells_outlive_a_reopening", |medium| {
        Box::pin(cells_outlive_a_reopening(medium))
    }),
];

async fn cells(medium: &dyn Medium) -> Arc<dyn Cells> {
    let cells = medium.open().await.cells();
    cells.unwrap_or_else(|| panic!("the engine has no cells"))
}

fn claim(epoch: u64, to: u64) -> CellValue {
    CellValue::Claim(Claim {
        epoch,
        owner: Uuid::from_u128(7),
        from: Label::from_nanos(1_764_000_000_123_456_789),
        to: Label::from_nanos(to),
        // The first was written before there was such a column.
        recorded: (epoch > 1).then_some(Revision(epoch)),
    })
}

fn row(version: u64, buckets: &[(u64, u64)]) -> CellValue {
    CellValue::Row(Row {
        version,
        op: Uuid::from_u128(u128::from(version)),
        bucket: 2_000_000_000,
        span: 62_000_000_000,
        buckets: buckets.iter().copied().collect(),
    })
}

fn account(key: &str) -> CellKey {
    CellKey::Row(AccountId::of(Uuid::from_u128(5), key.as_bytes()))
}

/// A cell of each kind, with three values that follow one another.
fn each() -> [(CellKey, [CellValue; 3]); 2] {
    let many: Vec<(u64, u64)> = (0..60).map(|n| (880_000_000 + n, 1 << n)).collect();
    [
        (
            CellKey::Claim(63),
            [claim(1, 100), claim(u64::MAX, 200), claim(3, u64::MAX)],
        ),
        (account("alice"), [row(1, &[]), row(2, &many), row(3, &[(0, u64::MAX)])]),
    ]
}

async fn nothing_is_there_at_first(medium: &dyn Medium) {
    let cells = cells(medium).await;
    for (key, [first, ..]) in each() {
        assert_eq!(cells.get(key.clone()).await, Outcome::Is(None));
        let wrong = cells.swap(key.clone(), Some(first.clone()), first).await;
        assert_eq!(wrong, Outcome::Differs(None));
        assert_eq!(cells.get(key).await, Outcome::Is(None));
    }
}

async fn the_first_swap_expects_nothing(medium: &dyn Medium) {
    let cells = cells(medium).await;
    for (key, [first, second, _]) in each() {
        assert_eq!(cells.swap(key.clone(), None, first.clone()).await, Outcome::Swapped);
        assert_eq!(cells.get(key.clone()).await, Outcome::Is(Some(first.clone())));
        let late = cells.swap(key.clone(), None, second).await;
        assert_eq!(late, Outcome::Differs(Some(first.clone())));
        assert_eq!(cells.get(key).await, Outcome::Is(Some(first)));
    }
}

async fn a_swap_needs_what_is_there(medium: &dyn Medium) {
    let cells = cells(medium).await;
    for (key, [first, second, third]) in each() {
        let swap =
            |expected: Option<&CellValue>, new: &CellValue| cells.swap(key.clone(), expected.cloned(), new.clone());
        assert_eq!(swap(None, &first).await, Outcome::Swapped);
        assert_eq!(swap(Some(&first), &second).await, Outcome::Swapped);
        let again = swap(Some(&first), &second).await;
        assert_eq!(
            again,
            Outcome::Differs(Some(second.clone())),
            "a repetition is not done twice"
        );
        assert_eq!(swap(Some(&third), &first).await, Outcome::Differs(Some(second.clone())));
        assert_eq!(swap(Some(&second), &third).await, Outcome::Swapped);
        assert_eq!(cells.get(key.clone()).await, Outcome::Is(Some(third)));
    }
}

async fn a_prolonged_claim_is_not_put_back(medium: &dyn Medium) {
    let cells = cells(medium).await;
    let key = CellKey::Claim(0);
    let [first, longer, longest] = [10, 20, 30].map(|to| claim(4, to));
    assert_eq!(cells.swap(key.clone(), None, first.clone()).await, Outcome::Swapped);
    let prolonged = cells.swap(key.clone(), Some(first.clone()), longest.clone()).await;
    assert_eq!(prolonged, Outcome::Swapped);
    let late = cells.swap(key.clone(), Some(first), longer).await;
    assert_eq!(late, Outcome::Differs(Some(longest)), "the epoch is the same");
}

async fn one_of_many_swaps_wins(medium: &dyn Medium) {
    let cells = cells(medium).await;
    for (key, _) in each() {
        let mut there = None;
        for round in 0..6 {
            let new = |n: u64| match key {
                CellKey::Claim(_) => claim(round + 1, 1_000 + n),
                CellKey::Row(_) => row(round * 100 + n + 1, &[(n, n)]),
            };
            let attempts = (0..8).map(|n| cells.swap(key.clone(), there.clone(), new(n)));
            let outcomes: Vec<Outcome> = join_all(attempts).await;
            let winners: Vec<u64> = (0..8)
                .zip(&outcomes)
                .filter(|(_, outcome)| **outcome == Outcome::Swapped)
                .map(|(n, _)| n)
                .collect();
            assert_eq!(winners.len(), 1, "{outcomes:?}");
            there = Some(new(winners[0]));
            let others = outcomes.iter().filter(|outcome| **outcome != Outcome::Swapped);
            for outcome in others {
                assert_eq!(*outcome, Outcome::Differs(there.clone()));
            }
        }
        assert_eq!(cells.get(key.clone()).await, Outcome::Is(there));
    }
}

async fn cells_do_not_touch_each_other(medium: &dyn Medium) {
    let cells = cells(medium).await;
    let keys = [
        CellKey::Claim(0),
        CellKey::Claim(1),
        account("alice"),
        account("bob"),
        CellKey::Row(AccountId::of(Uuid::from_u128(6), b"alice")),
    ];
    let value = |n: usize| match keys[n] {
        CellKey::Claim(_) => claim(n as u64 + 1, 9),
        CellKey::Row(_) => row(n as u64 + 1, &[(n as u64, 1)]),
    };
    let swaps = keys
        .iter()
        .enumerate()
        .map(|(n, key)| cells.swap(key.clone(), None, value(n)));
    assert_eq!(join_all(swaps).await, vec![Outcome::Swapped; keys.len()]);
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(cells.get(key.clone()).await, Outcome::Is(Some(value(n))));
    }
}

async fn a_value_of_another_kind_is_not_written(medium: &dyn Medium) {
    let cells = cells(medium).await;
    let [(shard, [a_claim, ..]), (account, [a_row, ..])] = each();
    for (key, own, foreign) in [(shard, a_claim.clone(), a_row.clone()), (account, a_row, a_claim)] {
        assert_eq!(
            cells.swap(key.clone(), None, foreign.clone()).await,
            Outcome::Unavailable
        );
        assert_eq!(cells.get(key.clone()).await, Outcome::Is(None));
        assert_eq!(cells.swap(key.clone(), None, own.clone()).await, Outcome::Swapped);
        let swapped = cells.swap(key.clone(), Some(foreign), own).await;
        assert_ne!(swapped, Outcome::Swapped, "what was expected is of another kind");
    }
}

async fn cells_outlive_a_reopening(medium: &dyn Medium) {
    for (key, [first, ..]) in each() {
        let swapped = cells(medium).await.swap(key, None, first).await;
        assert_eq!(swapped, Outcome::Swapped);
    }
    let cells = cells(medium).await;
    for (key, [first, second, _]) in each() {
        assert_eq!(cells.get(key.clone()).await, Outcome::Is(Some(first.clone())));
        assert_eq!(cells.swap(key, Some(first), second).await, Outcome::Swapped);
    }
}
