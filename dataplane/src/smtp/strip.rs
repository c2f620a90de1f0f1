//! Takes out of a message's head, while it comes, what it says in this proxy's name: `X-Vulcan-*`, `X-Envelope-From` and
//! `X-Original-To`; and counts by how many servers it says that it has come.
//!
//! Readers of mail differ in what they take for a part of a name: some cut off any white space around it, or fold lines before
//! they look for the colon. What any of them could take for one of these names is taken out.
//!
//! ```text
//! First ─ a field ───→ Line ⇄ Start ─ empty line ─→ Body
//!   └── no field: an empty line is put before it ─────↑
//! ```
//!
//! Fields will be prepended to what is left. A message that does not begin with a field (RFC 5322, 2.2) has no head: what
//! it begins with must not become a part of theirs, as a line that begins with a space would.

/// A field's first line is no longer than any line (RFC 5322, 2.1.1).
const NAME_BYTES_MAX: usize = 998;
const OUR_PREFIX: &[u8] = b"x-vulcan-";
const OUR_NAMES: [&[u8]; 2] = [b"x-envelope-from", b"x-original-to"];
/// Each server puts one before it (RFC 5321, 4.4).
const TRACE: &[u8] = b"received";

/// Keeps no more of the message than the beginning of one line.
#[derive(Debug, Default)]
pub struct Strip {
    state: State,
    /// Of a line of which it is not known yet what it is.
    held: Vec<u8>,
    /// Whether the field that the last line belongs to is taken out.
    is_dropped: bool,
    hops: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    First,
    Start,
    Line,
    Body,
}

/// What a line of the head is, by its beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Unknown,
    Continues,
    Empty,
    Ours,
    Trace,
    Other,
}

impl Strip {
    /// Appends to `kept` what is left of the message's next bytes.
    pub fn pass(&mut self, mut bytes: &[u8], kept: &mut Vec<u8>) {
        while let Some(next) = bytes.first() {
            match self.state {
                State::Body => {
                    kept.extend_from_slice(bytes);
                    return;
                }
                State::Line => {
                    let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
                    let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
                    if !self.is_dropped {
                        kept.extend_from_slice(line);
                    }
                    if end.is_some() {
                        self.state = State::Start;
                    }
                    bytes = rest;
                }
                State::First | State::Start => {
                    self.held.push(*next);
                    bytes = &bytes[1..];
                    self.decide(kept);
                }
            }
        }
    }

    /// Servers that it has come by, as far as it has been read.
    pub fn hops(&self) -> u32 {
        self.hops
    }

    /// The message is complete.
    pub fn finish(mut self, kept: &mut Vec<u8>) {
        match self.state {
            State::First if !self.held.is_empty() => self.begin_body(kept),
            _ => kept.append(&mut self.held),
        }
    }

    fn decide(&mut self, kept: &mut Vec<u8>) {
        if self.state == State::First && line(&self.held) != Line::Empty {
            match begins_a_field(&self.held) {
                None => return,
                Some(true) => {}
                Some(false) => return self.begin_body(kept),
            }
        }
        let line_is = line(&self.held);
        self.hops = self.hops.saturating_add((line_is == Line::Trace).into());
        let is_dropped = match line_is {
            Line::Unknown => return,
            Line::Continues => self.is_dropped,
            Line::Ours => true,
            Line::Trace | Line::Other | Line::Empty => false,
        };
        self.is_dropped = is_dropped;
        self.state = match self.held.last() {
            Some(b'\n') if line_is == Line::Empty => State::Body,
            Some(b'\n') => State::Start,
            _ => State::Line,
        };
        match is_dropped {
            true => self.held.clear(),
            false => kept.append(&mut self.held),
        }
    }

    fn begin_body(&mut self, kept: &mut Vec<u8>) {
        self.state = State::Body;
        kept.extend_from_slice(b"\r\n");
        kept.append(&mut self.held);
    }
}

fn line(held: &[u8]) -> Line {
    match held {
        b"" | b"\r" => return Line::Unknown,
        b"\r\n" | b"\n" => return Line::Empty,
        [b' ' | b'\t', ..] => return Line::Continues,
        _ => {}
    }
    let before = held
        .iter()
        .take_while(|b| !b.is_ascii_graphic() && **b != b'\n')
        .count();
    let named = &held[before..];
    let begins = |name: &[u8]| named.len() >= name.len() && named[..name.len()].eq_ignore_ascii_case(name);
    let is_over = |byte: &u8| *byte == b':' || !byte.is_ascii_graphic();
    let is_named = |name: &[u8]| begins(name) && named.get(name.len()).is_some_and(is_over);
    let may_become = |name: &[u8]| named.len() <= name.len() && name[..named.len()].eq_ignore_ascii_case(named);
    if begins(OUR_PREFIX) || OUR_NAMES.into_iter().any(is_named) {
        return Line::Ours;
    }
    if is_named(TRACE) {
        return Line::Trace;
    }
    let is_open = [OUR_PREFIX, TRACE].into_iter().chain(OUR_NAMES).any(may_become);
    match is_open && before < NAME_BYTES_MAX {
        true => Line::Unknown,
        false => Line::Other,
    }
}

/// A name, spaces that old mail may have behind it (RFC 5322, 4.5.8), a colon. None as long as that is open.
fn begins_a_field(held: &[u8]) -> Option<bool> {
    let name = held.iter().take_while(|b| b.is_ascii_graphic() && **b != b':').count();
    let next = held[name..].iter().find(|b| !matches!(b, b' ' | b'\t'));
    match (name, next) {
        // An empty line, it may be.
        (0, Some(b'\r')) if held.len() == 1 => None,
        (1.., Some(b':')) => Some(true),
        (1.., None) => (held.len() > NAME_BYTES_MAX).then_some(false),
        _ => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However it is cut in two; a long one at a hundred places.
    #[track_caller]
    fn strip(message: &str) -> String {
        let mut whole: Option<Vec<u8>> = None;
        for cut in (0..=message.len()).step_by(message.len() / 100 + 1) {
            let (first, second) = message.as_bytes().split_at(cut);
            let (mut strip, mut kept) = (Strip::default(), Vec::new());
            strip.pass(first, &mut kept);
            strip.pass(second, &mut kept);
            assert!(strip.held.len() <= NAME_BYTES_MAX + 1);
            strip.finish(&mut kept);
            if let Some(whole) = &whole {
                assert_eq!(
                    String::from_utf8_lossy(whole),
                    String::from_utf8_lossy(&kept),
                    "cut at {cut}"
                );
            }
            whole = Some(kept);
        }
        String::from_utf8(whole.unwrap()).unwrap()
    }

    #[test]
    fn a_message_that_says_nothing_in_our_name_stays_as_it_is() {
        let long = format!("Subject: {}\r\n\r\n", "ä".repeat(1_000));
        let wide = format!("{}: x\r\n\r\n", "n".repeat(2_000));
        for message in [
            "",
            "\r\n",
            "\r\nX-Vulcan-Auth-Token: text\r\n",
            "Subject: a\r\n b\r\n\tc\r\n\r\nX-Envelope-From: text\r\n",
            "X-Envelope-From-Before: a\r\nX-Original-Tone: b\r\nX-Original-T: c\r\nX-Vulcan: b\r\nX-Vulca\r\n\r\n",
            "Subject : a\r\nX-Envelope\r\n",
            "Subject:",
            "Subject:\r\n",
            "A: b\r\n\r\n.\r\n..\r\nno final newline",
            &long,
        ] {
            assert_eq!(strip(message), message);
        }
        assert_eq!(strip(&wide), format!("\r\n{wide}"), "no name is longer than a line");
    }

    #[test]
    fn what_is_ours_is_taken_out_with_the_lines_that_it_goes_on_in() {
        assert_eq!(
            strip(
                "X-VULCAN-Helo: a\r\n b\r\nTo: c\r\n d\r\nx-envelope-from \t: e\r\n\tf\r\nX-Envelope-From:g\r\n\r\nh"
            ),
            "To: c\r\n d\r\n\r\nh"
        );
        assert_eq!(
            strip("X-Original-To: a@b\r\n c\r\nX-ORIGINAL-TO : d\r\nTo: e\r\n\r\n"),
            "To: e\r\n\r\n"
        );
        for name in [
            "X-Original-To\r\n ",
            "X-Original-To\r\n\t\r\n ",
            "X-Original-To\x0c",
            "X-Original-To \x0b ",
            "X-Original-To\u{a0}",
            "\x0cX-Original-To",
            "\u{a0}X-Original-To",
            "\u{feff}x-vulcan-auth-token",
        ] {
            let message = format!("To: a\r\n{name}: b\r\n c\r\nCc: d\r\n\r\n{name}: e");
            assert_eq!(strip(&message), format!("To: a\r\nCc: d\r\n\r\n{name}: e"), "{name:?}");
        }
        assert_eq!(strip("x-vulcan-"), "\r\nx-vulcan-", "it is no field, and so no head");
        assert_eq!(strip("To: a\r\nX-Vulcan-A: b"), "To: a\r\n");
    }

    #[test]
    fn the_servers_that_it_came_by_are_counted() {
        let hops = |message: &str| {
            let mut strip = Strip::default();
            message.bytes().for_each(|byte| strip.pass(&[byte], &mut Vec::new()));
            strip.hops()
        };
        assert_eq!(hops("Subject: a\r\n\r\nReceived: b\r\n"), 0);
        assert_eq!(
            hops("Received: a\r\n b\r\nReceived-SPF: c\r\nRECEIVED : d\r\nTo: e\r\n\r\n"),
            2
        );
    }

    #[test]
    fn what_begins_without_a_field_is_all_body() {
        for message in [
            " X-Vulcan-A: b\r\nX-Vulcan-A: b\r\n\r\n",
            "hello\r\nX-Vulcan-A: b\r\n",
            "hello",
            ": x\r\n",
            "To\r\n : x\r\n",
            "ä: x\r\n",
            "From a@b\r\nTo: c\r\n",
            "\n",
        ] {
            let expected = if message == "\n" {
                message.to_owned()
            } else {
                format!("\r\n{message}")
            };
            assert_eq!(strip(message), expected);
        }
    }
}
