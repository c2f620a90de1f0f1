use ::controlplane::restore;
use shared::change::Epoch;

use super::{backup, print, with_options};
use crate::args::Restore;
use crate::columns;
use crate::failure::Failure;

pub fn run(args: Restore) -> Result<(), Failure> {
    let Restore {
        file,
        store,
        succeed,
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
    let row = [
        store.to_string(),
        restored.revision.to_string(),
        restored.epoch.to_string(),
        restored.digest.to_string(),
        succeed.map_or_else(|| "-".to_owned(), |epoch| epoch.to_string()),
    ];
    let heading = ["STORE", "REVISION", "EPOCH", "DIGEST", "SUCCEEDS"];
    print(&columns::render(&heading, &[row.to_vec()]))?;
    Ok(())
}
