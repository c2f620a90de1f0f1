//! Percent-encodings in patterns of paths.

use std::borrow::Cow;

use crate::model::path::is_unreserved;

/// Spells them as paths are spelled that are compared: in upper case, and what needs no encoding as itself. Those between
/// brackets stand for characters of their own and are left.
pub(super) fn normalise(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains('%') {
        return Cow::Borrowed(pattern);
    }
    let mut text = String::with_capacity(pattern.len());
    let (mut rest, mut brackets, mut is_quoted) = (pattern, 0_usize, false);
    while let Some(next) = rest.chars().next() {
        let code = (next == '%' && brackets == 0).then(|| code(rest)).flatten();
        let length = match code {
            Some((byte, _)) if is_unreserved(byte) && !is_quoted => {
                text.push_str(&regex_syntax::escape(char::from(byte).encode_utf8(&mut [0; 4])));
                3
            }
            Some((_, hex)) => {
                text.push('%');
                text.push_str(&hex.to_ascii_uppercase());
                3
            }
            None => {
                text.push(next);
                next.len_utf8()
            }
        };
        match next {
            '[' if !is_quoted => brackets += 1,
            ']' if !is_quoted => brackets = brackets.saturating_sub(1),
            _ => {}
        }
        is_quoted = next == '\\' && !is_quoted;
        rest = &rest[length..];
    }
    Cow::Owned(text)
}

/// The byte that an escape stands for, and its digits.
fn code(escape: &str) -> Option<(u8, &str)> {
    let hex = escape
        .get(1..3)
        .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
    Some((u8::from_str_radix(hex, 16).ok()?, hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_spelled_as_paths_spell_them() {
        for (pattern, normalised) in [
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/caf%C3%A9$", "/caf%C3%A9$"),
            ("/%61%2e%7Eb%2f", r"/a\.\~b%2F"),
            (r"/\%c3(%a9)+", r"/\%C3(%A9)+"),
            (r"/\%61", r"/\%61"),
            ("/[%ab]%ab", "/[%ab]%AB"),
            (r"/\[%ab", r"/\[%AB"),
            ("/100%", "/100%"),
            ("/%é%zz", "/%é%zz"),
        ] {
            assert_eq!(normalise(pattern), normalised, "{pattern}");
        }
    }
}
