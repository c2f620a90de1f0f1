//! `control_planes`: one row each, gone by itself once it is not refreshed.
//!
//! A row's timestamp counts its refreshes, so that no clock decides which of two is the later one, and `writetime` shows
//! whether there was another. The cells live for the table's 15 s by the nodes' clocks: these may differ by some 10 s
//! before a row can go that its owner believes in.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use scylla::statement::prepared::PreparedStatement;
use shared::change::Revision;
use shared::stream::planes::{PlaneId, Row};
use uuid::Uuid;

use super::client::{Client, Obstacle};
use super::failure::malformed;
use super::numbers::stored;
use crate::store::{ReadError, Rows};

/// All control planes of a keyspace are one cluster.
const CLUSTER: &str = "vulcan";

pub struct CassandraRows {
    client: Arc<Client>,
    refresh: PreparedStatement,
    all: PreparedStatement,
}

impl CassandraRows {
    pub async fn prepare(client: Arc<Client>) -> Result<CassandraRows, Obstacle> {
        let refresh =
            "UPDATE {keyspace}.control_planes USING TIMESTAMP ? SET url = ?, head = ? WHERE cluster = ? AND id = ?";
        let all = "SELECT id, url, writetime(url) FROM {keyspace}.control_planes WHERE cluster = ?";
        Ok(CassandraRows {
            refresh: client.prepare(refresh).await?,
            all: client.prepare(all).await?,
            client,
        })
    }

    async fn write(&self, row: Row, head: Revision) -> Result<(), ReadError> {
        let values = (row.beat, &*row.url, stored(head), CLUSTER, row.id.0);
        self.client.run(&self.refresh, values).await?;
        Ok(())
    }

    async fn read(&self) -> Result<Vec<Row>, ReadError> {
        let result = self.client.run(&self.all, (CLUSTER,)).await?;
        let result = result.into_rows_result().map_err(malformed)?;
        let mut rows = Vec::new();
        for row in result
            .rows::<(Uuid, Option<String>, Option<i64>)>()
            .map_err(malformed)?
        {
            let (id, url, beat) = row.map_err(malformed)?;
            if let (Some(url), Some(beat)) = (url, beat) {
                let (id, url) = (PlaneId(id), url.into());
                rows.push(Row { id, url, beat });
            }
        }
        Ok(rows)
    }
}

impl Rows for CassandraRows {
    fn refresh(&self, row: Row, head: Revision) -> BoxFuture<'_, Result<(), ReadError>> {
        self.write(row, head).boxed()
    }

    fn all(&self) -> BoxFuture<'_, Result<Vec<Row>, ReadError>> {
        self.read().boxed()
    }
}
