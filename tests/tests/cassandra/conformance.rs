//! The suite that every engine passes.

use std::sync::Arc;

use controlplane::store::conformance::{CASES, CELL_CASES, Medium};
use controlplane::store::{self, Log};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::{Store, url};

struct Keyspace(Store);

impl Medium for Keyspace {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Log>> {
        async { store::open(&url(&self.0.url())).await.unwrap() }.boxed()
    }
}

#[tokio::test]
async fn cassandra_conforms() {
    for (name, case) in CASES.into_iter().chain(CELL_CASES) {
        println!("{name}");
        case(&Keyspace(Store::empty().await)).await;
    }
}
