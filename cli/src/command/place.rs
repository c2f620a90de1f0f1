//! Where a command puts a file that takes the place of another.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// What stands there is exchanged, so it has to be a file; a link is followed to what it names, and stays.
pub fn place(flag: &str, file: &Path) -> Result<PathBuf, Failure> {
    let wrong = |detail: &str| Err(Failure::usage(format!("{flag} {}: {detail}", file.display())));
    match fs::canonicalize(file) {
        Ok(place) if place.is_file() => Ok(place),
        Ok(_) => wrong("it is no file"),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(file.to_owned()),
        Err(error) => wrong(&error.to_string()),
    }
}

/// A file that is not known to be whole yet. It goes when it is not put in its place.
pub struct Partial {
    pub path: PathBuf,
    pub file: File,
}

impl Partial {
    /// Next to where it is to be.
    pub fn beside(place: &Path) -> Result<Partial, Failure> {
        let mut path = place.as_os_str().to_owned();
        path.push(format!(".{}.partial", std::process::id()));
        let path = PathBuf::from(path);
        let file = File::create_new(&path);
        let file = file.map_err(|error| Failure::refused(format!("{}: {error}", path.display())))?;
        Ok(Partial { path, file })
    }

    pub fn failed(&self, error: &std::io::Error) -> Failure {
        Failure::refused(format!("{}: {error}", self.path.display()))
    }

    /// Whoever reads what was there meanwhile finds the old one or the new one, whole.
    pub fn put(self, at: &Path) -> Result<(), Failure> {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_a_file_is_exchanged_and_a_link_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let (new, old, link) = (folder.join("new"), folder.join("old"), folder.join("link"));
        fs::write(&old, "").unwrap();
        symlink(&old, &link).unwrap();
        for (named, expected) in [(&new, &new), (&old, &old), (&link, &old)] {
            assert_eq!(place("--file", named).as_ref(), Ok(expected));
        }
        for other in [Path::new("/dev/null"), &folder] {
            let refused = place("--file", other).unwrap_err();
            assert!(refused.detail().ends_with("it is no file"));
        }
    }
}
