//! What an authorizer's remembered answers are forgotten by.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json as object};
use uuid::Uuid;

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
        read(value, &ASKED)
    }

    /// As it stands in the log.
    pub fn parse(json: &str) -> Result<Revocation, Invalid> {
        read(&json::parse(json)?, &LOGGED)
    }

    /// For the log. `id` is of this one alone: two that say the same are two events, and a proxy that has the one, from a
    /// history that was lost, must not take the other for it.
    pub fn body(&self, id: Uuid) -> Body {
        let id = id.simple().to_string();
        Body::of_value(&match self {
            Revocation::All => object!({ "id": id }),
            Revocation::Username(username) => object!({ "id": id, "username": &**username }),
            Revocation::Token(hash) => object!({ "id": id, "auth_token_hash": hash.to_string() }),
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

/// What the two forms differ in.
struct Form {
    token: &'static str,
    hash: fn(&str) -> Option<TokenHash>,
    has_id: bool,
}

const ASKED: Form = Form {
    token: "auth_token",
    hash: |token| Some(TokenHash::of(token)),
    has_id: false,
};

const LOGGED: Form = Form {
    token: "auth_token_hash",
    hash: TokenHash::parse,
    has_id: true,
};

fn read(value: &Value, form: &Form) -> Result<Revocation, Invalid> {
    let mut errors = Errors::default();
    let revocation = read_fields(value, form, &mut errors);
    errors.finish(revocation)
}

fn read_fields(value: &Value, form: &Form, errors: &mut Errors) -> Option<Revocation> {
    let &Form { token, hash, has_id } = form;
    let root = &Path::Root;
    let mut fields = Fields::of(value, root, errors)?;
    if has_id && let Some(id) = fields.take("id") {
        string(id, &root.field("id"), errors)?;
    }
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
        let id = Uuid::from_u128(7);
        let body = revocation.body(id);
        assert!(!body.as_str().contains("secret"));
        assert_eq!(Revocation::parse(body.as_str()).unwrap(), revocation);
        for value in [object!({}), object!({"username": "bob"})] {
            let revocation = asked(value.clone());
            let body = revocation.body(id);
            assert_ne!(
                body,
                revocation.body(Uuid::from_u128(8)),
                "two are two, though they say the same"
            );
            for stored in [body.as_str(), &value.to_string()] {
                assert_eq!(Revocation::parse(stored).unwrap(), revocation);
            }
        }
    }

    #[test]
    fn it_names_one_thing() {
        for wrong in [
            object!({"auth_token": "a", "username": "b"}),
            object!({"auth_token": 7}),
            object!({"user": "bob"}),
            object!({"id": "0"}),
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
