//! What there is in the end: in the interface of each control plane, and in the tables.

use std::collections::BTreeMap;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use serde_json::{Value, json};
use uuid::Uuid;
use vulcan_tests::api::Api;
use vulcan_tests::cassandra::patiently;
use vulcan_tests::eventually;
use vulcan_tests::history::{Entry, Standing};

/// Revisions in a row of the table's partitions.
const BUCKET: u64 = 1_000;

/// By object.
type Objects = BTreeMap<String, Standing>;

/// The whole log by its pages.
pub async fn log(api: &Api) -> Vec<Entry> {
    let mut log: Vec<Entry> = Vec::new();
    // That of the true head: a control plane shows what it has heard of.
    let head = patiently(async || {
        let absent = api.delete("/v1/services/nobody?wait=none").await;
        if absent.status == 202 {
            Ok(absent.revision())
        } else {
            Err(absent.text)
        }
    })
    .await;
    loop {
        let since = log.last().map_or(0, |entry| entry.revision);
        let page = api
            .get(&format!("/v1/revisions?since={since}&limit=1000"))
            .await
            .expect(200);
        let items: Vec<Entry> = serde_json::from_value(page.body["items"].clone()).unwrap();
        let is_last = page.body["next"].is_null();
        log.extend(items);
        if is_last {
            assert!(log.len() as u64 >= head, "it ends before revision {head}");
            return log;
        }
    }
}

async fn select<T>(session: &Session, text: &str) -> Vec<T>
where
    T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
{
    patiently(async || {
        let result = session
            .query_unpaged(text, ())
            .await
            .map_err(|error| error.to_string())?;
        let rows = result.into_rows_result().map_err(|error| error.to_string())?;
        let rows = rows.rows::<T>().map_err(|error| error.to_string())?;
        rows.map(|row| row.map_err(|error| error.to_string()))
            .collect::<Result<Vec<T>, String>>()
    })
    .await
}

async fn session(contacts: &str) -> Session {
    patiently(async || SessionBuilder::new().known_nodes(contacts.split(',')).build().await).await
}

/// The whole log by its table.
pub async fn rows(contacts: &str, keyspace: &str) -> Vec<Entry> {
    let session = session(contacts).await;
    let mut log = Vec::new();
    for bucket in 0.. {
        let text = format!("SELECT revision, head, op_id, actor, ops FROM {keyspace}.changes WHERE bucket = {bucket}");
        let rows: Vec<(i64, i64, Uuid, String, Vec<u8>)> = select(&session, &text).await;
        let Some((last, head, ..)) = rows.last() else { break };
        assert_eq!(last, head, "the head of partition {bucket}");
        let full = *last == i64::try_from((bucket + 1) * BUCKET - 1).unwrap();
        for (revision, _, op_id, actor, ops) in rows {
            log.push(Entry {
                revision: u64::try_from(revision).unwrap(),
                op_id: op_id.to_string(),
                actor,
                ops: serde_json::from_slice(&ops).unwrap(),
            });
        }
        if !full {
            break;
        }
    }
    log
}

/// Waits until the tables of what stands have come as far.
pub async fn tables_hold(contacts: &str, keyspace: &str, standing: &Objects) {
    let session = session(contacts).await;
    let unsigned = |number: i64| u64::try_from(number).unwrap();
    let mut last = Objects::new();
    let holds = async || {
        let text = format!("SELECT name, revision, body FROM {keyspace}.services");
        let services: Vec<(String, i64, String)> = select(&session, &text).await;
        let text = format!("SELECT service, id, revision, registration, address, body FROM {keyspace}.upstreams");
        let upstreams: Vec<(String, String, i64, i64, String, String)> = select(&session, &text).await;
        let mut held = Objects::new();
        for (name, revision, body) in services {
            let form = Standing {
                body: serde_json::from_str(&body).unwrap(),
                revision: unsigned(revision),
                registration: None,
            };
            held.insert(format!("service/{name}"), form);
        }
        for (service, id, revision, registration, address, body) in upstreams {
            let form = Standing {
                body: serde_json::from_str(&body).unwrap(),
                revision: unsigned(revision),
                registration: Some(unsigned(registration)),
            };
            assert_eq!(form.body["address"], address.as_str(), "{service}/{id}");
            held.insert(format!("upstream/{service}/{id}"), form);
        }
        last = held;
        last == *standing
    };
    eventually("the tables hold what the log folds to", holds).await;
}

/// What a list shows of an object, as far as the log says it.
fn shown(item: &Value) -> (u64, Value) {
    let host = match &item["address"] {
        Value::String(address) => json!(address),
        _ => item["match"][0]["hosts"].clone(),
    };
    (item["revision"].as_u64().unwrap(), host)
}

/// Waits until a control plane shows what stands.
pub async fn shows(api: &Api, standing: &Objects) {
    let expected: BTreeMap<String, (u64, Value)> = standing
        .iter()
        .map(|(object, form)| {
            let mut body = form.body.clone();
            body["revision"] = json!(form.revision);
            (object.clone(), shown(&body))
        })
        .collect();
    eventually("a control plane shows what stands", async || {
        let mut found = BTreeMap::new();
        let services = api.get("/v1/services?limit=1000").await.expect(200);
        for service in services.body["items"].as_array().unwrap() {
            let name = service["name"].as_str().unwrap();
            found.insert(format!("service/{name}"), shown(service));
            let list = api.get(&format!("/v1/services/{name}/upstreams?limit=1000")).await;
            // It may be gone by now.
            for upstream in list.body["items"].as_array().into_iter().flatten() {
                let id = upstream["id"].as_str().unwrap();
                found.insert(format!("upstream/{name}/{id}"), shown(upstream));
            }
        }
        found == expected
    })
    .await;
}
