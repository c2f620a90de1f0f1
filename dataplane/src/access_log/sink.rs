//! Where the lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use memchr::{memchr_iter, memrchr};
use net::said::Said;

use super::Target;

/// `PIPE_BUF`: so much is written to a pipe as a whole. What other parts of the process write there comes before or behind.
const WHOLE_BYTES_MAX: usize = 4096;

pub(super) struct Sink {
    target: Target,
    file: File,
    /// The last write ended within a line.
    is_torn: bool,
    said: Said<Option<io::ErrorKind>>,
}

impl Sink {
    pub fn open(target: Target) -> io::Result<Sink> {
        let file = match &target {
            Target::File(path) => append(path)?,
            // A handle of its own: who is stuck on a full pipe holds no lock on stdout.
            Target::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        };
        Ok(Sink::of(target, file))
    }

    pub(super) fn of(target: Target, file: File) -> Sink {
        Sink {
            target,
            file,
            is_torn: false,
            said: Said::default(),
        }
    }

    /// The file of that name, as it is now; the one before stays in use if that cannot be opened.
    pub fn reopen(&mut self) {
        let Target::File(path) = &self.target else { return };
        match append(path) {
            Ok(file) => {
                self.file = file;
                self.is_torn = false;
                tracing::info!(file = %path.display(), "the access log is reopened");
            }
            Err(error) => tracing::error!(%error, file = %path.display(), "the access log cannot be reopened"),
        }
    }

    /// `lines`: whole ones, of `WHOLE_BYTES_MAX` at most. Says how many could not be written.
    pub fn write(&mut self, lines: &[u8]) -> u64 {
        let mut rest = lines;
        while !rest.is_empty() {
            let some = match self.target {
                Target::File(_) => rest.len(),
                Target::Stdout => whole(rest),
            };
            if let Err(error) = self.write_some(&rest[..some]) {
                if self.said.is_news("access log", Some(error.kind()), Instant::now()) {
                    tracing::error!(%error, "the access log cannot be written");
                }
                return memchr_iter(b'\n', rest).count() as u64;
            }
            rest = &rest[some..];
        }
        0
    }

    /// A line that was cut is ended before the next, so that it spoils no other.
    fn write_some(&mut self, mut lines: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.write_all(b"\n")?;
            self.is_torn = false;
        }
        while !lines.is_empty() {
            match self.file.write(lines) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    self.is_torn = lines[bytes - 1] != b'\n';
                    lines = &lines[bytes..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Of so many bytes as are written as a whole, up to the end of a line.
fn whole(lines: &[u8]) -> usize {
    let first = &lines[..lines.len().min(WHOLE_BYTES_MAX)];
    memrchr(b'\n', first).map_or(first.len(), |end| end + 1)
}

/// Others of its group may read it.
fn append(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_gets_whole_lines() {
        let line = format!("{}\n", "x".repeat(999));
        assert_eq!(whole(line.repeat(3).as_bytes()), 3_000);
        assert_eq!(whole(line.repeat(7).as_bytes()), 4_000);
    }

    #[test]
    fn a_pipe_that_nobody_reads_any_more_is_counted_line_by_line() {
        let (reader, writer) = io::pipe().unwrap();
        let mut sink = Sink::of(Target::Stdout, File::from(std::os::fd::OwnedFd::from(writer)));
        assert_eq!(sink.write(b"a\nb\n"), 0);
        drop(reader);
        assert_eq!(sink.write(b"c\nd\n"), 2);
    }

    #[test]
    fn a_full_disk_is_counted_line_by_line() {
        let mut sink = Sink::open(Target::File("/dev/full".into())).unwrap();
        assert_eq!(sink.write(b"a\nb\nc\n"), 3);
        assert_eq!(sink.write(b"d\n"), 1);
    }
}
