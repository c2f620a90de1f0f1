use ::controlplane::restore;
use serde_json::json;
use shared::change::Epoch;

use super::{backup, print, with_options};
use crate::args::{Output, Restore};
use crate::client::plain;
use crate::columns;
use crate::failure::Failure;

pub fn run(args: Restore) -> Result<(), Failure> {
    let Restore {
        file,
        store,
        succeed,
        output,
        cassandra,
    } = args;
    let store = with_options(store, &cassandra)?;
    let snapshot = backup::read(&file)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::refused)?;
    let restored = runtime.block_on(restore::restore(&store, snapshot, succeed.map(Epoch)));
    let restored = restored.map_err(Failure::refused)?;
    let body = json!({
        "store": store.to_string(), "revision": restored.revision, "epoch": restored.epoch, "digest": restored.digest,
        "succeeds": succeed,
    });
    match output {
        Output::Json => print(&body.to_string())?,
        Output::Table => {
            let row = ["store", "revision", "epoch", "digest", "succeeds"].map(|name| plain(&body[name]));
            let heading = ["STORE", "REVISION", "EPOCH", "DIGEST", "SUCCEEDS"];
            print(&columns::render(&heading, &[row.to_vec()]))?;
        }
    }
    Ok(())
}
