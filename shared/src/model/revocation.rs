//! What an authorizer's remembered answers are forgotten by.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json as object};

use super::fields::{Fields, Path, string};
use super::invalid::{Errors, Invalid};
use super::json;
use crate::change::Body;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    All,
    Username(Arc<str>),
    Token(TokenHash),
}

/// Stands for an auth_token, which itself is in no log and no memory longer than it is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

/// Whom a remembered answer is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    pub username: Arc<str>,
    pub token: TokenHash,
}

impl TokenHash {
    pub fn of(token: &str) -> TokenHash {
        TokenHash(*blake3::hash(token.as_bytes()).as_bytes())
    }

    fn parse(text: &str) -> Option<TokenHash> {
        let hash = blake3::Hash::from_hex(text).ok()?;
        Some(TokenHash(*hash.as_bytes()))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Revocation {
    /// As it is asked for: `{"auth_token": "…"}`, `{"username": "…"}`, or `{}` for all.
    pub fn asked(value: &Value) -> Result<Revocation, Invalid> {
        read(value, "auth_token", |token| Some(TokenHash::of(token)))
    }

    /// As it stands in the log.
    pub fn parse(json: &str) -> Result<Revocation, Invalid> {
        read(&json::parse(json)?, "auth_token_hash", TokenHash::parse)
    }

    pub fn body(&self) -> Body {
        Body::of_value(&match self {
            Revocation::All => object!({}),
            Revocation::Username(username) => object!({ "username": &**username }),
            Revocation::Token(hash) => object!({ "auth_token_hash": hash.to_string() }),
        })
    }

    pub fn is_of(&self, holder: &Holder) -> bool {
        match self {
            Revocation::All => true,
            Revocation::Username(username) => *username == holder.username,
            Revocation::Token(token) => *token == holder.token,
        }
    }
}

fn read(value: &Value, token: &'static str, hash: impl Fn(&str) -> Option<TokenHash>) -> Result<Revocation, Invalid> {
    let mut errors = Errors::default();
    let revocation = read_fields(value, token, hash, &mut errors);
    errors.finish(revocation)
}

fn read_fields(
    value: &Value,
    token: &'static str,
    hash: impl Fn(&str) -> Option<TokenHash>,
    errors: &mut Errors,
) -> Option<Revocation> {
    let root = &Path::Root;
    let mut fields = Fields::of(value, root, errors)?;
    let (by_token, by_username) = (fields.take(token), fields.take("username"));
    fields.finish(errors);
    match (by_token, by_username) {
        (None, None) => Some(Revocation::All),
        (None, Some(username)) => {
            let username = string(username, &root.field("username"), errors)?;
            Some(Revocation::Username(username.into()))
        }
        (Some(value), None) => {
            let path = root.field(token);
            let hash = hash(string(value, &path, errors)?);
            if hash.is_none() {
                errors.invalid(&path, "64 hexadecimal digits are expected");
            }
            hash.map(Revocation::Token)
        }
        (Some(_), Some(_)) => {
            errors.invalid(root, format_args!("either {token} or username is expected"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(value: Value) -> Revocation {
        Revocation::asked(&value).unwrap()
    }

    #[test]
    fn it_is_kept_without_the_token() {
        let revocation = asked(object!({"auth_token": "secret"}));
        let body = revocation.body();
        assert!(!body.as_str().contains("secret"));
        assert_eq!(Revocation::parse(body.as_str()).unwrap(), revocation);
        for value in [object!({}), object!({"username": "bob"})] {
            let revocation = asked(value.clone());
            assert_eq!(revocation.body().as_str(), value.to_string());
            assert_eq!(Revocation::parse(&value.to_string()).unwrap(), revocation);
        }
    }

    #[test]
    fn it_names_one_thing() {
        for wrong in [
            object!({"auth_token": "a", "username": "b"}),
            object!({"auth_token": 7}),
            object!({"user": "bob"}),
            object!([]),
        ] {
            assert!(Revocation::asked(&wrong).is_err(), "{wrong}");
        }
        assert!(Revocation::parse(r#"{"auth_token_hash":"1"}"#).is_err());
    }

    #[test]
    fn it_is_of_whom_it_names() {
        let holder = Holder {
            username: "bob".into(),
            token: TokenHash::of("t"),
        };
        let is_of = |value| asked(value).is_of(&holder);
        assert!(is_of(object!({})) && is_of(object!({"username": "bob"})) && is_of(object!({"auth_token": "t"})));
        assert!(!is_of(object!({"username": "alice"})) && !is_of(object!({"auth_token": "T"})));
    }
}
