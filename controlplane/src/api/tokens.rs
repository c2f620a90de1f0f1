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

use super::access::Caller;
use super::roles::Role;
use crate::registry::scope::Scope;

const FILE_BYTES_MAX: u64 = 1 << 20;
const NAME_BYTES_MAX: usize = 128;
/// Who acts without a token: whoever is on this machine, the end of a heartbeat, a restore. In the history nobody else is
/// called so.
const RESERVED: [&str; 3] = ["local", "heartbeat-ttl", crate::restore::ACTOR];

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub struct Tokens {
    path: PathBuf,
    list: ArcSwap<Vec<Token>>,
}

#[derive(Clone, Debug)]
struct Token {
    name: Arc<str>,
    secret: Secret,
    role: Role,
    /// Once it is no longer in the file as it was.
    withdrawn: CancellationToken,
}

impl Token {
    fn is(&self, other: &Token) -> bool {
        self.name == other.name && self.secret == other.secret && self.role == other.role
    }
}

/// The hash of what somebody presents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Secret {
    sha256: [u8; 32],
}

impl Secret {
    pub fn of(token: &str) -> Secret {
        let sha256 = Sha256::digest(token.as_bytes()).into();
        Secret { sha256 }
    }

    /// In constant time.
    pub fn is(&self, other: &Secret) -> bool {
        let pairs = self.sha256.iter().zip(other.sha256);
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

    /// Whoever may present this. Looks at every token, each in constant time: how long it takes tells nothing about them.
    pub fn find(&self, presented: &Secret) -> Option<Caller> {
        let mut found = None;
        for token in self.list.load().iter() {
            if token.secret.is(presented) {
                found = Some(Caller {
                    name: token.name.clone(),
                    role: token.role.clone(),
                    withdrawn: Some(token.withdrawn.clone()),
                });
            }
        }
        found
    }

    /// Takes over what the file says whenever it says something else. A file that cannot be used changes nothing.
    pub async fn follow(&self, stop: CancellationToken) {
        let mut seen = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let path = self.path.clone();
            let text = tokio::task::spawn_blocking(move || load(&path)).await;
            let text = text.unwrap_or_else(|error| Err(error.to_string()));
            if seen.as_ref() == Some(&text) {
                continue;
            }
            let path = self.path.display();
            match text.as_deref().map_err(Clone::clone).and_then(parse) {
                Ok(list) => {
                    let tokens = list.len();
                    if self.take_over(list) {
                        tracing::info!(%path, tokens, "the tokens changed");
                    }
                }
                Err(detail) => tracing::error!(%path, %detail, "the tokens stay as they were"),
            }
            seen = Some(text);
        }
    }

    /// Whether it is another list. What is in it as before goes on.
    fn take_over(&self, mut list: Vec<Token>) -> bool {
        let before = self.list.load_full();
        for token in &mut list {
            if let Some(known) = before.iter().find(|known| known.is(token)) {
                token.withdrawn = known.withdrawn.clone();
            }
        }
        let is_same = before.len() == list.len() && before.iter().zip(&list).all(|(one, other)| one.is(other));
        if is_same {
            return false;
        }
        let gone = before.iter().filter(|known| !list.iter().any(|token| token.is(known)));
        let gone: Vec<CancellationToken> = gone.map(|token| token.withdrawn.clone()).collect();
        self.list.store(Arc::new(list));
        // After it: whoever comes again is refused.
        gone.iter().for_each(CancellationToken::cancel);
        true
    }
}

fn load(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    match read {
        // Cut off, it might still be read, and would miss some.
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(format!("it has more than {FILE_BYTES_MAX} bytes")),
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
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
    /// Of a deployer, and of nobody else.
    services: Option<Vec<String>>,
}

fn parse(text: &str) -> Result<Vec<Token>, String> {
    // A message of the parser quotes the line; hashes are no secrets, and nothing else is in the file.
    let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut tokens: Vec<Token> = Vec::new();
    for entry in file.token {
        let name = entry.name.as_str();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return Err(format!("{name:?} is no name"));
        }
        if RESERVED.contains(&name) {
            return Err(format!(
                "the name {name} is reserved: the history means somebody else by it"
            ));
        }
        if tokens.iter().any(|other| *other.name == *name) {
            return Err(format!("{name} is there twice"));
        }
        let token = token(&entry).map_err(|detail| format!("{name}: {detail}"))?;
        // Whose role it has would be a matter of order.
        if let Some(other) = tokens.iter().find(|other| other.secret == token.secret) {
            return Err(format!("{} and {name} have the same token", other.name));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

fn token(entry: &Entry) -> Result<Token, String> {
    let sha256 = unhex(&entry.sha256).ok_or("sha256 is 64 hexadecimal digits")?;
    // What a script makes of a variable that is not set.
    if (Secret { sha256 }).is(&Secret::of("")) {
        return Err("this is the digest of nothing at all, which is no token".to_owned());
    }
    Ok(Token {
        name: entry.name.as_str().into(),
        secret: Secret { sha256 },
        role: role(&entry.role, entry.services.clone())?,
        withdrawn: CancellationToken::new(),
    })
}

fn role(name: &str, services: Option<Vec<String>>) -> Result<Role, String> {
    let role = match (name, services) {
        ("deployer", Some(services)) => return Ok(Role::Deployer(Arc::new(Scope::parse(services)?))),
        ("deployer", None) => return Err("a deployer needs services = [\"…\"]".to_owned()),
        (_, Some(_)) => return Err("services are a deployer's alone".to_owned()),
        ("admin", None) => Role::Admin,
        ("proxy", None) => Role::Proxy,
        ("reader", None) => Role::Reader,
        (_, None) => {
            return Err(format!(
                "the role {name:?} is not known; known: admin, deployer, proxy, reader"
            ));
        }
    };
    Ok(role)
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
mod tests;
