//! Three nodes of Cassandra, of which some stand still or are killed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod limits;
mod log;

use tokio::sync::{Mutex, MutexGuard, OnceCell};
use vulcan_tests::cassandra::Cassandra;

/// One test after another has them: each leaves all three serving.
async fn the_nodes() -> MutexGuard<'static, Cassandra> {
    static NODES: OnceCell<Mutex<Cassandra>> = OnceCell::const_new();
    let nodes = NODES.get_or_init(async || Mutex::new(Cassandra::start(3, &[]))).await;
    nodes.lock().await
}
