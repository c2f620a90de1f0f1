//! What of a request decides which answer is its own.

use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::net::IpAddr;

use http::header::{self, HeaderMap};
use shared::model::Vary;

use super::Asked;
use crate::pipeline::RequestMeta;
use crate::secret::wipe;

/// 128 bits under keys that nobody knows: nothing of a password can be told from it, and nobody finds two requests with
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u64, u64);

/// Drawn once a process.
#[derive(Default)]
pub struct Keys(RandomState, RandomState);

/// Maps of keys need not hash once more.
pub type ByKey = BuildHasherDefault<Half>;

#[derive(Default)]
pub struct Half(u64);

impl Key {
    /// By the other half than maps go by.
    pub fn spread(self, over: usize) -> usize {
        usize::try_from(self.0 % over.max(1) as u64).unwrap_or(0)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.1);
    }
}

impl Hasher for Half {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }
}

impl Keys {
    pub fn of(&self, asked: &Asked, meta: &RequestMeta<'_>) -> Key {
        let authorizer = &asked.authority.authorizer;
        // Hashing it in one piece takes a third of the time of many.
        let mut text = Vec::with_capacity(TEXT_BYTES);
        number(asked.era, &mut text);
        number(asked.authority.revision.0, &mut text);
        part(authorizer.name.as_str().as_bytes(), &mut text);
        for field in &*authorizer.cache.vary {
            feed(field, meta, &mut text);
        }
        let key = Key(self.0.hash_one(&*text), self.1.hash_one(&*text));
        wipe(text);
        key
    }
}

/// Most requests need no more.
const TEXT_BYTES: usize = 512;

/// Every part stands behind its length, so that no two requests run together to the same bytes.
fn part(bytes: &[u8], text: &mut Vec<u8>) {
    number(bytes.len() as u64, text);
    text.extend_from_slice(bytes);
}

/// None is no empty one.
fn maybe(text: Option<&str>, to: &mut Vec<u8>) {
    match text {
        Some(text) => part(text.as_bytes(), to),
        None => number(u64::MAX, to),
    }
}

fn number(number: u64, text: &mut Vec<u8>) {
    text.extend_from_slice(&number.to_le_bytes());
}

fn feed(field: &Vary, meta: &RequestMeta<'_>, text: &mut Vec<u8>) {
    let credentials = meta.credentials.as_ref();
    match field {
        Vary::Username => maybe(credentials.map(|held| &*held.username), text),
        Vary::Password => maybe(credentials.map(|held| &*held.password), text),
        Vary::Protocol => number(meta.protocol as u64, text),
        Vary::Method => part(meta.method.as_bytes(), text),
        Vary::Uri => part(meta.uri.as_bytes(), text),
        // No body is so long.
        Vary::Length => number(meta.length.unwrap_or(u64::MAX), text),
        Vary::Ip => match meta.client {
            IpAddr::V4(address) => part(&address.octets(), text),
            IpAddr::V6(address) => part(&address.octets(), text),
        },
        Vary::Host => part(meta.host.as_bytes(), text),
        Vary::Credentials => {
            feed_values(meta.fields, header::AUTHORIZATION.as_str(), text);
            feed_values(meta.fields, header::COOKIE.as_str(), text);
        }
        Vary::Header(name) => feed_values(meta.fields, name, text),
    }
}

fn feed_values(fields: Option<&HeaderMap>, name: &str, text: &mut Vec<u8>) {
    let values = fields.into_iter().flat_map(|fields| fields.get_all(name));
    for value in values {
        part(value.as_bytes(), text);
    }
    // No value has this length.
    number(u64::MAX, text);
}
