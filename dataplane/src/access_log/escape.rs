//! Texts of clients and upstreams, made so that no line can hold another, end early, or turn a terminal.

/// In the middle of a JSON string, at most so many bytes.
pub(super) fn json(text: &str, bytes_max: usize, line: &mut Vec<u8>) {
    let end = line.len() + bytes_max;
    let mut escaped = String::new();
    for c in text.chars() {
        escaped.clear();
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            // Also those that end lines for some readers (ECMA-262), and those that turn the direction of text.
            c if c.is_control() || is_invisible(c) => escaped = format!("\\u{:04x}", c as u32),
            c => escaped.push(c),
        }
        if line.len() + escaped.len() > end {
            return;
        }
        line.extend_from_slice(escaped.as_bytes());
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// As Apache and nginx write what stands between quotation marks.
pub(super) fn combined(text: &[u8], bytes_max: usize, line: &mut Vec<u8>) {
    let end = line.len() + bytes_max;
    for byte in text {
        let escaped = match byte {
            b'"' | b'\\' | ..b' ' | 0x7f.. => format!("\\x{byte:02X}"),
            byte => char::from(*byte).to_string(),
        };
        if line.len() + escaped.len() > end {
            return;
        }
        line.extend_from_slice(escaped.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>)) -> String {
        let mut line = b"<".to_vec();
        write(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn nothing_ends_a_string() {
        let hostile = "/\"},\\\r\n{\"time\":\u{1b}[2J\u{7f}\u{9b}\u{2028}\u{202e}ä";
        let line = written(|line| json(hostile, 500, line));
        let read: String = serde_json::from_str(&format!("\"{}\"", &line[1..])).unwrap();
        assert_eq!(read, hostile);
        assert!(!line.contains(|c: char| c.is_control() || is_invisible(c)), "{line}");

        let line = written(|line| combined(hostile.as_bytes(), 500, line));
        assert!(
            line.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '),
            "{line}"
        );
        assert!(line.starts_with("</\\x22},\\x5C\\x0D\\x0A{\\x22time"), "{line}");
    }

    #[test]
    fn a_text_is_cut_between_two_characters() {
        assert_eq!(written(|line| json("aä\"b", 4, line)), "<aä");
        assert_eq!(written(|line| json("aä\"b", 5, line)), "<aä\\\"");
        assert_eq!(written(|line| combined("a\"b".as_bytes(), 4, line)), "<a");
        assert_eq!(written(|line| combined("a\"b".as_bytes(), 5, line)), "<a\\x22");
    }
}
