//! The suite that every engine passes.

use std::sync::Arc;

use controlplane::StoreUrl;
use controlplane::store::conformance::{CASES, Medium};
use controlplane::store::{self, Log};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use vulcan_tests::cassandra::Cassandra;

struct Keyspace(StoreUrl);

impl Medium for Keyspace {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Log>> {
        async { store::open(&self.0).await.unwrap() }.boxed()
    }
}

#[tokio::test]
async fn cassandra_conforms() {
    for (name, case) in CASES {
        println!("{name}");
        case(&Keyspace(Cassandra::shared().store().parse().unwrap())).await;
    }
}
