//! What is left of a message's head, in pieces and by the book.

use dataplane::smtp::strip::Strip;

/// Where a first line's colon is at the latest.
const COLON_AT_MAX: usize = 998;

/// The first byte says into how long pieces the rest is cut.
pub fn check(data: &[u8]) {
    let Some((length, message)) = data.split_first() else {
        return;
    };
    let expected = by_the_book(message);
    assert_eq!(stripped([message].into_iter()), expected);
    assert_eq!(stripped(message.chunks(usize::from(*length).max(1))), expected);
}

fn stripped<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut strip, mut kept) = (Strip::default(), Vec::new());
    parts.for_each(|part| strip.pass(part, &mut kept));
    strip.finish(&mut kept);
    kept
}

fn by_the_book(message: &[u8]) -> Vec<u8> {
    let is_headless = message.starts_with(b"\n") || message.starts_with(b"\r\n");
    if !message.is_empty() && !is_headless && !begins_with_a_field(message) {
        return [b"\r\n", message].concat();
    }
    let (mut kept, mut rest, mut is_ours) = (Vec::new(), message, false);
    while !rest.is_empty() && !rest.starts_with(b"\n") && !rest.starts_with(b"\r\n") {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = rest.split_at(end.map_or(rest.len(), |at| at + 1));
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let line = line.to_ascii_lowercase();
            let is_named = [b"x-envelope-from".as_slice(), b"x-original-to"].iter().any(|name| {
                let named = line.strip_prefix(*name);
                named.and_then(<[u8]>::first).is_some_and(|next| b": \t".contains(next))
            });
            is_ours = is_named || line.starts_with(b"x-vulcan-");
        }
        if !is_ours {
            kept.extend_from_slice(line);
        }
        rest = after;
    }
    kept.extend_from_slice(rest);
    kept
}

fn begins_with_a_field(message: &[u8]) -> bool {
    let colon = message.iter().position(|byte| *byte == b':');
    let Some(at) = colon.filter(|at| *at <= COLON_AT_MAX) else {
        return false;
    };
    let spaces = message[..at]
        .iter()
        .rev()
        .take_while(|byte| matches!(byte, b' ' | b'\t'));
    let name = &message[..at - spaces.count()];
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}
