use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use serde_json::json;
use shared::snapshot::{self, Limits};
use shared::state::State;

use super::place::{Partial, place};
use super::print;
use crate::args::{Backup, Output};
use crate::client::Client;
use crate::columns;
use crate::failure::Failure;

pub fn run(args: Backup) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let place = args.file.as_deref().map(|file| place("--file", file)).transpose()?;
    let partial = Partial::beside(place.as_deref().unwrap_or(Path::new("vulcan.snapshot")))?;
    let mut writer = BufWriter::new(&partial.file);
    let bytes = client.download("/v1/snapshot", &mut writer)?;
    writer
        .into_inner()
        .map_err(|error| partial.failed(error.error()))?
        .sync_all()
        .map_err(|error| partial.failed(&error))?;
    let state = read(&partial.path)?;
    let default = || PathBuf::from(format!("vulcan-{}.snapshot", state.revision));
    let file = place.unwrap_or_else(default);
    partial.put(&file)?;
    let shown = file.display().to_string();
    match args.remote.output {
        Output::Json => {
            let body = json!({
                "file": shown, "bytes": bytes, "objects": state.objects.len(),
                "revision": state.revision, "epoch": state.epoch, "digest": state.digest,
            });
            print(&body.to_string())?;
        }
        Output::Table => print(&row(&shown, &state))?,
    }
    Ok(())
}

fn row(file: &str, state: &State) -> String {
    let cells = [
        file.to_owned(),
        state.revision.to_string(),
        state.epoch.to_string(),
        state.digest.to_string(),
    ];
    columns::render(&["FILE", "REVISION", "EPOCH", "DIGEST"], &[cells.to_vec()])
}

/// A backup, read to its end: its count and its digest are right.
pub fn read(path: &Path) -> Result<State, Failure> {
    let read = File::open(path)
        .map_err(snapshot::SnapshotError::Io)
        .and_then(|file| snapshot::read(file, Limits::default()));
    read.map_err(|error| Failure::refused(format!("{}: {error}", path.display())))
}
