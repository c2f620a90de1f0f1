//! `--tokens FILE`: who may call, by the hash of what they present. The file is read again when it changes.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

const FILE_BYTES_MAX: u64 = 1 << 20;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub struct Tokens {
    path: PathBuf,
    list: ArcSwap<Vec<Token>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Token {
    name: Arc<str>,
    secret: Secret,
}

/// The hash of what somebody presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    sha256: [u8; 32],
}

impl Secret {
    pub fn of(token: &str) -> Secret {
        let sha256 = Sha256::digest(token.as_bytes()).into();
        Secret { sha256 }
    }

    /// In constant time.
    pub fn is(&self, token: &str) -> bool {
        let presented: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.has_hash(presented)
    }

    fn has_hash(&self, hash: [u8; 32]) -> bool {
        let pairs = self.sha256.iter().zip(hash);
        let difference = pairs.fold(0, |sum, (one, other)| sum | (one ^ other));
        std::hint::black_box(difference) == 0
    }
}

#[derive(Debug)]
pub struct TokenError {
    path: PathBuf,
    detail: String,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the tokens in {} cannot be used: {}",
            self.path.display(),
            self.detail
        )
    }
}

impl std::error::Error for TokenError {}

impl Tokens {
    pub fn open(path: &Path) -> Result<Tokens, TokenError> {
        let list = load(path).and_then(|text| parse(&text));
        let list = list.map_err(|detail| TokenError {
            path: path.to_owned(),
            detail,
        })?;
        Ok(Tokens {
            path: path.to_owned(),
            list: ArcSwap::from_pointee(list),
        })
    }

    /// The name of whoever may present this. Looks at every token, each in constant time: how long it takes tells
    /// nothing about them.
    pub fn name_of(&self, presented: &str) -> Option<Arc<str>> {
        let presented: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        let mut found = None;
        for token in self.list.load().iter() {
            if token.secret.has_hash(presented) {
                found = Some(token.name.clone());
            }
        }
        found
    }

    /// Takes over what the file says whenever it says something else. A file that cannot be used changes nothing.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut complained = String::new();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let path = self.path.clone();
            let text = tokio::task::spawn_blocking(move || load(&path)).await;
            match text
                .unwrap_or_else(|error| Err(error.to_string()))
                .and_then(|text| parse(&text))
            {
                Ok(list) if list == **self.list.load() => complained.clear(),
                Ok(list) => {
                    complained.clear();
                    tracing::info!(path = %self.path.display(), tokens = list.len(), "the tokens changed");
                    self.list.store(Arc::new(list));
                }
                Err(detail) if detail != complained => {
                    tracing::error!(path = %self.path.display(), %detail, "the tokens stay as they were");
                    complained = detail;
                }
                Err(_) => {}
            }
        }
    }
}

fn load(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    Ok(text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    token: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    sha256: String,
    role: String,
}

fn parse(text: &str) -> Result<Vec<Token>, String> {
    // A message of the parser quotes the line; hashes are no secrets, and nothing else is in the file.
    let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut tokens: Vec<Token> = Vec::new();
    for Entry { name, sha256, role } in file.token {
        if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
            return Err(format!("{name:?} is no name"));
        }
        if tokens.iter().any(|other| *other.name == *name) {
            return Err(format!("{name} is there twice"));
        }
        if role != "admin" {
            return Err(format!("{name}: the role {role:?} is not known; known: admin"));
        }
        let hash = unhex(&sha256).ok_or_else(|| format!("{name}: sha256 is 64 hexadecimal digits"))?;
        tokens.push(Token {
            name: name.into(),
            secret: Secret { sha256: hash },
        });
    }
    Ok(tokens)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf secret | sha256sum
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens.toml");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    fn entry(name: &str, sha256: &str, role: &str) -> String {
        format!("[[token]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nrole = \"{role}\"\n")
    }

    #[test]
    fn a_token_is_known_by_its_hash_alone() {
        let (_directory, path) = file(&entry("ci", SECRET, "admin"));
        let tokens = Tokens::open(&path).unwrap();
        assert_eq!(tokens.name_of("secret").as_deref(), Some("ci"));
        assert_eq!(tokens.name_of("Secret"), None);
        assert_eq!(tokens.name_of(""), None);
        assert_eq!(tokens.name_of(SECRET), None);
    }

    #[test]
    fn a_file_that_says_anything_else_is_refused() {
        let twice = entry("ci", SECRET, "admin").repeat(2);
        for text in [
            "",
            "token = 1",
            &entry("", SECRET, "admin"),
            &entry("ci", "12", "admin"),
            &entry("ci", SECRET, "reader"),
            &format!("{}services = [\"web\"]\n", entry("ci", SECRET, "admin")),
            &twice,
        ] {
            let (_directory, path) = file(text);
            assert!(Tokens::open(&path).is_err(), "{text}");
        }
        assert!(Tokens::open(Path::new("/nonexistent/tokens.toml")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_taken_over_and_a_bad_one_is_not() {
        let (_directory, path) = file(&entry("ci", SECRET, "admin"));
        let tokens = Arc::new(Tokens::open(&path).unwrap());
        let stop = CancellationToken::new();
        let following = tokio::spawn({
            let (tokens, stop) = (tokens.clone(), stop.clone());
            async move { tokens.follow(stop).await }
        });
        std::fs::write(&path, "nonsense").unwrap();
        tokio::time::sleep(LOOK_EVERY * 3).await;
        assert!(tokens.name_of("secret").is_some());
        std::fs::write(&path, entry("cd", SECRET, "admin")).unwrap();
        while tokens.name_of("secret").as_deref() != Some("cd") {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        stop.cancel();
        following.await.unwrap();
    }
}
