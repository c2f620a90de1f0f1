//! Where a command puts a file that takes the place of another.

use std::fs;
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
