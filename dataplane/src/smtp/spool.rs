//! A message while it comes, and until an upstream has it: in memory while it is small and there are few, else in a file
//! without a name, which is gone when the process is, however it ends.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::outflow::{Content, Outflow};
use super::strip::Strip;

/// A message of up to so many bytes stays in memory.
const MEMORY_BYTES_MAX: usize = 256 * 1024;
/// What one of a larger one takes, besides its file.
const CHUNK_BYTES: usize = 64 * 1024;
/// Of the beginning of every message, for whoever wants to look at its head.
const START_BYTES: usize = 16 * 1024;

/// Of all messages of one worker that are in memory. Beyond that each keeps what it has in its file.
const ALL_BYTES_MAX: usize = 32 << 20;

/// What the messages of one worker take of its memory.
#[derive(Clone, Default)]
pub struct Memory(Rc<Cell<usize>>);

impl Memory {
    fn is_scarce(&self) -> bool {
        self.0.get() > ALL_BYTES_MAX
    }
}

/// One message's part of it, until it is dropped.
struct Share {
    of: Memory,
    bytes: usize,
}

impl Share {
    fn set(&mut self, bytes: usize) {
        let all = &self.of.0;
        all.set(all.get() - self.bytes + bytes);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

pub struct Spool {
    share: Share,
    /// Where its file is made, if it needs one.
    directory: PathBuf,
    bytes_max: u64,
    /// Bytes that have come.
    len: u64,
    digest: Sha256,
    strip: Strip,
    /// What is kept of them and in no file.
    held: Vec<u8>,
    start: Option<Bytes>,
    file: Option<File>,
    filed: u64,
}

/// No fewer than 100 (RFC 5321, 6.3).
const HOPS_MAX: u32 = 100;

#[derive(Debug)]
pub enum SpoolError {
    /// There were more bytes than there may be.
    TooLarge,
    /// It goes in circles (RFC 5321, 6.3).
    Loops,
    /// There is no room for them; what there was of them is gone.
    Full(io::Error),
}

/// A whole message, without what it said in our name.
#[derive(Clone)]
pub struct Spooled {
    content: Content,
    _share: Rc<Share>,
    start: Bytes,
    len: u64,
    digest: [u8; 32],
}

impl Spool {
    pub fn new(memory: &Memory, directory: &Path, bytes_max: u64) -> Spool {
        Spool {
            share: Share {
                of: memory.clone(),
                bytes: 0,
            },
            directory: directory.to_owned(),
            bytes_max,
            len: 0,
            digest: Sha256::new(),
            strip: Strip::default(),
            held: Vec::new(),
            start: None,
            file: None,
            filed: 0,
        }
    }

    /// The message's next bytes, as they are without the dots that were added for transport (RFC 5321, 4.5.2).
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        for part in bytes.chunks(CHUNK_BYTES) {
            self.len += part.len() as u64;
            if self.len > self.bytes_max {
                return Err(SpoolError::TooLarge);
            }
            self.digest.update(part);
            self.strip.pass(part, &mut self.held);
            self.share.set(self.held.len());
            let most = match &self.file {
                _ if self.share.of.is_scarce() => START_BYTES,
                Some(_) => CHUNK_BYTES,
                None => MEMORY_BYTES_MAX,
            };
            if self.held.len() > most {
                self.put_by().await.map_err(SpoolError::Full)?;
                self.share.set(0);
            }
        }
        Ok(())
    }

    pub async fn finish(mut self) -> Result<Spooled, SpoolError> {
        if self.strip.hops() > HOPS_MAX {
            return Err(SpoolError::Loops);
        }
        std::mem::take(&mut self.strip).finish(&mut self.held);
        if self.file.is_some() && !self.held.is_empty() {
            self.put_by().await.map_err(SpoolError::Full)?;
        }
        self.share.set(self.held.len());
        let content = match self.file {
            None => Content::Memory(self.held.into()),
            Some(file) => Content::File {
                file: Arc::new(file),
                len: self.filed,
            },
        };
        Ok(Spooled {
            start: match (self.start, &content) {
                (Some(start), _) => start,
                (None, Content::Memory(whole)) => whole.slice(..whole.len().min(START_BYTES)),
                (None, Content::File { .. }) => Bytes::new(),
            },
            content,
            _share: Rc::new(self.share),
            len: self.len,
            digest: self.digest.finalize().into(),
        })
    }

    /// Writes to the file what is held, on a thread that may wait for a disk.
    async fn put_by(&mut self) -> io::Result<()> {
        if self.start.is_none() {
            self.start = Some(Bytes::copy_from_slice(&self.held[..self.held.len().min(START_BYTES)]));
        }
        let (held, file) = (std::mem::take(&mut self.held), self.file.take());
        let directory = self.directory.clone();
        let writing = spawn_blocking(move || {
            let mut file = match file {
                Some(file) => file,
                None => tempfile::tempfile_in(directory)?,
            };
            file.write_all(&held)?;
            io::Result::Ok((file, held))
        });
        let (file, mut held) = writing.await.map_err(io::Error::other)??;
        self.file = Some(file);
        self.filed += held.len() as u64;
        held.clear();
        held.shrink_to(2 * CHUNK_BYTES);
        self.held = held;
        Ok(())
    }
}

impl Spooled {
    /// Bytes, as received.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// SHA-256 of the bytes as received.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The beginning of what is kept, at most 16 KiB.
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// What is kept, for one attempt, between these bytes of a request's body.
    pub fn body(&self, before: Bytes, after: Bytes) -> Outflow {
        Outflow::new(before, self.content.clone(), after)
    }
}

#[cfg(test)]
pub mod tests {
    use http_body_util::BodyExt;

    use super::*;

    impl Spool {
        /// Into a file that is there.
        pub fn onto(file: File) -> Spool {
            let mut spool = Spool::new(&Memory::default(), Path::new("unused"), u64::MAX);
            spool.file = Some(file);
            spool
        }
    }

    pub async fn spooled(message: &[u8]) -> Spooled {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(&Memory::default(), directory.path(), u64::MAX);
        spool.write(message).await.unwrap();
        spool.finish().await.unwrap()
    }

    #[tokio::test]
    async fn what_goes_in_circles_is_not_kept() {
        for (hops, is_kept) in [(100, true), (101, false)] {
            let mut spool = Spool::new(&Memory::default(), Path::new("unused"), u64::MAX);
            let head = "Received: by here; then\r\n".repeat(hops);
            spool.write(head.as_bytes()).await.unwrap();
            match spool.finish().await {
                Ok(_) => assert!(is_kept),
                Err(error) => assert!(!is_kept && matches!(error, SpoolError::Loops), "{error:?}"),
            }
        }
    }

    /// However many clients leave however much half sent.
    #[tokio::test]
    async fn all_messages_together_have_so_much_memory() {
        const MESSAGE: usize = 200_000;
        let (memory, directory) = (Memory::default(), tempfile::tempdir().unwrap());
        let mut spools = Vec::new();
        for _ in 0..500 {
            let mut spool = Spool::new(&memory, directory.path(), u64::MAX);
            for part in [b'x'; MESSAGE].chunks(10_000) {
                spool.write(part).await.unwrap();
            }
            spools.push(spool);
        }
        let filed = spools.iter().filter(|spool| spool.file.is_some()).count();
        assert!((300..400).contains(&filed), "{filed}");
        assert!(memory.0.get() <= ALL_BYTES_MAX + MESSAGE, "{}", memory.0.get());
        let kept = spools.pop().unwrap().finish().await.unwrap();
        assert_eq!(contents(&kept).await.len(), MESSAGE + 2);
        drop((spools, kept));
        assert_eq!(memory.0.get(), 0);
    }

    async fn contents(message: &Spooled) -> Bytes {
        let body = message.body(Bytes::from_static(b"<"), Bytes::from_static(b">"));
        let len = body.len();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, len);
        bytes.slice(1..bytes.len() - 1)
    }

    #[tokio::test]
    async fn a_message_comes_out_as_it_went_in_as_often_as_it_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        for len in [
            0,
            1,
            CHUNK_BYTES,
            MEMORY_BYTES_MAX,
            MEMORY_BYTES_MAX + 1,
            1 << 20,
            (1 << 20) + 77,
        ] {
            let mut message = b"A: b\r\n\r\n".to_vec();
            message.extend((0..len).map(|at| (at % 251) as u8));
            let mut spool = Spool::new(&Memory::default(), directory.path(), message.len() as u64);
            for part in message.chunks(10_007) {
                spool.write(part).await.unwrap();
                assert!(spool.held.capacity() <= 2 * MEMORY_BYTES_MAX);
            }
            assert_eq!(spool.file.is_some(), message.len() > MEMORY_BYTES_MAX);
            assert_eq!(
                std::fs::read_dir(directory.path()).unwrap().count(),
                0,
                "it has no name"
            );
            let spooled = spool.finish().await.unwrap();
            assert_eq!(spooled.len(), message.len() as u64);
            assert_eq!(spooled.digest()[..], Sha256::digest(&message)[..]);
            assert!(message.starts_with(spooled.start()) && spooled.start().len() == message.len().min(START_BYTES));
            for _ in 0..2 {
                assert!(contents(&spooled).await == message);
            }
        }
    }

    #[tokio::test]
    async fn what_it_says_in_our_name_counts_and_is_not_kept() {
        let message = b"X-Vulcan-Auth-Token: root\r\nTo: a\r\n\r\nhello";
        let spooled = spooled(message).await;
        assert_eq!(spooled.len(), message.len() as u64);
        assert_eq!(spooled.digest()[..], Sha256::digest(message)[..]);
        assert_eq!(contents(&spooled).await, &b"To: a\r\n\r\nhello"[..]);
    }

    #[tokio::test]
    async fn one_byte_too_many_is_too_large() {
        let mut spool = Spool::new(&Memory::default(), Path::new("unused"), 10);
        spool.write(b"0123456789").await.unwrap();
        assert!(matches!(spool.write(b"0").await, Err(SpoolError::TooLarge)));
    }

    #[tokio::test]
    async fn a_full_disk_is_told() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut spool = Spool::onto(full);
        spool.write(b"A: b\r\n").await.unwrap();
        assert!(matches!(spool.finish().await, Err(SpoolError::Full(_))));

        let gone = tempfile::tempdir().unwrap().path().join("gone");
        let mut spool = Spool::new(&Memory::default(), &gone, u64::MAX);
        let large = vec![b'x'; MEMORY_BYTES_MAX + 1];
        assert!(matches!(spool.write(&large).await, Err(SpoolError::Full(_))));
    }
}
