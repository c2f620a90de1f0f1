//! The store on a real Cassandra, which the tests of this binary share.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod away;
mod cells;
mod conformance;
mod contended;
mod migrating;
mod outcomes;
mod pair;
mod restoring;
mod secured;
mod tables;
mod tail;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use controlplane::StoreUrl;
use controlplane::store::cassandra::Place;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::DeserializeRow;
use shared::change::{Body, Commit, Kind, Op, OpId, Revision, Verb};
use uuid::Uuid;
use vulcan_tests::cassandra::Cassandra;

fn url(store: &str) -> StoreUrl {
    store.parse().unwrap()
}

fn place(store: &str) -> Place {
    match url(store) {
        StoreUrl::Cassandra(place) => place,
        StoreUrl::Redb(_) => panic!("{store}"),
    }
}

/// Looks at a store as a person would.
struct Eyes {
    session: Session,
    keyspace: String,
}

impl Eyes {
    async fn on(store: &str) -> Eyes {
        let Place { contacts, keyspace, .. } = place(store);
        let session = SessionBuilder::new().known_nodes(contacts).build().await.unwrap();
        Eyes { session, keyspace }
    }

    /// Runs a statement; `{}` in it stands for the keyspace.
    async fn say(&self, text: &str) {
        let text = text.replace("{}", &self.keyspace);
        self.session.query_unpaged(text, ()).await.unwrap();
    }

    async fn see<T>(&self, text: &str) -> Vec<T>
    where
        T: for<'frame, 'metadata> DeserializeRow<'frame, 'metadata>,
    {
        let text = text.replace("{}", &self.keyspace);
        let result = self.session.query_unpaged(text, ()).await.unwrap();
        let rows = result.into_rows_result().unwrap();
        rows.rows::<T>().unwrap().map(Result::unwrap).collect()
    }
}

fn put(kind: &str, key: &str, body: &str) -> Op {
    Op {
        verb: Verb::Put,
        kind: Kind::from(kind),
        key: key.into(),
        body: Some(Body::from_json(body).unwrap()),
        registration: None,
        before: None,
    }
}

fn delete(kind: &str, key: &str) -> Op {
    Op {
        verb: Verb::Delete,
        body: None,
        ..put(kind, key, "0")
    }
}

fn commit(revision: u64, ops: Vec<Op>) -> Commit {
    Commit {
        revision: Revision(revision),
        at_ms: 1_700_000_000_000,
        actor: "test".into(),
        op_id: OpId(Uuid::new_v4()),
        ops,
    }
}

fn the_node() -> &'static str {
    let contacts = &Cassandra::shared().contacts;
    contacts.split(',').next().unwrap()
}

/// What one test after another used: a new keyspace takes as long as many a test.
static USED: Mutex<Vec<(Instant, String)>> = Mutex::new(Vec::new());

/// Whoever used it before has let go of it by then.
const LET_GO: Duration = Duration::from_secs(2);

const TABLES: [&str; 11] = [
    "changes",
    "meta",
    "services",
    "upstreams",
    "limits",
    "authorizers",
    "members",
    "others",
    "control_planes",
    "limit_claims",
    "limit_ledger",
];

/// An empty store of a test's own.
struct Store {
    keyspace: String,
}

impl Store {
    async fn empty() -> Store {
        let used = {
            let mut used = USED.lock().unwrap();
            let free = used.iter().position(|(since, _)| since.elapsed() > LET_GO);
            free.map(|index| used.swap_remove(index).1)
        };
        let Some(keyspace) = used else {
            let keyspace = vulcan_tests::cassandra::keyspace();
            return Store { keyspace };
        };
        let store = Store { keyspace };
        let eyes = Eyes::on(&store.url()).await;
        for table in TABLES {
            eyes.say(&format!("TRUNCATE {{}}.{table}")).await;
        }
        store
    }

    fn url(&self) -> String {
        self.at(the_node())
    }

    /// The same store, by another way to its node.
    fn at(&self, node: impl std::fmt::Display) -> String {
        format!("cassandra://{node}/{}", self.keyspace)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        USED.lock().unwrap().push((Instant::now(), self.keyspace.clone()));
    }
}
