//! `limit_claims` and `limit_ledger`: conditional statements that the nodes of all data centres decide, whoever decides
//! about the log. An owner is one in the whole fleet.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use scylla::response::query_result::QueryResult;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row as Columns};
use shared::change::Revision;
use shared::quota::{AccountId, CellKey, CellValue, Claim, Label, Outcome, Row, Shard};
use uuid::Uuid;

use super::client::{Client, Levels};
use super::failure::{Failure, malformed};
use crate::store::ReadError;
use crate::store::cells::{Cells, kept_for};

const CLAIM: &str = "SELECT epoch, owner, from_ns, to_ns, recorded FROM {keyspace}.limit_claims WHERE shard = ?";
const SWAP_CLAIM: &str = "UPDATE {keyspace}.limit_claims SET epoch = ?, owner = ?, from_ns = ?, to_ns = ?, recorded = ? \
                          WHERE shard = ? \
                          IF epoch = ? AND owner = ? AND from_ns = ? AND to_ns = ? AND recorded = ?";
const ROW: &str = "SELECT version, op, bucket_ns, span_ns, buckets FROM {keyspace}.limit_ledger \
                   WHERE limit_id = ? AND token_hash = ?";
const SWAP_ROW: &str = "UPDATE {keyspace}.limit_ledger USING TTL ? SET version = ?, op = ?, bucket_ns = ?, span_ns = ?, \
                        buckets = ? WHERE limit_id = ? AND token_hash = ? IF version = ? AND op = ?";

pub struct CassandraCells {
    client: Arc<Client>,
    claim: PreparedStatement,
    swap_claim: PreparedStatement,
    row: PreparedStatement,
    swap_row: PreparedStatement,
}

impl CassandraCells {
    pub async fn prepare(client: Arc<Client>) -> Result<CassandraCells, Failure> {
        let Levels { plain, serial_read, .. } = Levels::ALL;
        Ok(CassandraCells {
            claim: client.prepare_everywhere(CLAIM, serial_read).await?,
            swap_claim: client.prepare_everywhere(SWAP_CLAIM, plain).await?,
            row: client.prepare_everywhere(ROW, serial_read).await?,
            swap_row: client.prepare_everywhere(SWAP_ROW, plain).await?,
            client,
        })
    }

    async fn read(&self, key: &CellKey) -> Result<Option<CellValue>, ReadError> {
        match key {
            CellKey::Claim(shard) => {
                let result = self.client.run(&self.claim, (i32::from(*shard),)).await?;
                Ok(claim(result)?.map(CellValue::Claim))
            }
            CellKey::Row(id) => {
                let result = self.client.run(&self.row, (id.limit, token_hash(id))).await?;
                Ok(row(result)?.map(CellValue::Row))
            }
        }
    }

    async fn look(&self, key: &CellKey) -> Result<Option<CellValue>, Outcome> {
        self.read(key).await.map_err(|error| {
            tracing::debug!(%error, "a cell of limits cannot be read");
            Outcome::Unavailable
        })
    }

    /// None: a value is of another kind than the key.
    async fn write(
        &self,
        key: &CellKey,
        expected: Option<&CellValue>,
        new: &CellValue,
    ) -> Option<Result<QueryResult, Failure>> {
        match (key, new, expected) {
            (CellKey::Claim(shard), CellValue::Claim(new), None) => Some(self.write_claim(*shard, None, new).await),
            (CellKey::Claim(shard), CellValue::Claim(new), Some(CellValue::Claim(expected))) => {
                Some(self.write_claim(*shard, Some(expected), new).await)
            }
            (CellKey::Row(id), CellValue::Row(new), None) => Some(self.write_row(id, None, new).await),
            (CellKey::Row(id), CellValue::Row(new), Some(CellValue::Row(expected))) => {
                Some(self.write_row(id, Some(expected), new).await)
            }
            _ => None,
        }
    }

    async fn write_claim(&self, shard: Shard, expected: Option<&Claim>, new: &Claim) -> Result<QueryResult, Failure> {
        let values = (
            new.epoch.cast_signed(),
            new.owner,
            new.from.as_nanos().cast_signed(),
            new.to.as_nanos().cast_signed(),
            recorded(new),
            i32::from(shard),
            expected.map(|expected| expected.epoch.cast_signed()),
            expected.map(|expected| expected.owner),
            expected.map(|expected| expected.from.as_nanos().cast_signed()),
            expected.map(|expected| expected.to.as_nanos().cast_signed()),
            expected.and_then(recorded),
        );
        self.client.run(&self.swap_claim, values).await
    }

    async fn write_row(&self, id: &AccountId, expected: Option<&Row>, new: &Row) -> Result<QueryResult, Failure> {
        let buckets = new.buckets.iter();
        let buckets: BTreeMap<i64, i64> = buckets
            .map(|(bucket, tokens)| (bucket.cast_signed(), tokens.cast_signed()))
            .collect();
        let values = (
            i32::try_from(kept_for(new)).unwrap_or(TTL_MAX).min(TTL_MAX),
            new.version.cast_signed(),
            new.op,
            new.bucket.cast_signed(),
            new.span.cast_signed(),
            buckets,
            id.limit,
            token_hash(id),
            expected.map(|expected| expected.version.cast_signed()),
            expected.map(|expected| expected.op),
        );
        self.client.run(&self.swap_row, values).await
    }

    async fn swap_once(&self, key: CellKey, expected: Option<CellValue>, new: CellValue) -> Outcome {
        let written = match self.write(&key, expected.as_ref(), &new).await {
            None => return Outcome::Unavailable,
            Some(Err(Failure::NotTried(detail))) => {
                tracing::debug!(detail, "a cell of limits cannot be written");
                return Outcome::Unavailable;
            }
            Some(Err(Failure::Unknown(detail))) => {
                tracing::debug!(detail, "it is not known whether a cell of limits was written");
                return Outcome::Unknown;
            }
            Some(Ok(written)) => written,
        };
        match applied(written) {
            Ok(true) => Outcome::Swapped,
            // The answer does not name every column.
            Ok(false) => self.look(&key).await.map_or_else(|failed| failed, Outcome::Differs),
            Err(error) => {
                tracing::debug!(%error, "it is not known whether a cell of limits was written");
                Outcome::Unknown
            }
        }
    }
}

/// Twenty years: what Cassandra takes at most.
const TTL_MAX: i32 = 20 * 365 * 24 * 3_600;

impl Cells for CassandraCells {
    fn get(&self, key: CellKey) -> BoxFuture<'_, Outcome> {
        async move { self.look(&key).await.map_or_else(|failed| failed, Outcome::Is) }.boxed()
    }

    fn swap(&self, key: CellKey, expected: Option<CellValue>, new: CellValue) -> BoxFuture<'_, Outcome> {
        self.swap_once(key, expected, new).boxed()
    }
}

fn token_hash(id: &AccountId) -> Vec<u8> {
    let (high, low) = id.key.halves();
    [high.to_be_bytes(), low.to_be_bytes()].concat()
}

fn recorded(claim: &Claim) -> Option<i64> {
    claim.recorded.map(|revision| revision.0.cast_signed())
}

fn claim(result: QueryResult) -> Result<Option<Claim>, ReadError> {
    type Held = (Option<i64>, Option<Uuid>, Option<i64>, Option<i64>, Option<i64>);
    let rows = result.into_rows_result().map_err(malformed)?;
    match rows.maybe_first_row::<Held>().map_err(malformed)? {
        Some((Some(epoch), Some(owner), Some(from), Some(to), recorded)) => Ok(Some(Claim {
            epoch: epoch.cast_unsigned(),
            owner,
            from: Label::from_nanos(from.cast_unsigned()),
            to: Label::from_nanos(to.cast_unsigned()),
            recorded: recorded.map(|revision| Revision(revision.cast_unsigned())),
        })),
        None | Some((None, None, None, None, None)) => Ok(None),
        Some(_) => Err(malformed("a claim lacks a part")),
    }
}

fn row(result: QueryResult) -> Result<Option<Row>, ReadError> {
    type Held = (
        Option<i64>,
        Option<Uuid>,
        Option<i64>,
        Option<i64>,
        Option<BTreeMap<i64, i64>>,
    );
    let rows = result.into_rows_result().map_err(malformed)?;
    match rows.maybe_first_row::<Held>().map_err(malformed)? {
        Some((Some(version), Some(op), Some(bucket), Some(span), buckets)) => Ok(Some(Row {
            version: version.cast_unsigned(),
            op,
            bucket: bucket.cast_unsigned(),
            span: span.cast_unsigned(),
            buckets: buckets
                .unwrap_or_default()
                .into_iter()
                .map(|(bucket, tokens)| (bucket.cast_unsigned(), tokens.cast_unsigned()))
                .collect(),
        })),
        None | Some((None, None, None, None, None)) => Ok(None),
        Some(_) => Err(malformed("a row of the ledger lacks a part")),
    }
}

/// What a conditional statement answers. Which columns follow depends on what stood there.
fn applied(result: QueryResult) -> Result<bool, ReadError> {
    let rows = result.into_rows_result().map_err(malformed)?;
    let at = rows.column_specs().get_by_name("[applied]").map(|(index, _)| index);
    let row = rows.first_row::<Columns>().map_err(malformed)?;
    match at.and_then(|index| row.columns.get(index)) {
        Some(Some(CqlValue::Boolean(applied))) => Ok(*applied),
        _ => Err(malformed("it does not say whether it was applied")),
    }
}
