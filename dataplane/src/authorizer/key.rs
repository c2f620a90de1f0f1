//! What of a request decides which answer is its own.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use http::header::{self, HeaderMap};
use shared::model::Vary;

use super::Asked;
use crate::pipeline::RequestMeta;

/// 128 bits under keys that nobody knows: nothing of a password can be told from it, and nobody finds two requests with
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u128);

/// Drawn once a process.
#[derive(Default)]
pub struct Keys(RandomState, RandomState);

impl Key {
    pub fn spread(self, over: usize) -> usize {
        (self.0 % over.max(1) as u128) as usize
    }
}

impl Keys {
    pub fn of(&self, asked: &Asked, meta: &RequestMeta<'_>) -> Key {
        let mut both = Both(self.0.build_hasher(), self.1.build_hasher());
        let authorizer = &asked.authority.authorizer;
        (asked.era, asked.authority.revision, authorizer.name.as_str()).hash(&mut both);
        for field in &*authorizer.cache.vary {
            feed(field, meta, &mut both);
        }
        let Both(one, other) = both;
        Key(u128::from(one.finish()) << 64 | u128::from(other.finish()))
    }
}

/// Every part is hashed with its end, so that no two requests run together to the same bytes.
fn feed(field: &Vary, meta: &RequestMeta<'_>, to: &mut impl Hasher) {
    let credentials = meta.credentials.as_ref();
    match field {
        Vary::Username => credentials.map(|held| held.username.as_str()).hash(to),
        Vary::Password => credentials.map(|held| held.password.as_str()).hash(to),
        Vary::Protocol => (meta.protocol as u8).hash(to),
        Vary::Method => meta.method.hash(to),
        Vary::Uri => meta.uri.hash(to),
        Vary::Length => meta.length.hash(to),
        Vary::Ip => meta.client.hash(to),
        Vary::Host => meta.host.hash(to),
        Vary::Credentials => {
            feed_values(meta.fields, header::AUTHORIZATION.as_str(), to);
            feed_values(meta.fields, header::COOKIE.as_str(), to);
        }
        Vary::Header(name) => feed_values(meta.fields, name, to),
    }
}

fn feed_values(fields: Option<&HeaderMap>, name: &str, to: &mut impl Hasher) {
    let values = fields.into_iter().flat_map(|fields| fields.get_all(name));
    for value in values {
        value.as_bytes().hash(to);
    }
    // No value has this length.
    usize::MAX.hash(to);
}

struct Both<H>(H, H);

impl<H: Hasher> Hasher for Both<H> {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.1.write(bytes);
    }
}
