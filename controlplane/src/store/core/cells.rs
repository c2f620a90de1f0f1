//! The cells of rate limits in the file: two tables beside the log's, and one that says when a row may go.

use ::redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use shared::change::Revision;
use shared::quota::{AccountId, CellKey, CellValue, Claim, Label, Outcome, Row};
use uuid::Uuid;

use super::Core;
use crate::store::ReadError;
use crate::store::cells::kept_for;
use crate::store::tables;

/// Shard → (epoch, owner, from, to).
const CLAIMS: TableDefinition<'_, u8, (u64, u128, u64, u64)> = TableDefinition::new("limit_claims");

/// Shard → the edits of limits up to which its claim says that all is recorded.
const RECORDED: TableDefinition<'_, u8, u64> = TableDefinition::new("limit_claims_recorded");

/// (Limit, hash of what is counted under) → (end, row as JSON). Not there for anybody from its end on, which is in
/// seconds since the Unix epoch.
const LEDGER: TableDefinition<'_, Account, (u64, &[u8])> = TableDefinition::new("limit_ledger");

/// The rows by their end.
const ENDS: TableDefinition<'_, (u64, Account), ()> = TableDefinition::new("limit_ledger_ends");

type Account = (u128, u128);

/// Rows that are over and leave with one write: more than one write can bring.
const LEAVING: usize = 4;

pub struct Swap {
    pub key: CellKey,
    pub expected: Option<CellValue>,
    pub new: CellValue,
}

impl Core {
    /// `now`: seconds since the Unix epoch.
    pub fn cell(&self, key: &CellKey, now: u64) -> Result<Option<CellValue>, ReadError> {
        self.reading(|transaction| match key {
            CellKey::Claim(shard) => match read(transaction, CLAIMS)? {
                Some(claims) => {
                    let recorded = read(transaction, RECORDED)?;
                    Ok(held_claim(&claims, recorded.as_ref(), *shard)?.map(CellValue::Claim))
                }
                None => Ok(None),
            },
            CellKey::Row(id) => match read(transaction, LEDGER)? {
                Some(ledger) => Ok(row(&ledger, account(id), now)?.map(CellValue::Row)),
                None => Ok(None),
            },
        })
    }

    /// Each in turn, and all in one transaction: one write to the disk, however many.
    pub fn swap_all(&self, swaps: &[Swap], now: u64) -> Vec<Outcome> {
        let unavailable = || vec![Outcome::Unavailable; swaps.len()];
        let Ok(database) = self.database() else {
            return unavailable();
        };
        let staged = database
            .begin_write()
            .map_err(::redb::Error::from)
            .and_then(|transaction| Ok((stage(&transaction, swaps, now)?, transaction)));
        let (outcomes, transaction) = match staged {
            Ok(staged) => staged,
            Err(error) => {
                let error = self.failed(error);
                tracing::warn!(%error, "the cells of limits cannot be written");
                return unavailable();
            }
        };
        if !outcomes.contains(&Outcome::Swapped) {
            return outcomes;
        }
        let Err(error) = transaction.commit() else {
            return outcomes;
        };
        self.forget();
        tracing::warn!(%error, "it is not known whether the cells of limits were written");
        // What differed may have differed from what was not written.
        let known = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Swapped => Outcome::Unknown,
            _ => Outcome::Unavailable,
        });
        known.collect()
    }
}

fn stage(transaction: &WriteTransaction, swaps: &[Swap], now: u64) -> Result<Vec<Outcome>, ::redb::Error> {
    let mut claims = transaction.open_table(CLAIMS)?;
    let mut recorded = transaction.open_table(RECORDED)?;
    let mut rows = Rows {
        ledger: transaction.open_table(LEDGER)?,
        ends: transaction.open_table(ENDS)?,
        now,
    };
    let mut outcomes = Vec::with_capacity(swaps.len());
    for Swap { key, expected, new } in swaps {
        outcomes.push(match (key, new) {
            (CellKey::Claim(shard), CellValue::Claim(new)) => {
                let held = held_claim(&claims, Some(&recorded), *shard)?.map(CellValue::Claim);
                if held == *expected {
                    let value = (new.epoch, new.owner.as_u128(), new.from.as_nanos(), new.to.as_nanos());
                    claims.insert(shard, value)?;
                    match new.recorded {
                        Some(Revision(revision)) => recorded.insert(shard, revision)?,
                        None => recorded.remove(shard)?,
                    };
                    Outcome::Swapped
                } else {
                    Outcome::Differs(held)
                }
            }
            (CellKey::Row(id), CellValue::Row(new)) => {
                let held = row(&rows.ledger, account(id), now)?;
                if is_row(held.as_ref(), expected.as_ref()) {
                    rows.put(account(id), new)?;
                    Outcome::Swapped
                } else {
                    Outcome::Differs(held.map(CellValue::Row))
                }
            }
            _ => Outcome::Unavailable,
        });
    }
    rows.sweep(swaps.len() * LEAVING)?;
    Ok(outcomes)
}

struct Rows<'txn> {
    ledger: Table<'txn, Account, (u64, &'static [u8])>,
    ends: Table<'txn, (u64, Account), ()>,
    now: u64,
}

impl Rows<'_> {
    fn put(&mut self, account: Account, new: &Row) -> Result<(), ::redb::Error> {
        let end = self.now.saturating_add(kept_for(new));
        let bytes = serde_json::to_vec(new).map_err(|error| tables::corrupt(&error.to_string()))?;
        let before = self
            .ledger
            .insert(account, (end, bytes.as_slice()))?
            .map(|held| held.value().0);
        if let Some(before) = before {
            self.ends.remove((before, account))?;
        }
        self.ends.insert((end, account), ())?;
        Ok(())
    }

    /// Lets go of rows that are over, a few at a time.
    fn sweep(&mut self, most: usize) -> Result<(), ::redb::Error> {
        let mut over = Vec::new();
        for entry in self.ends.range(..(self.now, (0, 0)))?.take(most) {
            over.push(entry?.0.value());
        }
        for (end, account) in over {
            self.ends.remove((end, account))?;
            self.ledger.remove(account)?;
        }
        Ok(())
    }
}

/// None: nothing was written to it yet.
fn read<K: ::redb::Key + 'static, V: ::redb::Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<Option<::redb::ReadOnlyTable<K, V>>, ::redb::Error> {
    match transaction.open_table(table) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// By version and operation, as every engine compares.
fn is_row(held: Option<&Row>, expected: Option<&CellValue>) -> bool {
    match (held, expected) {
        (None, None) => true,
        (Some(held), Some(CellValue::Row(expected))) => (held.version, held.op) == (expected.version, expected.op),
        _ => false,
    }
}

fn held_claim(
    claims: &impl ReadableTable<u8, (u64, u128, u64, u64)>,
    recorded: Option<&impl ReadableTable<u8, u64>>,
    shard: u8,
) -> Result<Option<Claim>, ::redb::Error> {
    let Some(held) = claims.get(shard)? else {
        return Ok(None);
    };
    let (epoch, owner, from, to) = held.value();
    let recorded = match recorded {
        Some(recorded) => recorded.get(shard)?.map(|revision| Revision(revision.value())),
        None => None,
    };
    Ok(Some(Claim {
        epoch,
        owner: Uuid::from_u128(owner),
        from: Label::from_nanos(from),
        to: Label::from_nanos(to),
        recorded,
    }))
}

fn row(
    ledger: &impl ReadableTable<Account, (u64, &'static [u8])>,
    account: Account,
    now: u64,
) -> Result<Option<Row>, ::redb::Error> {
    let Some(held) = ledger.get(account)? else {
        return Ok(None);
    };
    let (end, bytes) = held.value();
    if end <= now {
        return Ok(None);
    }
    let row = serde_json::from_slice(bytes);
    row.map(Some).map_err(|error| tables::corrupt(&error.to_string()))
}

fn account(id: &AccountId) -> Account {
    let (high, low) = id.key.halves();
    (id.limit.as_u128(), u128::from(high) << 64 | u128::from(low))
}

#[cfg(test)]
mod tests;
