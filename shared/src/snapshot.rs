//! The one snapshot format, for the wire, a proxy's disk and backups: NDJSON under zstd. A header, every object in the
//! order of its key, a trailer with their count and the digest. Each line is an object named by its only key.

mod error;
mod line;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};

use zstd::stream::{read::Decoder, write::Encoder};

pub use error::{Exceeded, SnapshotError};

use crate::change::Revision;
use crate::state::{Object, State};
use line::{Header, Line, ObjectLine, Source, Trailer};

/// What this version writes and reads.
pub const FORMAT: u32 = 1;

/// The fastest level: figures show a tenth of the size at 1 ms per megabyte, and no more to gain.
const LEVEL: i32 = 1;

/// Decompressing must not cost more memory than that, whatever a frame asks for: 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// How much of a state a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// With the roster and the successions: a store's backup.
    Whole,
    /// What proxies live on; its revision is the configured one.
    Configuration,
}

/// Bounds on what is read, all of them on decompressed data.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub bytes: u64,
    pub objects: u64,
    pub line_bytes: u64,
}

impl Default for Limits {
    /// Ten times the largest fleet that was measured; a line is longer than the largest revision.
    fn default() -> Limits {
        Limits {
            bytes: 2 << 30,
            objects: 10_000_000,
            line_bytes: 2 << 20,
        }
    }
}

/// Writes `state`, compressed and with a checksum; nothing is buffered beyond a block.
pub fn write(state: &State, scope: Scope, to: impl Write) -> io::Result<()> {
    let mut encoder = Encoder::new(to, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut lines = BufWriter::with_capacity(64 << 10, encoder);
    let revision = match scope {
        Scope::Whole => state.revision,
        Scope::Configuration => state.configured,
    };
    let header = Header {
        format: FORMAT,
        epoch: state.epoch,
        revision,
        configured: state.configured,
    };
    put(&mut lines, &Line::Header(header))?;
    let mut count = 0;
    let within = |(key, _): &(&crate::change::ObjectKey, _)| scope == Scope::Whole || key.kind.is_configuration();
    for (key, object) in state.objects.iter().filter(within) {
        put(&mut lines, &Line::Object(ObjectLine::of(key, object)))?;
        count += 1;
    }
    put(
        &mut lines,
        &Line::Trailer(Trailer {
            count,
            digest: state.digest,
        }),
    )?;
    lines.into_inner()?.finish()?.flush()
}

fn put(lines: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *lines, line)?;
    lines.write_all(b"\n")
}

/// Reads one snapshot to its end and vouches for it: the order of the objects, their count and the digest.
pub fn read(from: impl Read, limits: Limits) -> Result<State, SnapshotError> {
    let mut source = Source::new(from);
    let state = Decoder::new(&mut source)
        .map_err(SnapshotError::of_decoder)
        .and_then(|mut decoder| {
            decoder
                .window_log_max(WINDOW_LOG_MAX)
                .map_err(SnapshotError::of_decoder)?;
            let bytes = BufReader::with_capacity(64 << 10, decoder.take(limits.bytes.saturating_add(1)));
            Lines {
                bytes,
                limits,
                number: 0,
                read: 0,
                buffer: Vec::new(),
            }
            .state()
        });
    // The decoder cannot tell its own errors from those of what it reads.
    match source.failed() {
        Some(error) => Err(SnapshotError::Io(error)),
        None => state,
    }
}

struct Lines<R> {
    bytes: R,
    limits: Limits,
    /// Of the line read last, from 1.
    number: u64,
    read: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn state(mut self) -> Result<State, SnapshotError> {
        let header = match self.next()? {
            Some(Line::Header(header)) => header,
            Some(_) => return Err(self.corrupt("the first line is no header")),
            None => return Err(SnapshotError::Truncated),
        };
        if header.format != FORMAT {
            return Err(SnapshotError::Format(header.format));
        }
        if header.configured > header.revision {
            return Err(self.corrupt("configured is after revision"));
        }
        let mut state = State::empty(header.epoch);
        (state.revision, state.configured) = (header.revision, header.configured);
        let trailer = loop {
            match self.next()? {
                Some(Line::Object(line)) => self.object(line, &mut state)?,
                Some(Line::Trailer(trailer)) => break trailer,
                Some(Line::Header(_)) => return Err(self.corrupt("a second header")),
                None => return Err(SnapshotError::Truncated),
            }
        };
        if self.next()?.is_some() {
            return Err(self.corrupt("a line after the trailer"));
        }
        verify(&state, &trailer)?;
        Ok(state)
    }

    fn object(&self, line: ObjectLine, state: &mut State) -> Result<(), SnapshotError> {
        if state.objects.len() as u64 >= self.limits.objects {
            return Err(SnapshotError::TooLarge(Exceeded::Objects(self.limits.objects)));
        }
        let (key, object): (_, Object) = line.into_object();
        if state.objects.get_max().is_some_and(|(last, _)| *last >= key) {
            return Err(self.corrupt("the objects are not in the order of their keys"));
        }
        if latest(&object) > state.revision {
            return Err(self.corrupt("an object is newer than the snapshot"));
        }
        state.replace(key, Some(object));
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Line>, SnapshotError> {
        self.buffer.clear();
        let most = self.limits.line_bytes;
        let mut line = self.bytes.by_ref().take(most.saturating_add(1));
        let length = line
            .read_until(b'\n', &mut self.buffer)
            .map_err(SnapshotError::of_decoder)? as u64;
        self.number += 1;
        self.read += length;
        if self.read > self.limits.bytes {
            return Err(SnapshotError::TooLarge(Exceeded::Bytes(self.limits.bytes)));
        }
        if length > most {
            return Err(SnapshotError::TooLarge(Exceeded::Line(most)));
        }
        match self.buffer.split_last() {
            None => Ok(None),
            Some((b'\n', line)) => serde_json::from_slice(line)
                .map(Some)
                .map_err(|error| self.corrupt(error)),
            Some(_) => Err(SnapshotError::Truncated),
        }
    }

    fn corrupt(&self, detail: impl ToString) -> SnapshotError {
        SnapshotError::Corrupt {
            line: self.number,
            detail: detail.to_string(),
        }
    }
}

fn latest(object: &Object) -> Revision {
    object.revision.max(object.registration.unwrap_or(Revision::ZERO))
}

fn verify(state: &State, trailer: &Trailer) -> Result<(), SnapshotError> {
    let found = state.objects.len() as u64;
    if found != trailer.count {
        return Err(SnapshotError::Count {
            said: trailer.count,
            found,
        });
    }
    if state.digest != trailer.digest {
        return Err(SnapshotError::Digest {
            said: trailer.digest,
            found: state.digest,
        });
    }
    Ok(())
}
