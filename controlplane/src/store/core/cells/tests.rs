use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use ::redb::backends::InMemoryBackend;
use shared::change::Epoch;

use super::*;
use crate::store::tests::Failing;

const DAY: u64 = 86_400;

fn of(account: &str) -> CellKey {
    CellKey::Row(AccountId::of(Uuid::from_u128(1), account.as_bytes()))
}

/// Of a limit with a period of an hour.
fn row(version: u64) -> CellValue {
    CellValue::Row(Row {
        version,
        op: Uuid::from_u128(version.into()),
        bucket: 120_000_000_000,
        span: 3_600_000_000_000,
        buckets: [(9, version)].into(),
    })
}

fn first(account: &str, version: u64) -> Swap {
    Swap {
        key: of(account),
        expected: None,
        new: row(version),
    }
}

fn core() -> Core {
    Core::with_backend(InMemoryBackend::new(), Epoch(Uuid::from_u128(1))).unwrap()
}

fn rows(core: &Core) -> usize {
    let count = core.reading(|transaction| {
        let ledger = read(transaction, LEDGER)?.map_or(0, |ledger| ledger.iter().unwrap().count());
        let ends = read(transaction, ENDS)?.map_or(0, |ends| ends.iter().unwrap().count());
        assert_eq!(ledger, ends);
        Ok(ledger)
    });
    count.unwrap()
}

#[test]
fn a_row_goes_when_nothing_counts_that_it_charged() {
    let core = core();
    assert_eq!(core.swap_all(&[first("a", 1)], 0), [Outcome::Swapped]);
    let end = DAY + 2 * 3_601;
    assert_eq!(core.cell(&of("a"), end - 1).unwrap(), Some(row(1)));
    assert_eq!(core.cell(&of("a"), end).unwrap(), None);
    // Written again it is kept for as long again.
    let again = Swap {
        key: of("a"),
        expected: Some(row(1)),
        new: row(2),
    };
    assert_eq!(core.swap_all(&[again], 100), [Outcome::Swapped]);
    assert_eq!(core.cell(&of("a"), end).unwrap(), Some(row(2)));
    assert_eq!(core.swap_all(&[first("a", 3)], end + 100), [Outcome::Swapped]);
    assert_eq!(core.cell(&of("a"), end + 100).unwrap(), Some(row(3)));
}

#[test]
fn rows_that_are_over_leave_the_file() {
    let core = core();
    let many: Vec<Swap> = (0..100).map(|n| first(&n.to_string(), 1)).collect();
    assert_eq!(core.swap_all(&many, 0), vec![Outcome::Swapped; 100]);
    let later = 2 * DAY;
    for n in 0..40 {
        core.swap_all(&[first(&format!("later-{n}"), 1)], later);
    }
    assert_eq!(rows(&core), 40, "four at a time");
}

#[test]
fn swaps_that_go_together_see_each_other() {
    let core = core();
    let next = |expected: u64, new: u64| Swap {
        key: of("a"),
        expected: Some(row(expected)),
        new: row(new),
    };
    let outcomes = core.swap_all(&[first("a", 1), next(1, 2), next(1, 3), next(2, 4)], 0);
    let differs = Outcome::Differs(Some(row(2)));
    assert_eq!(
        outcomes,
        [Outcome::Swapped, Outcome::Swapped, differs, Outcome::Swapped]
    );
    assert_eq!(core.cell(&of("a"), 0).unwrap(), Some(row(4)));
}

#[test]
fn after_a_failed_sync_nothing_is_claimed_to_be_known() {
    let full = Arc::new(AtomicBool::new(false));
    let core = Core::with_backend(Failing::until(full.clone()), Epoch(Uuid::from_u128(1))).unwrap();
    assert_eq!(core.swap_all(&[first("a", 1)], 0), [Outcome::Swapped]);
    full.store(true, SeqCst);
    let outcomes = core.swap_all(&[first("b", 1), first("a", 2)], 0);
    assert_eq!(outcomes, [Outcome::Unknown, Outcome::Unavailable]);
    assert_eq!(core.swap_all(&[first("c", 1)], 0), [Outcome::Unavailable]);
}
