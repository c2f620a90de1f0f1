//! Who a client says it is: Basic credentials (RFC 7617).

use http::header::{self, HeaderMap, HeaderValue};

use crate::pipeline::Credentials;
use crate::secret::{Secret, wipe, wiped};

/// None also where what is there cannot be read, or is there twice: whoever is asked again may do better.
pub fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|_| values.next().is_none())?.as_bytes();
    let space = value.iter().position(|b| *b == b' ')?;
    let (scheme, encoded) = value.split_at(space);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let both = Secret::from(text(decode(encoded.trim_ascii())?));
    let (username, password) = both.split_once(':')?;
    Some(Credentials {
        username: username.to_owned(),
        password: password.into(),
    })
}

/// As a client of HTTP would say it; none of what cannot be said in this way.
pub fn field(credentials: &Credentials) -> Option<HeaderValue> {
    let (username, password) = (&credentials.username, &*credentials.password);
    if username.contains(':') {
        return None;
    }
    let both = Secret::from([username, ":", password].concat());
    let mut text = Vec::with_capacity(SCHEME.len() + both.len().div_ceil(3) * 4);
    text.extend_from_slice(SCHEME);
    encode(both.as_bytes(), &mut text);
    let mut value = HeaderValue::from_maybe_shared(wiped(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

const SCHEME: &[u8] = b"Basic ";

/// RFC 4648, 4
fn encode(bytes: &[u8], to: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let sextet = (bits >> (18 - 6 * digit) & 63) as usize;
            to.push(if digit <= group.len() { DIGITS[sextet] } else { b'=' });
        }
    }
}

/// UTF-8, as clients are told; Latin-1 from those that do not heed it.
pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let bytes = error.into_bytes();
        let text = bytes.iter().copied().map(char::from).collect();
        wipe(bytes);
        text
    })
}

/// RFC 4648, 4; padding may be left out.
pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let unpadded = text
        .strip_suffix(b"==")
        .or_else(|| text.strip_suffix(b"="))
        .unwrap_or(text);
    if unpadded.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(unpadded.len() * 3 / 4);
    for group in unpadded.chunks(4) {
        let mut bits: u32 = 0;
        for digit in group {
            match SEXTETS[usize::from(*digit)] {
                NONE => return None,
                sextet => bits = bits << 6 | u32::from(sextet),
            }
        }
        bits <<= 6 * (4 - group.len());
        bytes.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    Some(bytes)
}

const NONE: u8 = u8::MAX;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What each digit stands for.
const SEXTETS: [u8; 256] = {
    let mut sextets = [NONE; 256];
    let mut sextet = 0;
    while sextet < DIGITS.len() {
        sextets[DIGITS[sextet] as usize] = sextet as u8;
        sextet += 1;
    }
    sextets
};

#[cfg(test)]
mod tests {
    use super::*;

    fn said(values: &[&'static str]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        credentials(&headers).map(|held| (held.username, held.password.to_string()))
    }

    fn pair(username: &str, password: &str) -> Option<(String, String)> {
        Some((username.into(), password.into()))
    }

    #[test]
    fn credentials_are_read_as_clients_write_them() {
        assert_eq!(
            said(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]),
            pair("Aladdin", "open sesame")
        );
        assert_eq!(said(&["bAsIc  dGVzdDoxMjPCow=="]), pair("test", "123£"), "UTF-8");
        assert_eq!(said(&["Basic dGVzdDoxMjOj"]), pair("test", "123£"), "Latin-1");
        assert_eq!(said(&["Basic YTpiOmM="]), pair("a", "b:c"));
        assert_eq!(said(&["Basic Ongg"]), pair("", "x "), "an empty user");
        assert_eq!(said(&["Basic Og=="]), pair("", ""));
        assert_eq!(
            said(&["Basic YXBpOmFwaWtleQ"]),
            pair("api", "apikey"),
            "without padding"
        );
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        let known = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (len, expected) in known.iter().enumerate() {
            let mut text = Vec::new();
            encode(&b"foobar"[..len], &mut text);
            assert_eq!(text, expected.as_bytes());
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (username, password) in [
            ("", ""),
            ("a", ""),
            ("ab", "c"),
            ("test", "123£"),
            ("a", "b:c"),
            ("api", "apikey"),
        ] {
            let held = Credentials {
                username: username.into(),
                password: password.into(),
            };
            let value = field(&held).unwrap();
            assert!(value.is_sensitive());
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
            assert!(credentials(&headers) == Some(held), "{username}:{password}");
        }
        let colon = Credentials {
            username: "a:b".into(),
            password: "c".into(),
        };
        assert!(field(&colon).is_none(), "who would it be?");
    }

    #[test]
    fn what_is_none_is_not_guessed_at() {
        for none in [
            &[][..],
            &["Bearer abc"],
            &["Basic"],
            &["Basic "],
            &["Basic YWJj"],
            &["Basic YTpi", "Basic YTpi"],
            &["Basic Y:pi"],
            &["Basic YTpiY"],
            &["Basic YT===piY"],
        ] {
            assert_eq!(said(none), None, "{none:?}");
        }
    }
}
