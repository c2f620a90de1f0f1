//! What a person hands to a command: a document, a secret; as an argument, in a file, or on stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::args::Document;
use crate::failure::Failure;

/// Of a single object; the API takes no longer body.
const BYTES_MAX: u64 = 1 << 20;

/// As it stands; whether it is JSON, and right, says the API. None: none was given.
pub fn text(document: &Document) -> Result<Option<String>, Failure> {
    match (&document.json, &document.file) {
        (Some(json), _) => Ok(Some(json.clone())),
        (None, Some(file)) => read("--file", file, BYTES_MAX).map(Some),
        (None, None) => Ok(None),
    }
}

pub fn required(document: &Document) -> Result<String, Failure> {
    let missing = || Failure::usage("the document is missing: give it as JSON, or as --file FILE, where `-` is stdin");
    text(document)?.ok_or_else(missing)
}

/// One line, which is nobody else's: a token, or what a limit counts under.
pub fn secret(flag: &str, file: &Path) -> Result<String, Failure> {
    let text = read(flag, file, BYTES_MAX)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.contains(['\n', '\r']) {
        true => Err(Failure::usage(format!(
            "{flag} {}: one line is expected",
            file.display()
        ))),
        false => Ok(line.to_owned()),
    }
}

/// At most `most` bytes; `-` is stdin.
pub fn read(flag: &str, file: &Path, most: u64) -> Result<String, Failure> {
    let wrong = |detail: String| Failure::usage(format!("{flag} {}: {detail}", file.display()));
    let source: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(file).map_err(|error| wrong(error.to_string()))?),
    };
    let mut text = String::new();
    let length = source.take(most + 1).read_to_string(&mut text);
    match length.map_err(|error| wrong(error.to_string()))? as u64 > most {
        true => Err(wrong(format!("it has more than {most} bytes"))),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_secret_is_one_line_without_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        for (text, told) in [
            ("t0ken", "t0ken"),
            ("t0ken\n", "t0ken"),
            ("t0 ken \r\n", "t0 ken "),
            ("", ""),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(secret("--key-file", &file), Ok(told.to_owned()));
        }
        fs::write(&file, "a\nb\n").unwrap();
        assert!(
            secret("--key-file", &file)
                .unwrap_err()
                .detail()
                .ends_with("token: one line is expected")
        );
    }

    #[test]
    fn a_document_longer_than_the_api_takes_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("long.json");
        fs::write(&file, vec![b' '; BYTES_MAX as usize]).unwrap();
        assert!(read("--file", &file, BYTES_MAX).is_ok());
        fs::write(&file, vec![b' '; BYTES_MAX as usize + 1]).unwrap();
        assert!(
            read("--file", &file, BYTES_MAX)
                .unwrap_err()
                .detail()
                .contains("more than 1048576 bytes")
        );
    }
}
