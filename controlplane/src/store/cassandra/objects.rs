//! What stands, in tables that people read: one row an object, each write with its revision as timestamp.

use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlValue;
use serde_json::Value;
use shared::change::{Kind, ObjectKey, Op, Revision, Verb};
use shared::model::{Upstream, UpstreamState, parse_size};
use uuid::Uuid;

use super::client::Client;
use super::failure::Failure;
use super::numbers::stored;

/// Partitions of the tables that are listed as a whole.
const SHARDS: u32 = 16;

type Values = Vec<Option<CqlValue>>;

pub struct Objects {
    services: Pair,
    authorizers: Pair,
    members: Pair,
    upstreams: Pair,
    limits: Pair,
    others: Pair,
}

/// How a row is written and how it is deleted; the key's columns are the last of the one and all of the other.
struct Pair {
    put: PreparedStatement,
    delete: PreparedStatement,
}

/// Where an object has its row. By the name of its kind and its key alone: every version finds it at the same place,
/// also one that does not know the kind.
#[derive(Debug, PartialEq, Eq)]
pub enum Row<'a> {
    Service(&'a str),
    Authorizer(&'a str),
    Member(&'a str),
    Upstream { service: &'a str, id: &'a str },
    Limit(Uuid),
    Other { kind: &'a str, key: &'a str },
}

impl Row<'_> {
    pub fn of(object: &ObjectKey) -> Row<'_> {
        let (kind, key) = (object.kind.as_str(), &*object.key);
        match kind {
            "service" => Row::Service(key),
            "authorizer" => Row::Authorizer(key),
            "member" => Row::Member(key),
            "upstream" => match key.split_once('/') {
                Some((service, id)) => Row::Upstream { service, id },
                None => Row::Other { kind, key },
            },
            "limit" => match key.parse() {
                Ok(id) => Row::Limit(id),
                Err(_) => Row::Other { kind, key },
            },
            _ => Row::Other { kind, key },
        }
    }

    fn key(&self) -> Values {
        match *self {
            Row::Service(name) | Row::Authorizer(name) | Row::Member(name) => vec![shard(name), text(name)],
            Row::Upstream { service, id } => vec![text(service), text(id)],
            Row::Limit(id) => vec![Some(CqlValue::Uuid(id))],
            Row::Other { kind, key } => vec![shard(key), text(kind), text(key)],
        }
    }

    /// The columns that repeat parts of the body; empty where this version does not understand it.
    fn details(&self, body: &str, registration: Revision) -> Values {
        match self {
            Row::Upstream { service, id } => {
                let upstream = Upstream::parse(service, id, body).ok();
                let upstream = upstream.as_ref();
                let state = upstream.map(|upstream| match upstream.state {
                    UpstreamState::Active => "active",
                    UpstreamState::Draining => "draining",
                });
                vec![
                    Some(CqlValue::BigInt(stored(registration))),
                    upstream.and_then(|upstream| text(upstream.address.as_str())),
                    upstream.map(|upstream| CqlValue::Int(i32::from(upstream.weight))),
                    state.and_then(text),
                ]
            }
            Row::Limit(_) => limit(&serde_json::from_str(body).unwrap_or_default()),
            _ => Vec::new(),
        }
    }
}

/// Absent members are at their defaults.
fn limit(body: &Value) -> Values {
    let data_size = parse_size(&body["data_size"])
        .ok()
        .and_then(|size| i64::try_from(size).ok());
    let pattern = |name: &str| text(body[name].as_str().unwrap_or(".*"));
    let number = |name: &str| body[name].as_i64();
    vec![
        pattern("auth_token"),
        pattern("protocol"),
        pattern("method"),
        pattern("path"),
        Some(CqlValue::BigInt(data_size.unwrap_or(0))),
        i32::try_from(number("period").unwrap_or(60)).ok().map(CqlValue::Int),
        number("threshold").map(CqlValue::BigInt),
    ]
}

fn text(text: &str) -> Option<CqlValue> {
    Some(CqlValue::Text(text.to_owned()))
}

/// FNV-1a: it has to stay as it is for as long as there are stores.
fn shard(key: &str) -> Option<CqlValue> {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    i32::try_from(hash % SHARDS).ok().map(CqlValue::Int)
}

impl Objects {
    pub async fn prepare(client: &Client) -> Result<Objects, Failure> {
        let named = ["shard", "name"];
        let upstream = ["registration", "address", "weight", "state"];
        let limit = [
            "auth_token",
            "protocol",
            "method",
            "path",
            "data_size",
            "period",
            "threshold",
        ];
        Ok(Objects {
            services: Pair::prepare(client, "services", &[], &named).await?,
            authorizers: Pair::prepare(client, "authorizers", &[], &named).await?,
            members: Pair::prepare(client, "members", &[], &named).await?,
            upstreams: Pair::prepare(client, "upstreams", &upstream, &["service", "id"]).await?,
            limits: Pair::prepare(client, "limits", &limit, &["id"]).await?,
            others: Pair::prepare(client, "others", &[], &["shard", "kind", "key"]).await?,
        })
    }

    /// Brings one operation of `revision` into the tables. Idempotent, and without effect once a later one is there.
    pub async fn write(&self, client: &Client, op: &Op, revision: Revision) -> Result<(), Failure> {
        let object = op.object();
        let row = Row::of(&object);
        let pair = match row {
            Row::Service(_) => &self.services,
            Row::Authorizer(_) => &self.authorizers,
            Row::Member(_) => &self.members,
            Row::Upstream { .. } => &self.upstreams,
            Row::Limit(_) => &self.limits,
            Row::Other { .. } => &self.others,
        };
        let at = Some(CqlValue::BigInt(stored(revision)));
        match (op.verb, &op.body) {
            (Verb::Put, Some(body)) => {
                let mut values = vec![at.clone(), text(body.as_str())];
                values.extend(row.details(body.as_str(), op.registered(revision)));
                values.extend(row.key());
                values.push(at);
                client.run(&pair.put, values).await?;
            }
            _ => {
                let mut values = vec![at];
                values.extend(row.key());
                client.run(&pair.delete, values).await?;
            }
        }
        Ok(())
    }
}

impl Pair {
    async fn prepare(client: &Client, table: &str, details: &[&str], key: &[&str]) -> Result<Pair, Failure> {
        let columns = [&["revision", "body"], details, key].concat();
        let marks = vec!["?"; columns.len()].join(", ");
        let put = format!(
            "INSERT INTO {{keyspace}}.{table} ({}) VALUES ({marks}) USING TIMESTAMP ?",
            columns.join(", ")
        );
        let key: Vec<String> = key.iter().map(|column| format!("{column} = ?")).collect();
        let delete = format!(
            "DELETE FROM {{keyspace}}.{table} USING TIMESTAMP ? WHERE {}",
            key.join(" AND ")
        );
        Ok(Pair {
            put: client.prepare(&put).await?,
            delete: client.prepare(&delete).await?,
        })
    }
}

/// The object that a row of `table` is of, from its key's columns.
pub fn object(kind: Kind, key: &str) -> ObjectKey {
    ObjectKey { kind, key: key.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_its_row() {
        let row = |kind: &str, key: &str| format!("{:?}", Row::of(&object(Kind::from(kind), key)));
        assert_eq!(row("service", "web"), "Service(\"web\")");
        assert_eq!(
            row("upstream", "web/[::1]:80"),
            "Upstream { service: \"web\", id: \"[::1]:80\" }"
        );
        let id = "5b1f7c0e-0000-4000-8000-000000000001";
        assert_eq!(row("limit", id), format!("Limit({id})"));
        assert_eq!(row("limit", "x"), "Other { kind: \"limit\", key: \"x\" }");
        assert_eq!(row("of-tomorrow", "x"), "Other { kind: \"of-tomorrow\", key: \"x\" }");
    }

    #[test]
    fn a_name_stays_in_its_shard() {
        // The hash's published values of these are 811c9dc5, e40c292c and bf9cf968.
        assert_eq!(
            ["", "a", "foobar"].map(shard),
            [5, 12, 8].map(|shard| Some(CqlValue::Int(shard)))
        );
    }

    #[test]
    fn the_columns_of_a_limit_stand_for_its_defaults_too() {
        let columns = limit(&serde_json::json!({"path": "/x", "data_size": "10MB", "threshold": 5_000_000_000_i64}));
        let any = text(".*");
        assert_eq!(
            columns,
            [
                any.clone(),
                any.clone(),
                any,
                text("/x"),
                Some(CqlValue::BigInt(10_000_000)),
                Some(CqlValue::Int(60)),
                Some(CqlValue::BigInt(5_000_000_000))
            ]
        );
    }
}
