//! What is known about the store as a whole: rows of a name and a text.

use scylla::statement::prepared::PreparedStatement;
use serde::{Deserialize, Serialize};
use shared::change::{Commit, Epoch, Revision};
use uuid::Uuid;

use super::client::{Client, Levels, Obstacle};
use super::failure::malformed;
use super::numbers::stored;
use crate::store::{ReadError, RestoreError};

/// Raised with every change of the tables or of their encodings that older versions would misunderstand.
const FORMAT: &str = "1";

/// The `home` of a store that the nodes of all data centres decide on.
const EVERYWHERE: &str = "*";

/// There while the store is being filled from a snapshot.
const RESTORING: &str = "restoring";
const HALF_RESTORED: &str = "the store is half restored: a restore is under way or broke off. Restore into another keyspace, or drop this one first";

/// How far the tables of what stands have followed the log, and what is not in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    pub revision: Revision,
    pub configured: Revision,
    pub epoch: Epoch,
}

impl Applied {
    pub fn after(self, commit: &Commit) -> Applied {
        Applied {
            revision: commit.revision,
            configured: match commit.is_configuration() {
                true => commit.revision,
                false => self.configured,
            },
            epoch: commit
                .ops
                .iter()
                .filter_map(|op| op.epoch())
                .next_back()
                .unwrap_or(self.epoch),
        }
    }
}

pub struct Meta {
    get: PreparedStatement,
    set: PreparedStatement,
    /// That the store was created with.
    first_epoch: Epoch,
}

impl Meta {
    /// Checks, or creates, what is written once.
    pub async fn open(client: &Client, dc: Option<&str>) -> Result<Meta, Obstacle> {
        let get = client
            .prepare("SELECT value FROM {keyspace}.meta WHERE key = ?")
            .await?;
        let set = client
            .prepare("UPDATE {keyspace}.meta USING TIMESTAMP ? SET value = ? WHERE key = ?")
            .await?;
        let once = Once { client, get: &get };
        // First, and by everybody: it tells who decides everything else.
        let home = once.settle("home", dc.unwrap_or(EVERYWHERE), Levels::ALL).await?;
        if home != dc.unwrap_or(EVERYWHERE) {
            return Err(Obstacle::Refused(away_from(&home)));
        }
        let format = once.settle("format", FORMAT, client.levels).await?;
        if format != FORMAT {
            return Err(Obstacle::Refused(format!(
                "the store has format {format}, which this version cannot read"
            )));
        }
        if once.there(RESTORING).await?.is_some() {
            return Err(Obstacle::Refused(HALF_RESTORED.into()));
        }
        let epoch = once.settle("epoch", &Uuid::new_v4().to_string(), client.levels).await?;
        let epoch = epoch
            .parse()
            .map_err(|_| Obstacle::Refused(format!("the store's epoch is {epoch:?}, which is none")))?;
        Ok(Meta {
            get,
            set,
            first_epoch: Epoch(epoch),
        })
    }

    /// From now on nobody opens the store. `by` tells this one from others.
    pub async fn begin_restoring(&self, client: &Client, by: Uuid) -> Result<(), RestoreError> {
        let once = Once { client, get: &self.get };
        let by = by.to_string();
        match once.settle(RESTORING, &by, client.levels).await {
            Ok(there) if there == by => Ok(()),
            Ok(_) => Err(RestoreError::InUse(HALF_RESTORED.into())),
            Err(Obstacle::Refused(detail) | Obstacle::Away(detail)) => Err(RestoreError::Failed(detail)),
        }
    }

    pub async fn end_restoring(&self, client: &Client, by: Uuid) -> Result<(), RestoreError> {
        let delete = "DELETE FROM {keyspace}.meta WHERE key = ? IF value = ?";
        let said = client.say(delete, (RESTORING, by.to_string()), client.levels).await;
        said.map(drop).map_err(|error| ReadError::from(error).into())
    }

    pub async fn applied(&self, client: &Client) -> Result<Applied, ReadError> {
        match text(client, &self.get, "applied").await? {
            Some(text) => serde_json::from_str(&text).map_err(malformed),
            None => Ok(Applied {
                revision: Revision::ZERO,
                configured: Revision::ZERO,
                epoch: self.first_epoch,
            }),
        }
    }

    pub async fn set_applied(&self, client: &Client, applied: Applied) -> Result<(), ReadError> {
        let text = serde_json::to_string(&applied).map_err(malformed)?;
        self.advance(client, "applied", applied.revision, &text).await
    }

    /// `trimmed`: the commits up to it are no longer to be read. `swept`: they are deleted.
    pub async fn mark(&self, client: &Client, key: &str) -> Result<Revision, ReadError> {
        match text(client, &self.get, key).await? {
            Some(text) => text.parse().map(Revision).map_err(malformed),
            None => Ok(Revision::ZERO),
        }
    }

    pub async fn set_mark(&self, client: &Client, key: &str, revision: Revision) -> Result<(), ReadError> {
        self.advance(client, key, revision, &revision.to_string()).await
    }

    /// With its revision as timestamp it never goes back, whoever writes it when.
    async fn advance(&self, client: &Client, key: &str, revision: Revision, value: &str) -> Result<(), ReadError> {
        client.run(&self.set, (stored(revision), value, key)).await?;
        Ok(())
    }
}

fn away_from(home: &str) -> String {
    match home {
        EVERYWHERE => "the store is decided on by all data centres: start without --cassandra-dc".into(),
        home => format!("the store is at home in data centre {home}: start with --cassandra-dc {home}"),
    }
}

/// Rows that are written once, by whoever is first.
struct Once<'a> {
    client: &'a Client,
    get: &'a PreparedStatement,
}

impl Once<'_> {
    async fn settle(&self, key: &str, value: &str, levels: Levels) -> Result<String, Obstacle> {
        if let Some(there) = self.there(key).await? {
            return Ok(there);
        }
        let insert = "INSERT INTO {keyspace}.meta (key, value) VALUES (?, ?) IF NOT EXISTS";
        self.client.say(insert, (key, value), levels).await?;
        let there = self.there(key).await?;
        there.ok_or_else(|| Obstacle::Away(format!("{key} was written and is not there yet")))
    }

    async fn there(&self, key: &str) -> Result<Option<String>, Obstacle> {
        let there = text(self.client, self.get, key).await;
        there.map_err(|error| Obstacle::Away(error.to_string()))
    }
}

async fn text(client: &Client, get: &PreparedStatement, key: &str) -> Result<Option<String>, ReadError> {
    let result = client.run(get, (key,)).await?;
    let rows = result.into_rows_result().map_err(malformed)?;
    let row = rows.maybe_first_row::<(Option<String>,)>().map_err(malformed)?;
    Ok(row.and_then(|(value,)| value))
}
