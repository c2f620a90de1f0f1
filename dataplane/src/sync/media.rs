//! Where a proxy keeps its copy: a handful of named files. A port, so that a simulation can fill the disk.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

pub trait Media: Send + Sync {
    fn list(&self) -> io::Result<Vec<String>>;
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// Behind what is there; makes the file if there is none. Once it returns, the process may be killed.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Whole or not at all, and on the medium once it returns.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    fn truncate(&self, name: &str, length: u64) -> io::Result<()>;
    /// One that is not there is no error.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// Files of one directory.
pub struct Files {
    directory: PathBuf,
    /// The file that was appended to last: there is one at a time.
    appending: Mutex<HashMap<String, File>>,
}

/// Marks what a replacement did not finish.
const UNFINISHED: &str = ".tmp";

impl Files {
    pub fn new(directory: PathBuf) -> Files {
        Files {
            directory,
            appending: Mutex::default(),
        }
    }

    fn forget(&self, name: &str) {
        self.appending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

impl Media for Files {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.directory)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.directory.join(name))
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut appending = self.appending.lock().unwrap_or_else(PoisonError::into_inner);
        if !appending.contains_key(name) {
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.directory.join(name))?;
            appending.clear();
            appending.insert(name.to_owned(), file);
        }
        match appending.get_mut(name) {
            Some(file) => file.write_all(bytes),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.forget(name);
        let unfinished = self.directory.join(format!("{name}{UNFINISHED}"));
        let written = File::create(&unfinished).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if let Err(error) = written.and_then(|()| fs::rename(&unfinished, self.directory.join(name))) {
            // Room for others; what remains is no file that is ever read.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        File::open(&self.directory)?.sync_all()
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        self.forget(name);
        OpenOptions::new()
            .write(true)
            .open(self.directory.join(name))?
            .set_len(length)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.forget(name);
        match fs::remove_file(self.directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
