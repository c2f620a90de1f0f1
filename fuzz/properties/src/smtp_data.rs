//! A message and its end, by the scanner and by the book.

use dataplane::smtp::data::{Progress, Scanner};

/// The first byte says into how long pieces the rest is cut.
pub fn check(data: &[u8]) {
    let Some((length, input)) = data.split_first() else {
        return;
    };
    let whole = scanned([input].into_iter());
    assert_eq!(scanned(input.chunks(usize::from(*length).max(1))), whole);
    let (progress, message, read) = whole;
    let (expected, end) = by_the_book(input);
    assert_eq!(progress, expected);
    if progress == Progress::End {
        assert_eq!(read, end);
        assert_eq!(message, unstuffed(&input[..end - 3]));
    }
}

/// Also how many bytes belonged to the message.
fn scanned<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Progress, Vec<u8>, usize) {
    let mut scanner = Scanner::default();
    let (mut message, mut read) = (Vec::new(), 0);
    for part in parts {
        let (count, progress) = scanner.scan(part, &mut message);
        read += count;
        if progress != Progress::More {
            return (progress, message, read);
        }
        assert_eq!(count, part.len());
    }
    (Progress::More, message, read)
}

/// What becomes of the input, and where its end is if it has one.
fn by_the_book(input: &[u8]) -> (Progress, usize) {
    let end = match input.starts_with(b".\r\n") {
        true => Some(3),
        false => input
            .windows(5)
            .position(|bytes| bytes == b"\r\n.\r\n")
            .map(|at| at + 5),
    };
    let until = end.unwrap_or(input.len());
    let is_bare = |at: &usize| match input[*at] {
        0 => true,
        b'\n' => *at == 0 || input[at - 1] != b'\r',
        b'\r' => input.get(at + 1).is_some_and(|next| *next != b'\n'),
        _ => false,
    };
    match ((0..until).any(|at| is_bare(&at)), end) {
        (true, _) => (Progress::Malformed, 0),
        (false, Some(end)) => (Progress::End, end),
        (false, None) => (Progress::More, 0),
    }
}

/// RFC 5321, 4.5.2: a dot at a line's start is one too many.
fn unstuffed(lines: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    let mut rest = lines;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(rest.len(), |at| at + 1);
        let (line, after) = rest.split_at(end);
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        rest = after;
    }
    message
}
