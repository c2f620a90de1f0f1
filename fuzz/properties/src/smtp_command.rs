//! A mail client's lines, and what they command.

use std::fmt::Write;

use dataplane::smtp::command::{Command, Mail, parse};
use dataplane::smtp::lines::{Input, Malformed};
use dataplane::smtp::{BodyType, Mailbox, Recipient, ReversePath};

const LINE_BYTES_MAX: usize = 2_048;

/// The first byte says into how long pieces the rest is cut.
pub fn check(data: &[u8]) {
    let Some((length, input)) = data.split_first() else {
        return;
    };
    let whole = read([input].into_iter());
    assert_eq!(read(input.chunks(usize::from(*length).max(1))), whole);
    for line in whole.0 {
        assert!(!line.iter().any(|byte| b"\r\n\0".contains(byte)) && line.len() <= LINE_BYTES_MAX);
        if let Ok(command) = parse(&line) {
            understood(&command);
        }
    }
}

fn read<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<Malformed>) {
    let mut input = Input::default();
    let mut lines = Vec::new();
    for part in parts {
        input.extend(part);
        loop {
            match input.line(LINE_BYTES_MAX) {
                Ok(Some(line)) => lines.push(line.to_vec()),
                Ok(None) => break,
                Err(malformed) => return (lines, Some(malformed)),
            }
        }
    }
    (lines, None)
}

fn understood(command: &Command<'_>) {
    match command {
        Command::Hello { name, .. } => {
            // As it stands in a comment of a `Received` field.
            assert!(
                !name.is_empty() && !name.contains(|char: char| char.is_control() || " ()<>\"\\;,@".contains(char))
            );
        }
        Command::Mail(mail) => {
            if let ReversePath::Of(mailbox) = &mail.sender {
                address(mailbox);
                assert!(!mailbox.domain().is_empty());
            }
            assert!(mail.is_utf8 || mail.sender.as_str().is_ascii());
            assert_eq!(parse(mail_line(mail).as_bytes()).as_ref(), Ok(command));
        }
        Command::Recipient(recipient) => {
            address(&recipient.mailbox);
            assert_eq!(parse(recipient_line(recipient).as_bytes()).as_ref(), Ok(command));
        }
        Command::Auth { mechanism, initial } => {
            assert!(!mechanism.contains(' ') && !initial.is_some_and(|initial| initial.contains(' ')));
        }
        _ => {}
    }
}

/// What it is made of can be told, and it breaks out of no angle brackets.
fn address(mailbox: &Mailbox) {
    let text = mailbox.as_str();
    assert!(!text.chars().any(char::is_control));
    assert!(text.len() <= 256 + 1 + 255);
    let local = mailbox.local();
    match mailbox.domain() {
        "" => assert!(text.eq_ignore_ascii_case("postmaster")),
        domain => {
            assert_eq!(text, format!("{local}@{domain}"));
            assert!(!domain.contains(|char: char| char.is_whitespace() || "<>()\"\\,;".contains(char)));
        }
    }
    let is_quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    assert!(
        is_quoted || !local.contains(|char: char| " <>()\"\\,;@:[]".contains(char)),
        "{local}"
    );
}

fn mail_line(mail: &Mail) -> String {
    let mut line = format!("MAIL FROM:<{}>", mail.sender.as_str());
    if let Some(size) = mail.size {
        write!(line, " SIZE={size}").unwrap();
    }
    if mail.body == BodyType::EightBitMime {
        line.push_str(" BODY=8BITMIME");
    }
    if mail.is_utf8 {
        line.push_str(" SMTPUTF8");
    }
    for (keyword, value) in [("RET", &mail.ret), ("ENVID", &mail.envid)] {
        if let Some(value) = value {
            write!(line, " {keyword}={value}").unwrap();
        }
    }
    line
}

fn recipient_line(recipient: &Recipient) -> String {
    let mut line = format!("RCPT TO:<{}>", recipient.mailbox);
    let notification = &recipient.notification;
    for (keyword, value) in [("NOTIFY", &notification.notify), ("ORCPT", &notification.original)] {
        if let Some(value) = value {
            write!(line, " {keyword}={value}").unwrap();
        }
    }
    line
}
