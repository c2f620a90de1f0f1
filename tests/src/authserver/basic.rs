//! Basic credentials (RFC 7617), bit by bit (RFC 4648, 4).

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The value of `Authorization` for `user:password` in any coding.
pub fn encode(both: &[u8]) -> String {
    let mut text = "Basic ".to_owned();
    for group in both.chunks(3) {
        let bits = group.iter().fold(0, |bits: u32, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

/// `user:password`.
pub fn decode(value: &str) -> Option<String> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in value.strip_prefix("Basic ")?.trim_end_matches('=').bytes() {
        bits = bits << 6 | DIGITS.iter().position(|known| *known == digit)? as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(encode(b"api:apikey"), "Basic YXBpOmFwaWtleQ==");
        for both in ["", "a", "ab", "abc", "Aladdin:open sesame", "ä:€"] {
            assert_eq!(decode(&encode(both.as_bytes())).as_deref(), Some(both));
        }
    }
}
