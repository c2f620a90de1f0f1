//! Reads all that the tables hold into a state.

use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use scylla::deserialize::row::DeserializeRow;
use shared::change::{Body, Kind, ObjectKey, Revision};
use shared::model::LimitId;
use shared::state::{Object, State};
use uuid::Uuid;

use super::client::Client;
use super::failure::{Failure, malformed};
use super::numbers::revision;
use super::objects::object;
use crate::store::ReadError;

/// Rows fetched at once, and how long that may take: a scan visits every node.
const PAGE_ROWS: i32 = 1_000;
const PAGE: Duration = Duration::from_secs(10);

type Named = (String, i64, String);

pub async fn into(state: &mut State, client: &Client) -> Result<(), ReadError> {
    for (table, kind) in [
        ("services", Kind::Service),
        ("authorizers", Kind::Authorizer),
        ("members", Kind::Member),
    ] {
        let text = format!("SELECT name, revision, body FROM {{keyspace}}.{table}");
        let mut rows = rows::<Named>(client, &text).await?;
        while let Some((name, at, body)) = rows.try_next().await? {
            put(state, object(kind.clone(), &name), at, None, &body)?;
        }
    }
    let text = "SELECT service, id, revision, registration, body FROM {keyspace}.upstreams";
    let mut upstreams = rows::<(String, String, i64, i64, String)>(client, text).await?;
    while let Some((service, id, at, registration, body)) = upstreams.try_next().await? {
        put(state, ObjectKey::upstream(&service, &id), at, Some(registration), &body)?;
    }
    let mut limits = rows::<(Uuid, i64, String)>(client, "SELECT id, revision, body FROM {keyspace}.limits").await?;
    while let Some((id, at, body)) = limits.try_next().await? {
        put(state, ObjectKey::limit(LimitId(id)), at, None, &body)?;
    }
    let mut others =
        rows::<(String, String, i64, String)>(client, "SELECT kind, key, revision, body FROM {keyspace}.others")
            .await?;
    while let Some((kind, key, at, body)) = others.try_next().await? {
        put(state, object(Kind::from(&*kind), &key), at, None, &body)?;
    }
    Ok(())
}

fn put(state: &mut State, key: ObjectKey, at: i64, registration: Option<i64>, body: &str) -> Result<(), ReadError> {
    let registration: Option<Revision> = registration.map(revision).transpose()?;
    let object = Object {
        revision: revision(at)?,
        registration,
        body: Body::from_json(body).map_err(malformed)?,
    };
    state.replace(key, Some(object));
    Ok(())
}

async fn rows<T>(client: &Client, text: &str) -> Result<impl Stream<Item = Result<T, ReadError>> + Unpin, ReadError>
where
    T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata> + 'static,
{
    let mut statement = client.prepare(text).await?;
    statement.set_page_size(PAGE_ROWS);
    statement.set_request_timeout(Some(PAGE));
    let pager = client
        .session
        .execute_iter(statement, ())
        .await
        .map_err(Failure::from)?;
    let rows = pager.rows_stream::<T>().map_err(malformed)?;
    Ok(rows.map_err(|error| ReadError::Unavailable(error.to_string())))
}
