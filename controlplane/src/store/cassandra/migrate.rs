//! Brings a keyspace to the schema of this version: creates it where there is none, and applies the migrations it lacks,
//! one control plane at a time.
//!
//! Progress is kept per statement, so that a migration that failed, or whose control plane died, is gone on with. A
//! statement may run twice; each says `IF NOT EXISTS`, or its like.

use migrations::Migration;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::statement::Statement;
use uuid::Uuid;

use super::client::{Client, Levels, Obstacle, SCHEMA};
use super::failure::malformed;
use super::place::Place;

mod keyspace;
mod lock;

use lock::Lock;

const OWN: [(&str, &str); 2] = [
    (
        "schema_migrations",
        "CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, name text, checksum text, statements int, \
         applied_at timestamp) WITH comment = 'The migrations of this keyspace; statements: how many of it are done.'",
    ),
    (
        "schema_lock",
        "CREATE TABLE IF NOT EXISTS schema_lock (name text PRIMARY KEY, holder uuid) \
         WITH comment = 'Held by the control plane that migrates.'",
    ),
];

/// What the keyspace knows of a migration.
struct Progress {
    version: i32,
    checksum: String,
    statements: i32,
    is_applied: bool,
}

/// `holder` tells whoever opens this store from others that do.
pub async fn migrate(client: &Client, place: &Place, migrations: &[Migration], holder: Uuid) -> Result<(), Obstacle> {
    keyspace::ensure(client, place).await?;
    for (table, statement) in OWN {
        if !keyspace::has_table(client, &place.keyspace, table).await? {
            change(client, statement).await?;
        }
    }
    if pending(client, migrations).await?.is_empty() {
        return Ok(());
    }
    let lock = Lock::acquire(client, holder).await?;
    let outcome = apply(client, migrations, &lock).await;
    lock.release().await;
    outcome
}

async fn apply(client: &Client, migrations: &[Migration], lock: &Lock<'_>) -> Result<(), Obstacle> {
    // Read again: whoever had the lock before may have done it all.
    for (migration, done) in pending(client, migrations).await? {
        let statements = migration.statements();
        for (index, statement) in statements.iter().enumerate().skip(done) {
            lock.renew().await?;
            let outcome = change(client, statement).await;
            outcome.map_err(|error| failed(migration, index + 1, statements.len(), error))?;
            note(client, migration, index + 1, index + 1 == statements.len()).await?;
        }
        tracing::info!(migration = migration.name, "the keyspace was migrated");
    }
    Ok(())
}

/// Those that are not applied, each with how many of its statements are.
async fn pending<'a>(client: &Client, migrations: &'a [Migration]) -> Result<Vec<(&'a Migration, usize)>, Obstacle> {
    let known = progress(client).await?;
    let mut pending = Vec::new();
    for migration in migrations {
        let Some(there) = known
            .iter()
            .find(|there| u32::try_from(there.version) == Ok(migration.version))
        else {
            pending.push((migration, 0));
            continue;
        };
        if there.checksum != migration.checksum() {
            return Err(Obstacle::Refused(format!(
                "migration {} is not the one that the keyspace was migrated with: its checksum was {}, and is {}",
                migration.name,
                there.checksum,
                migration.checksum()
            )));
        }
        if !there.is_applied {
            pending.push((migration, usize::try_from(there.statements).unwrap_or_default()));
        }
    }
    let newest = migrations.last().map_or(0, |migration| migration.version);
    for newer in known
        .iter()
        .filter(|there| u32::try_from(there.version).is_ok_and(|version| version > newest))
    {
        tracing::warn!(version = newer.version, "the keyspace was migrated by a newer version");
    }
    Ok(pending)
}

async fn progress(client: &Client) -> Result<Vec<Progress>, Obstacle> {
    type Columns = (i32, Option<String>, Option<i32>, Option<scylla::value::CqlTimestamp>);
    let text = "SELECT version, checksum, statements, applied_at FROM {keyspace}.schema_migrations";
    let result = client.say(text, (), Levels::ALL).await?;
    let unread = |error: &dyn std::fmt::Display| Obstacle::Away(malformed(error).to_string());
    let rows = result.into_rows_result().map_err(|error| unread(&error))?;
    let rows = rows.rows::<Columns>().map_err(|error| unread(&error))?;
    rows.map(|row| {
        let (version, checksum, statements, applied_at) = row.map_err(|error| unread(&error))?;
        Ok(Progress {
            version,
            checksum: checksum.unwrap_or_default(),
            statements: statements.unwrap_or_default(),
            is_applied: applied_at.is_some(),
        })
    })
    .collect()
}

async fn note(client: &Client, migration: &Migration, statements: usize, is_applied: bool) -> Result<(), Obstacle> {
    let applied_at = if is_applied { "toTimestamp(now())" } else { "null" };
    let text = format!(
        "INSERT INTO {{keyspace}}.schema_migrations (version, name, checksum, statements, applied_at) VALUES (?, ?, ?, ?, {applied_at})"
    );
    let version = i32::try_from(migration.version).unwrap_or(i32::MAX);
    let statements = i32::try_from(statements).unwrap_or(i32::MAX);
    let values = (version, migration.name, migration.checksum(), statements);
    client.say(&text, values, Levels::ALL).await?;
    Ok(())
}

fn failed(migration: &Migration, statement: usize, of: usize, error: Obstacle) -> Obstacle {
    let told = |detail: String| {
        format!(
            "migration {} failed at statement {statement} of {of}: {detail}; what came before is done, and the next start \
             goes on there",
            migration.name
        )
    };
    match error {
        Obstacle::Refused(detail) => Obstacle::Refused(told(detail)),
        Obstacle::Away(detail) => Obstacle::Away(told(detail)),
    }
}

/// Changes the schema, and waits until all nodes know it.
async fn change(client: &Client, text: &str) -> Result<(), Obstacle> {
    let mut statement = Statement::new(text);
    statement.set_request_timeout(Some(SCHEMA));
    match client.session.query_unpaged(statement, ()).await {
        Ok(_) => Ok(()),
        Err(error) if is_refusal(&error) => Err(Obstacle::Refused(error.to_string())),
        Err(error) => Err(Obstacle::Away(error.to_string())),
    }
}

/// Whether the same statement will fail again.
fn is_refusal(error: &ExecutionError) -> bool {
    let ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) = error else {
        return false;
    };
    matches!(
        error,
        DbError::SyntaxError
            | DbError::Invalid
            | DbError::Unauthorized
            | DbError::ConfigError
            | DbError::AlreadyExists { .. }
            | DbError::FunctionFailure { .. }
    )
}
