//! Where a list goes on: opaque to callers, and good for the list that gave it out alone.

use net::problem::Problem;
use sha2::{Digest, Sha256};

use super::query::invalid;

/// Bytes of the check in front of the key. It tells a slip from a cursor; it is no secret, and guards none.
const CHECK: usize = 8;

/// A place in a list: after a key, which need not be there any more.
pub struct Cursor {
    list: String,
    after: String,
}

impl Cursor {
    /// `list` names the list with whatever it was asked for; without a cursor it is read from its beginning.
    pub fn parse(list: String, given: Option<&str>) -> Result<Cursor, Problem> {
        let after = match given {
            None => String::new(),
            Some(text) => {
                open(&list, text).ok_or_else(|| invalid("cursor", "it is not one that this list gave as its next"))?
            }
        };
        Ok(Cursor { list, after })
    }

    /// What was shown last: keys beyond it follow. Empty at the beginning.
    pub fn after(&self) -> &str {
        &self.after
    }

    /// The cursor that goes on after `key`, in hexadecimal digits.
    pub fn at(&self, key: &str) -> String {
        let check = check(&self.list, key.as_bytes());
        let bytes = check.iter().chain(key.as_bytes());
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }
}

fn open(list: &str, text: &str) -> Option<String> {
    let bytes = hex(text)?;
    let (told, key) = bytes.split_at_checked(CHECK)?;
    (told == check(list, key)).then(|| String::from_utf8(key.to_vec()).ok())?
}

fn check(list: &str, key: &[u8]) -> [u8; CHECK] {
    let hash = Sha256::new()
        .chain_update((list.len() as u64).to_le_bytes())
        .chain_update(list)
        .chain_update(key)
        .finalize();
    std::array::from_fn(|at| hash[at])
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(list: &str, text: &str) -> Option<String> {
        let cursor = Cursor::parse(list.to_owned(), Some(text)).ok()?;
        Some(cursor.after().to_owned())
    }

    #[test]
    fn a_list_takes_its_own_cursors_alone() {
        let list = Cursor::parse("services".to_owned(), None).unwrap();
        assert_eq!(list.after(), "");
        for key in ["web", "[::1]:3000", "é"] {
            let next = list.at(key);
            assert!(next.bytes().all(|byte| byte.is_ascii_hexdigit()), "{next}");
            assert_eq!(parse("services", &next).as_deref(), Some(key));
            assert_eq!(parse("fleet", &next), None, "another list's");
        }
    }

    #[test]
    fn what_was_made_up_or_damaged_is_refused() {
        let next = Cursor::parse("services".to_owned(), None).unwrap().at("web");
        let mut changed = next.clone();
        changed.replace_range(next.len() - 1.., "0");
        for text in ["", "web", "777562", &next[..next.len() - 2], &next[1..], &changed, "é"] {
            assert_eq!(parse("services", text), None, "{text}");
        }
    }
}
