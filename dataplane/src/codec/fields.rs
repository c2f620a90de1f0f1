//! Fields as lines, both ways (RFC 9112, 5).

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use super::Malformed;

/// The fields in a block of lines, up to the empty one that ends it. Values are parts of the block, and hold on to it.
pub fn parse(block: &Bytes) -> Result<HeaderMap, Malformed> {
    let count = block.iter().filter(|byte| **byte == b'\n').count();
    let too_many = |_| "there are too many fields";
    let mut headers = HeaderMap::try_with_capacity(count.saturating_sub(1)).map_err(too_many)?;
    let mut at = 0;
    while let Some(found) = memchr(b'\n', &block[at..]) {
        let end = at + found;
        let line = block[at..end].strip_suffix(b"\r");
        let line = line.ok_or("a line ends without a carriage return")?;
        if line.is_empty() {
            return Ok(headers);
        }
        let colon = memchr(b':', line).ok_or("a line of the head is no field")?;
        // White space before the colon, or in front of the line, is no part of a name.
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| "a field has no valid name")?;
        let value = trimmed(line, colon + 1);
        let value = block.slice(at + value.start..at + value.end);
        let value = HeaderValue::from_maybe_shared(value).map_err(|_| "a field has no valid value")?;
        headers.try_append(name, value).map_err(too_many)?;
        at = end + 1;
    }
    Err("the fields have no end")
}

/// What stands from `start` on, without the white space around it (RFC 9110, 5.6.3).
pub fn trimmed(line: &[u8], start: usize) -> std::ops::Range<usize> {
    let is_black = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let value = &line[start..];
    let first = value.iter().position(is_black).unwrap_or(value.len());
    let behind = value.iter().rposition(is_black).map_or(first, |last| last + 1);
    start + first..start + behind
}

/// As lines, without the empty one behind them.
pub fn write(headers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in headers {
        write_one(name, value, out);
    }
}

pub fn write_one(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A number as it stands in a length or a status.
pub fn write_number(number: u64, out: &mut Vec<u8>) {
    // u64::MAX has 20 digits.
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The value of a `Content-Length`.
pub fn length(value: &[u8]) -> Result<u64, Malformed> {
    // 19 digits fit.
    let is_number = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    match is_number {
        true => Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))),
        false => Err("the Content-Length is not a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(block: &str) -> Result<HeaderMap, Malformed> {
        parse(&Bytes::copy_from_slice(block.as_bytes()))
    }

    #[test]
    fn fields_are_read_and_written() {
        let headers = parsed("Host: a\r\nX-Empty:\r\nx-two:\t1 2 \t\r\nX-Two: \u{e9}\r\nempty: \r\n\r\nrest").unwrap();
        let mut out = Vec::new();
        write(&headers, &mut out);
        let lines = "host: a\r\nx-empty: \r\nx-two: 1 2\r\nx-two: \u{e9}\r\nempty: \r\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
        assert!(parsed("\r\n").unwrap().is_empty());
    }

    #[test]
    fn as_many_as_a_head_has_room_for() {
        let block = format!("{}\r\n", "a:\r\n".repeat(16 * 1024));
        assert_eq!(parsed(&block).unwrap().len(), 16 * 1024);
        let block = format!("{}\r\n", "a:\r\n".repeat(64 * 1024));
        assert!(parsed(&block).is_err());
    }

    #[test]
    fn anything_but_the_grammar_is_refused() {
        for block in [
            "a: b",
            "a: b\r\n",
            "a: b\n\r\n",
            "a\r\n\r\n",
            ": b\r\n\r\n",
            "a : b\r\n\r\n",
            "a: b\r\n c\r\n\r\n",
            "a: b\r\n\tc: d\r\n\r\n",
            " a: b\r\n\r\n",
            "a: b\rc\r\n\r\n",
            "a: b\r\r\n\r\n",
            "a: \0\r\n\r\n",
            "a: \x7f\r\n\r\n",
            "a\u{e9}: b\r\n\r\n",
            "a(: b\r\n\r\n",
        ] {
            assert!(parsed(block).is_err(), "{block:?}");
        }
    }

    #[test]
    fn numbers_are_told_in_digits() {
        for number in [0, 9, 10, 1234, u64::MAX] {
            let mut out = Vec::new();
            write_number(number, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
        assert_eq!(length(b"0120"), Ok(120));
        assert_eq!(length(b"9999999999999999999"), Ok(9_999_999_999_999_999_999));
        for value in ["", "+1", "-1", "1 ", "1,1", "0x1", "10000000000000000000"] {
            assert!(length(value.as_bytes()).is_err(), "{value:?}");
        }
    }
}
