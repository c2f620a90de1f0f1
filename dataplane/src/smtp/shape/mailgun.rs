//! What Mailgun's routes post to an address that ends with `mime`
//! (<https://documentation.mailgun.com/docs/mailgun/user-manual/receive-forward-store/receive-http>).

use std::time::UNIX_EPOCH;

use uuid::Uuid;

use super::form::Form;
use super::{Letter, Shaped, Unspeakable};

/// A token is a text of so many characters.
const TOKEN_BYTES: usize = 50;
/// Of a field of the message's head, unfolded.
const FIELD_BYTES_MAX: usize = 4 * 1024;

pub fn shape(letter: &Letter<'_>) -> Result<Shaped, Unspeakable> {
    let recipients: Vec<&str> = letter
        .envelope
        .recipients
        .iter()
        .map(|to| to.mailbox.as_str())
        .collect();
    let mut form = Form::new();
    form.field("recipient", &recipients.join(", "));
    form.field("sender", letter.envelope.sender.as_str());
    form.field("from", &field(letter.start, "from"));
    form.field("subject", &field(letter.start, "subject"));
    if let Some(signing) = letter.signing {
        let seconds = letter.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let timestamp = seconds.to_string();
        let mut token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        token.truncate(TOKEN_BYTES);
        form.field("timestamp", &timestamp);
        form.field("token", &token);
        form.field("signature", &signing.mailgun(&timestamp, &token));
    }
    form.message("body-mime", "", letter)
}

/// The first of that name in the head, unfolded, as it is encoded there; empty if there is none.
fn field(start: &[u8], name: &str) -> String {
    let start = String::from_utf8_lossy(start);
    let mut lines = start.split("\r\n").take_while(|line| !line.is_empty());
    let value_of = |line: &'_ str| {
        let (found, value) = line.split_once(':')?;
        found.trim_end().eq_ignore_ascii_case(name).then(|| value.to_owned())
    };
    let Some(mut value) = lines.find_map(value_of) else {
        return String::new();
    };
    lines
        .take_while(|line| line.starts_with([' ', '\t']))
        .for_each(|line| value += line);
    let spaced = value.trim().replace('\t', " ");
    let mut text: String = spaced.chars().filter(|c| !c.is_control()).collect();
    while text.len() > FIELD_BYTES_MAX {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_in_the_head_alone_and_unfolded() {
        let start =
            "From : =?utf-8?q?=C3=A4?= <a@b>\r\nsubject: one\r\n two\r\n\tthree\r\nTo: c\r\n\r\nCc: d\r\n".as_bytes();
        assert_eq!(field(start, "from"), "=?utf-8?q?=C3=A4?= <a@b>");
        assert_eq!(field(start, "subject"), "one two three");
        assert_eq!(field(start, "cc"), "");
        assert_eq!(field(b"\r\nFrom: x", "from"), "", "it has no head");
        assert_eq!(field(b"", "from"), "");
        let long = format!("Subject: {}", "ä".repeat(9_000));
        assert_eq!(field(long.as_bytes(), "subject").len(), FIELD_BYTES_MAX);
        assert_eq!(field(b"Subject: a\0\nX: \xffb", "subject"), "aX: \u{fffd}b");
    }
}
