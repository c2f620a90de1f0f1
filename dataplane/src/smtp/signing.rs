//! A service's key, by which its upstreams know that a message comes from here.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http::header::HeaderValue;
use net::clock::boottime;
use sha2::Sha256;
use tokio::task::spawn_blocking;

use super::hex::hex;
use crate::http::basic;
use crate::pipeline::Credentials;
use crate::secret::Secret;

const KEY_BYTES_MAX: u64 = 4096;
/// As Action Mailbox calls whoever knows the password of an ingress.
const BASIC_USER: &str = "actionmailbox";
const WARN_EVERY: Duration = Duration::from_secs(60);

pub struct Signing(Secret);

impl Signing {
    /// As the file is now: a key is changed by writing it there. White space around it is none of it.
    pub async fn read(file: &Path) -> io::Result<Signing> {
        let path = file.to_owned();
        let key = spawn_blocking(move || key(&path)).await.map_err(io::Error::other)?;
        key.inspect_err(|error| {
            if is_news() {
                tracing::warn!(file = %file.display(), %error, "no signing key: mail that it is to sign is put off");
            }
        })
    }

    /// <https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks>
    pub fn mailgun(&self, timestamp: &str, token: &str) -> String {
        // Of any length: longer ones are hashed first.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()) else {
            return String::new();
        };
        mac.update(timestamp.as_bytes());
        mac.update(token.as_bytes());
        hex(&mac.finalize().into_bytes())
    }

    /// RFC 7617
    pub fn basic(&self) -> Option<HeaderValue> {
        basic::field(&Credentials {
            username: BASIC_USER.to_owned(),
            password: self.0.clone(),
        })
    }
}

fn key(file: &Path) -> io::Result<Signing> {
    let mut text = String::with_capacity(KEY_BYTES_MAX as usize + 1);
    let read = File::open(file)?.take(KEY_BYTES_MAX + 1).read_to_string(&mut text);
    let text = Secret::from(text);
    match text.trim() {
        _ if read? as u64 > KEY_BYTES_MAX => Err(io::Error::other("it has more than 4096 bytes")),
        "" => Err(io::Error::other("there is nothing in it")),
        key => Ok(Signing(key.into())),
    }
}

fn is_news() -> bool {
    static WARNED_AT: AtomicU64 = AtomicU64::new(0);
    let now = boottime().as_nanos().max(1);
    let due = |at: u64| at == 0 || now.saturating_sub(at) >= WARN_EVERY.as_nanos() as u64;
    let warned = WARNED_AT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| due(at).then_some(now));
    warned.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Rails holds its own ingress against.
    #[test]
    fn the_signature_is_that_of_mailgun() {
        let signing = Signing("tbsy84uSV1Kt3ZJZELY2TmShPRs91E3yL4tzf96297vBCkDWgL".into());
        assert_eq!(
            signing.mailgun("1539112500", "7VwW7k6Ak7zcTwoSoNm7aTtbk1g67MKAnsYLfUB7PdszbgR5Xi"),
            "ef24c5225322217bb065b80bb54eb4f9206d764e3e16abab07f0a64d1cf477cc"
        );
    }

    /// RFC 4648, 10
    #[test]
    fn a_key_is_the_password_of_an_ingress() {
        let value = Signing("pass".into()).basic().unwrap();
        assert_eq!(value, "Basic YWN0aW9ubWFpbGJveDpwYXNz");
        assert!(value.is_sensitive());
    }

    #[tokio::test]
    async fn a_key_is_read_each_time_and_has_to_be_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        assert!(Signing::read(&file).await.is_err());
        for (text, key) in [
            ("one\n", Some("one")),
            (" two", Some("two")),
            ("\n", None),
            (&"x".repeat(5_000), None),
        ] {
            std::fs::write(&file, text).unwrap();
            let read = Signing::read(&file).await.ok();
            assert_eq!(read.as_ref().map(|signing| &*signing.0), key);
        }
        std::fs::write(&file, b"\xff").unwrap();
        assert!(Signing::read(&file).await.is_err());
    }
}
