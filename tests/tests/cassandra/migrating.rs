//! How a keyspace comes to its schema.

use controlplane::store::cassandra::{Place, migrate_to};
use controlplane::store::{self, OpenError};
use migrations::Migration;
use uuid::Uuid;
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::cassandra::link::{Link, Mode};
use vulcan_tests::eventually;
use vulcan_tests::process::PATIENCE;

use super::{Eyes, place, the_node, url};

/// Every column of the schema: table, column, kind, position, type, clustering order.
const SCHEMA: &str = include_str!("schema.txt");

fn refusal<T>(outcome: Result<T, OpenError>) -> String {
    match outcome.err() {
        Some(OpenError::Refused(detail)) => detail,
        other => panic!("{other:?}"),
    }
}

async fn schema(eyes: &Eyes) -> String {
    type Column = (String, String, String, i32, String, String);
    let columns: Vec<Column> = eyes
        .see(
            "SELECT table_name, column_name, kind, position, type, clustering_order FROM system_schema.columns \
             WHERE keyspace_name = '{}'",
        )
        .await;
    let line = |(table, column, kind, position, of, order): &Column| {
        format!("{table} {column} {kind} {position} {of} {order}\n")
    };
    let mut lines: Vec<String> = columns.iter().map(line).collect();
    lines.sort();
    lines.concat()
}

#[tokio::test]
async fn five_that_start_at_once_make_one_store() {
    let store = url(&Cassandra::shared().store());
    let opened = futures_util::future::join_all((0..5).map(|_| store::open(&store))).await;
    let mut epochs = Vec::new();
    for log in opened {
        epochs.push(log.unwrap().load().await.unwrap().epoch);
    }
    assert!(epochs.windows(2).all(|pair| pair[0] == pair[1]), "{epochs:?}");
    let eyes = Eyes::on(&store.to_string()).await;
    let done: Vec<(i32, Option<String>)> = eyes.see("SELECT version, checksum FROM {}.schema_migrations").await;
    assert_eq!(done.len(), migrations::ALL.len());
    let held: Vec<(String,)> = eyes.see("SELECT name FROM {}.schema_lock").await;
    assert!(held.is_empty(), "the lock was given back");
    assert_eq!(schema(&eyes).await, SCHEMA);
    eyes.say("DROP KEYSPACE {}").await;
}

const GOOD: Migration = Migration {
    version: 1,
    name: "0001_trial",
    text: "CREATE TABLE IF NOT EXISTS a (k int PRIMARY KEY);\nCREATE TABLE IF NOT EXISTS b (k int PRIMARY KEY);",
};

const BAD: Migration = Migration {
    text: "CREATE TABLE IF NOT EXISTS a (k int PRIMARY KEY);\nCREATE TABLE IF NOT EXISTS b (k nothing PRIMARY KEY);",
    ..GOOD
};

#[tokio::test]
async fn a_migration_that_failed_is_gone_on_with() {
    let store = Cassandra::shared().store();
    let place: Place = place(&store);
    let told = refusal(migrate_to(&place, &[BAD]).await);
    assert!(
        told.contains("migration 0001_trial failed at statement 2 of 2"),
        "{told}"
    );
    let eyes = Eyes::on(&store).await;
    let progress = "SELECT statements, checksum, applied_at FROM {}.schema_migrations";
    type Progress = (i32, String, Option<scylla::value::CqlTimestamp>);
    let there: Vec<Progress> = eyes.see(progress).await;
    assert_eq!(there, [(1, BAD.checksum(), None)]);

    // The same version cannot go on with another text; whoever changed nothing can.
    let told = refusal(migrate_to(&place, &[GOOD]).await);
    assert!(told.contains("checksum"), "{told}");
    eyes.say(&format!(
        "UPDATE {{}}.schema_migrations SET checksum = '{}' WHERE version = 1",
        GOOD.checksum()
    ))
    .await;
    eyes.say("DROP TABLE {}.a").await;
    migrate_to(&place, &[GOOD]).await.unwrap();
    let tables: Vec<(String,)> = eyes
        .see("SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{}'")
        .await;
    let has = |name: &str| tables.iter().any(|(table,)| table == name);
    assert!(
        has("b") && !has("a"),
        "it begins with the statement that failed: {tables:?}"
    );
    assert!(eyes.see::<Progress>(progress).await[0].2.is_some());
    migrate_to(&place, &[GOOD]).await.unwrap();
    eyes.say("DROP KEYSPACE {}").await;
}

#[tokio::test]
async fn a_changed_migration_is_refused() {
    let store = Cassandra::shared().store();
    drop(store::open(&url(&store)).await.unwrap());
    let eyes = Eyes::on(&store).await;
    eyes.say("UPDATE {}.schema_migrations SET checksum = 'other' WHERE version = 2")
        .await;
    let told = refusal(store::open(&url(&store)).await);
    assert!(told.contains("migration 0002_state is not the one"), "{told}");
    assert!(told.contains(&store), "it names the store: {told}");
    eyes.say("DROP KEYSPACE {}").await;
}

#[tokio::test]
async fn a_lock_ends_with_its_holder() {
    let store = Cassandra::shared().store();
    migrate_to(&place(&store), &[]).await.unwrap();
    let eyes = Eyes::on(&store).await;
    // A control plane that died while it migrated, and whose lock has two seconds to go.
    eyes.say("INSERT INTO {}.schema_lock (name, holder) VALUES ('migrations', uuid()) IF NOT EXISTS USING TTL 2")
        .await;
    let log = store::open(&url(&store)).await.unwrap();
    assert_eq!(log.head().await, Ok(shared::change::Revision::ZERO));
}

#[tokio::test]
async fn a_lock_whose_answer_was_lost_is_ones_own() {
    let keyspace = vulcan_tests::cassandra::keyspace();
    let direct = format!("cassandra://{}/{keyspace}", the_node());
    migrate_to(&place(&direct), &[]).await.unwrap();
    let eyes = Eyes::on(&direct).await;
    let link = Link::to(the_node());
    link.set(Mode::DropLock);
    let opening = url(&format!("cassandra://{}/{keyspace}", link.address));
    let opening = tokio::spawn(async move { store::open(&opening).await.map(drop) });
    eventually("the lock is taken", async || link.dropped() > 0).await;
    // It does not end by itself as long as this test runs.
    let held: Vec<(Uuid,)> = eyes.see("SELECT holder FROM {}.schema_lock").await;
    eyes.say(&format!(
        "UPDATE {{}}.schema_lock USING TTL 3600 SET holder = {} WHERE name = 'migrations' IF EXISTS",
        held[0].0
    ))
    .await;
    link.set(Mode::Pass);
    let opened = tokio::time::timeout(PATIENCE, opening).await;
    opened.expect("it waits for itself").unwrap().unwrap();
}

#[tokio::test]
async fn a_store_stays_at_home() {
    let store = Cassandra::shared().store();
    drop(store::open(&url(&store)).await.unwrap());
    let mut elsewhere = place(&store);
    elsewhere.options.dc = Some("datacenter1".into());
    let told = refusal(store::open(&controlplane::StoreUrl::Cassandra(elsewhere.clone())).await);
    assert!(told.contains("start without --cassandra-dc"), "{told}");

    let mut home = place(&Cassandra::shared().store());
    home.options.dc = Some("datacenter1".into());
    home.options.replication = Some(1);
    let at_home = controlplane::StoreUrl::Cassandra(home.clone());
    let epoch = store::open(&at_home).await.unwrap().load().await.unwrap().epoch;
    assert_eq!(store::open(&at_home).await.unwrap().load().await.unwrap().epoch, epoch);
    home.options.dc = None;
    let told = refusal(store::open(&controlplane::StoreUrl::Cassandra(home)).await);
    assert!(told.contains("start with --cassandra-dc datacenter1"), "{told}");
}

#[tokio::test]
async fn a_replication_without_a_quorum_is_refused() {
    let mut place = place(&Cassandra::shared().store());
    place.options.replication = Some(9);
    let told = refusal(store::open(&controlplane::StoreUrl::Cassandra(place)).await);
    assert!(told.contains("no quorum could ever be reached"), "{told}");
}
