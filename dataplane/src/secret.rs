//! Passwords while they are needed. What is dropped is overwritten, so that a core of a later moment does not hold it.
//!
//! As far as this code has it in hand: copies in the buffers of sockets and of parsers are overwritten by later requests.

use std::hint::black_box;
use std::ops::Deref;

/// Not `Debug` and not `Display`: it never reaches a log.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.to_owned())
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(std::mem::take(&mut self.0).into_bytes());
    }
}

/// Overwrites all of the allocation. The optimizer has to believe that somebody looks at it afterwards.
pub fn wipe(mut bytes: Vec<u8>) {
    bytes.clear();
    bytes.resize(bytes.capacity(), 0);
    black_box(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_text_until_it_is_dropped() {
        let secret = Secret::from("apikey");
        assert!(&*secret == "apikey" && secret.clone() == secret);
        // What is freed cannot be looked at; that nothing goes wrong can.
        drop(secret);
        wipe(Vec::new());
        wipe(Vec::with_capacity(64));
    }
}
