//! The log's table: partitions of a thousand revisions, each with its head in a static column.
//!
//! An append is one conditional statement that adds a row and moves the head of its partition. It can only be refused, or
//! carried out once: also one that a coordinator wakes up with much later finds the head moved.

use std::sync::Arc;

use scylla::response::query_result::{QueryResult, QueryRowsResult};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlTimestamp, CqlValue, Row};
use shared::change::{Commit, OpId, Revision};
use uuid::Uuid;

use super::client::Client;
use super::failure::{Failure, malformed};
use super::numbers::{bucket, is_first, revision, stored};
use crate::store::{AppendError, ReadError};

const APPEND: &str = "UPDATE {keyspace}.changes SET head = ?, op_id = ?, writer = ?, actor = ?, ops = ?, at = ? \
                      WHERE bucket = ? AND revision = ? IF head = ? AND op_id = null";
const HEAD: &str = "SELECT head FROM {keyspace}.changes WHERE bucket = ? LIMIT 1";
const PAGE: &str =
    "SELECT revision, op_id, actor, ops, at FROM {keyspace}.changes WHERE bucket = ? AND revision >= ? LIMIT ?";
const SEAL: &str = "UPDATE {keyspace}.changes SET head = ? WHERE bucket = ? IF head = null";
const DROP: &str = "DELETE FROM {keyspace}.changes WHERE bucket = ? AND revision < ?";

pub struct Partitions {
    client: Arc<Client>,
    append: PreparedStatement,
    head: PreparedStatement,
    page: PreparedStatement,
    serial_page: PreparedStatement,
    seal: PreparedStatement,
    drop: PreparedStatement,
    /// Tells this process's rows from others'.
    writer: Uuid,
}

impl Partitions {
    pub async fn prepare(client: Arc<Client>) -> Result<Partitions, Failure> {
        Ok(Partitions {
            append: client.prepare(APPEND).await?,
            head: client.prepare_serial_read(HEAD).await?,
            page: client.prepare(PAGE).await?,
            serial_page: client.prepare_serial_read(PAGE).await?,
            seal: client.prepare(SEAL).await?,
            drop: client.prepare(DROP).await?,
            writer: Uuid::new_v4(),
            client,
        })
    }

    /// One attempt. The partition before a first one has to be known to be full.
    pub async fn append(&self, commit: &Commit) -> Result<(), AppendError> {
        let not_tried = |error: &dyn std::fmt::Display| AppendError::Unavailable(error.to_string());
        let ops = serde_json::to_vec(&commit.ops).map_err(|error| not_tried(&error))?;
        let at = i64::try_from(commit.at_ms).map_err(|error| not_tried(&error))?;
        let head = stored(commit.revision);
        let after = (!is_first(commit.revision)).then_some(head - 1);
        let values = (
            (head, commit.op_id.0, self.writer, &*commit.actor, ops),
            (CqlTimestamp(at), partition(bucket(commit.revision)), head, after),
        );
        let ((a, b, c, d, e), (f, g, h, i)) = values;
        let result = self.client.run(&self.append, (a, b, c, d, e, f, g, h, i)).await;
        let result = result.map_err(|failure| match failure {
            Failure::NotTried(detail) => AppendError::Unavailable(detail),
            Failure::Unknown(detail) => AppendError::Unknown(detail),
        })?;
        let outcome = Outcome::read(result).map_err(|error| AppendError::Unknown(error.to_string()))?;
        match outcome {
            Outcome::Applied => Ok(()),
            // An earlier attempt at the same.
            Outcome::Refused { op_id } if op_id == Some(commit.op_id) => Ok(()),
            Outcome::Refused { .. } => Err(AppendError::Conflict),
        }
    }

    /// Gives an empty partition a head without a commit: nothing is appended at or before it any more. False: it has one.
    pub async fn seal(&self, head: Revision) -> Result<bool, ReadError> {
        let values = (stored(head), partition(bucket(head)));
        let result = self.client.run(&self.seal, values).await?;
        Ok(matches!(Outcome::read(result)?, Outcome::Applied))
    }

    /// The last revision in a partition, by a read that completes what is under way; none when there is none.
    pub async fn head(&self, bucket: u64) -> Result<Option<Revision>, ReadError> {
        let result = self.client.run(&self.head, (partition(bucket),)).await?;
        let rows = result.into_rows_result().map_err(malformed)?;
        let row = rows.maybe_first_row::<(Option<i64>,)>().map_err(malformed)?;
        row.and_then(|(head,)| head).map(revision).transpose()
    }

    /// The commits of the partition of `from`, from there on, at most `max`; what is missing between them is not told.
    pub async fn page(&self, from: Revision, max: usize, serial: bool) -> Result<Vec<Commit>, ReadError> {
        let statement = if serial { &self.serial_page } else { &self.page };
        let max = i32::try_from(max).unwrap_or(i32::MAX);
        let values = (partition(bucket(from)), stored(from), max);
        let result = self.client.run(statement, values).await?;
        let rows = result.into_rows_result().map_err(malformed)?;
        commits(&rows)
    }

    /// Deletes the commits of a partition before `before`, by a range: rows one by one, or the partition as a whole, would
    /// let in an append that had been stopped on its way.
    pub async fn drop_before(&self, bucket: u64, before: Revision) -> Result<(), ReadError> {
        self.client.run(&self.drop, (partition(bucket), stored(before))).await?;
        Ok(())
    }
}

fn partition(bucket: u64) -> i64 {
    i64::try_from(bucket).unwrap_or(i64::MAX)
}

fn commits(rows: &QueryRowsResult) -> Result<Vec<Commit>, ReadError> {
    // A partition whose rows are all deleted has one with its head alone.
    type Columns = (
        Option<i64>,
        Option<Uuid>,
        Option<String>,
        Option<Vec<u8>>,
        Option<CqlTimestamp>,
    );
    let mut commits = Vec::with_capacity(rows.rows_num());
    for row in rows.rows::<Columns>().map_err(malformed)? {
        let (Some(at), Some(op_id), Some(actor), Some(ops), Some(CqlTimestamp(at_ms))) = row.map_err(malformed)? else {
            continue;
        };
        commits.push(Commit {
            revision: revision(at)?,
            at_ms: u64::try_from(at_ms).unwrap_or_default(),
            actor: actor.into(),
            op_id: OpId(op_id),
            ops: serde_json::from_slice(&ops).map_err(malformed)?,
        });
    }
    Ok(commits)
}

/// What a conditional statement answers. Its columns are known by name only: which there are depends on what stood there.
enum Outcome {
    Applied,
    Refused { op_id: Option<OpId> },
}

impl Outcome {
    fn read(result: QueryResult) -> Result<Outcome, ReadError> {
        let rows = result.into_rows_result().map_err(malformed)?;
        let at = |name: &str| rows.column_specs().get_by_name(name).map(|(index, _)| index);
        let (applied, op_id) = (at("[applied]"), at("op_id"));
        let row = rows.first_row::<Row>().map_err(malformed)?;
        let value = |index: Option<usize>| index.and_then(|index| row.columns.get(index)).and_then(Option::as_ref);
        match (value(applied), value(op_id)) {
            (Some(CqlValue::Boolean(true)), _) => Ok(Outcome::Applied),
            (Some(CqlValue::Boolean(false)), Some(CqlValue::Uuid(op_id))) => Ok(Outcome::Refused {
                op_id: Some(OpId(*op_id)),
            }),
            (Some(CqlValue::Boolean(false)), _) => Ok(Outcome::Refused { op_id: None }),
            _ => Err(malformed("it does not say whether it was applied")),
        }
    }
}
