use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use serde_json::json;
use shared::snapshot::{self, Limits};
use shared::state::State;

use super::place::place;
use super::print;
use crate::args::{Backup, Output};
use crate::client::Client;
use crate::columns;
use crate::failure::Failure;

pub fn run(args: Backup) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let place = args.file.as_deref().map(|file| place("--file", file)).transpose()?;
    let partial = Partial::beside(place.as_deref())?;
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

/// A file that is not known to be whole yet. It goes when it is not put in its place.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn beside(file: Option<&Path>) -> Result<Partial, Failure> {
        let name = file
            .and_then(Path::file_name)
            .map(|name| name.to_string_lossy().into_owned());
        if file.is_some() && name.is_none() {
            return Err(Failure::usage("--file names no file"));
        }
        let name = name.unwrap_or_else(|| "vulcan.snapshot".to_owned());
        let directory = file.and_then(Path::parent).unwrap_or(Path::new(""));
        let path = directory.join(format!("{name}.{}.partial", std::process::id()));
        let file = File::create_new(&path);
        let file = file.map_err(|error| Failure::refused(format!("{}: {error}", path.display())))?;
        Ok(Partial { path, file })
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        Failure::refused(format!("{}: {error}", self.path.display()))
    }

    fn put(self, at: &Path) -> Result<(), Failure> {
        fs::rename(&self.path, at).map_err(|error| self.failed(&error))?;
        let directory = match at.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| Failure::refused(format!("{}: {error}", directory.display())))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is gone when it was renamed.
        let _ = fs::remove_file(&self.path);
    }
}
