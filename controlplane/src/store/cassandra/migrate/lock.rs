//! One control plane migrates at a time. The lock ends by itself when its holder does.

use std::time::Duration;

use scylla::response::query_result::QueryResult;
use scylla::value::{CqlValue, Row};
use uuid::Uuid;

use crate::store::cassandra::client::{Client, Levels, Obstacle};
use crate::store::cassandra::failure::malformed;

/// Longer than any statement that it is renewed before.
const HELD_FOR: Duration = Duration::from_secs(60);

const LOOK_AGAIN: Duration = Duration::from_millis(300);

const NAME: &str = "migrations";

pub struct Lock<'a> {
    client: &'a Client,
    holder: Uuid,
}

impl Lock<'_> {
    /// Waits for whoever holds it. `holder` stays the same when its last attempt to open the store failed: that one may
    /// hold the lock still.
    pub async fn acquire(client: &Client, holder: Uuid) -> Result<Lock<'_>, Obstacle> {
        let text = format!(
            "INSERT INTO {{keyspace}}.schema_lock (name, holder) VALUES (?, ?) IF NOT EXISTS USING TTL {}",
            HELD_FOR.as_secs()
        );
        let mut told = false;
        loop {
            let result = client.say(&text, (NAME, holder), Levels::ALL).await?;
            let (applied, there) = outcome(result)?;
            // An attempt before this one may have been applied, and its answer lost.
            if applied || there == Some(holder) {
                return Ok(Lock { client, holder });
            }
            if !told {
                tracing::info!(holder = ?there, "waiting for another control plane to migrate the keyspace");
                told = true;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub async fn renew(&self) -> Result<(), Obstacle> {
        let text = format!(
            "UPDATE {{keyspace}}.schema_lock USING TTL {} SET holder = ? WHERE name = ? IF holder = ?",
            HELD_FOR.as_secs()
        );
        let values = (self.holder, NAME, self.holder);
        let (applied, there) = outcome(self.client.say(&text, values, Levels::ALL).await?)?;
        match applied {
            true => Ok(()),
            false => Err(Obstacle::Away(format!("the lock on migrations was lost to {there:?}"))),
        }
    }

    pub async fn release(self) {
        let text = "DELETE FROM {keyspace}.schema_lock WHERE name = ? IF holder = ?";
        if let Err(error) = self.client.say(text, (NAME, self.holder), Levels::ALL).await {
            tracing::warn!(%error, "the lock on migrations was not released; it ends by itself");
        }
    }
}

/// Whether a conditional statement was applied, and who held the lock if not.
fn outcome(result: QueryResult) -> Result<(bool, Option<Uuid>), Obstacle> {
    let unread = |error: &dyn std::fmt::Display| Obstacle::Away(malformed(error).to_string());
    let rows = result.into_rows_result().map_err(|error| unread(&error))?;
    let value = |row: &Row, name: &str| {
        let index = rows.column_specs().get_by_name(name).map(|(index, _)| index)?;
        row.columns.get(index).cloned().flatten()
    };
    let row = rows.first_row::<Row>().map_err(|error| unread(&error))?;
    let applied = value(&row, "[applied]") == Some(CqlValue::Boolean(true));
    let holder = value(&row, "holder").and_then(|holder| holder.as_uuid());
    Ok((applied, holder))
}
