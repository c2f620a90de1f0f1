use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use http::Method;

use super::place::{Partial, place};
use crate::args::{Export, Format};
use crate::client::Client;
use crate::document;
use crate::failure::Failure;

const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(args: Export) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let place = args.into.as_deref().map(|file| place("-o", file)).transpose()?;
    let by_name = args.into.as_deref().and_then(document::format_of);
    let format = args.format.or(by_name).unwrap_or(Format::Json);
    let answer = client.call(Method::GET, "/v1/snapshot", PATIENCE)?;
    let text = document::print(&answer.body, format).map_err(Failure::refused)?;
    match place.as_deref() {
        None => match io::stdout().lock().write_all(text.as_bytes()) {
            // A reader that closed the pipe has seen enough.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::refused(error)),
            _ => Ok(()),
        },
        Some(file) => replace(file, &text),
    }
}

fn replace(file: &Path, text: &str) -> Result<(), Failure> {
    let partial = Partial::beside(file)?;
    let written = (&partial.file)
        .write_all(text.as_bytes())
        .and_then(|()| partial.file.sync_all());
    written.map_err(|error| partial.failed(&error))?;
    partial.put(file)
}
