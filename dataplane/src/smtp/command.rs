//! Commands, as clients write them (RFC 5321, 4.1.1). Nothing here waits, and nothing is remembered.

mod parameters;
mod path;

use super::{BodyType, Recipient, Reply, ReversePath, replies};

#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
    Hello {
        name: &'a str,
        /// EHLO
        is_extended: bool,
    },
    Mail(Mail),
    Recipient(Recipient),
    Data,
    Reset,
    Noop,
    Quit,
    Verify,
    Help,
    StartTls,
    Auth {
        mechanism: &'a str,
        /// As sent.
        initial: Option<&'a str>,
    },
    /// Its attributes.
    Xclient(&'a str),
}

/// MAIL, with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub sender: ReversePath,
    /// SIZE (RFC 1870), bytes.
    pub size: Option<u64>,
    pub body: BodyType,
    /// RFC 6531
    pub is_utf8: bool,
    /// RET and ENVID (RFC 3461), as sent.
    pub ret: Option<String>,
    pub envid: Option<String>,
}

/// A line without its end. The error is what the client is told.
pub fn parse(line: &[u8]) -> Result<Command<'_>, Reply> {
    // Also C1: what is read here is written into headers of messages.
    let text = std::str::from_utf8(line).map_err(|_| replies::CONTROLS)?;
    if text.chars().any(char::is_control) {
        return Err(replies::CONTROLS);
    }
    let text = text.trim_end_matches(' ');
    let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
    let argument = argument.trim_start_matches(' ');
    let alone = |command| match argument {
        "" => Ok(command),
        _ => Err(replies::NEEDLESS_ARGUMENT),
    };
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => hello(argument, false),
        "EHLO" => hello(argument, true),
        "MAIL" => mail(argument),
        "RCPT" => recipient(argument),
        "DATA" => alone(Command::Data),
        "RSET" => alone(Command::Reset),
        "NOOP" => Ok(Command::Noop),
        "QUIT" => alone(Command::Quit),
        "VRFY" => Ok(Command::Verify),
        "HELP" => Ok(Command::Help),
        "STARTTLS" => alone(Command::StartTls),
        "AUTH" => auth(argument),
        "XCLIENT" => Ok(Command::Xclient(argument)),
        "EXPN" | "TURN" | "ETRN" => Err(replies::NOT_IMPLEMENTED),
        "BDAT" => Err(replies::NO_CHUNKING),
        // A browser that was made to speak to us, or a PROXY header from where none is believed or behind its time: what
        // follows is not the client's.
        "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" | "PROXY" => Err(replies::NOT_MAIL),
        _ => Err(replies::UNKNOWN),
    }
}

const NAME_BYTES_MAX: usize = 255;

/// More than a domain or an address, since clients say what their machine is called; nothing that a comment in a
/// header could be ended with.
fn hello(name: &str, is_extended: bool) -> Result<Command<'_>, Reply> {
    let is_fit = |char: char| char.is_alphanumeric() || "-._:[]+'!#$&*=?^`{|}~/".contains(char);
    match (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_fit) {
        true => Ok(Command::Hello { name, is_extended }),
        false => Err(replies::BAD_NAME),
    }
}

/// What follows a keyword like `FROM:`, after blanks that do not belong there and that many clients send.
fn after<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (said, rest) = argument.split_at_checked(keyword.len())?;
    said.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches(' '))
}

fn mail(argument: &str) -> Result<Command<'_>, Reply> {
    let (sender, rest) = after(argument, "FROM:")
        .and_then(path::reverse)
        .ok_or(replies::BAD_SENDER)?;
    let mail = parameters::mail(sender, rest)?;
    match mail.is_utf8 || mail.sender.as_str().is_ascii() {
        true => Ok(Command::Mail(mail)),
        false => Err(replies::NEEDS_UTF8),
    }
}

/// Whether the transaction allows for an address that is not ASCII, the session knows.
fn recipient(argument: &str) -> Result<Command<'_>, Reply> {
    let (mailbox, rest) = after(argument, "TO:")
        .and_then(path::forward)
        .ok_or(replies::BAD_RECIPIENT)?;
    let notification = parameters::recipient(rest)?;
    Ok(Command::Recipient(Recipient { mailbox, notification }))
}

fn auth(argument: &str) -> Result<Command<'_>, Reply> {
    let (mechanism, initial) = match argument.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial.trim_start_matches(' '))),
        None => (argument, None),
    };
    match mechanism.is_empty() || initial.is_some_and(|initial| initial.contains(' ')) {
        true => Err(replies::AUTH_MALFORMED),
        false => Ok(Command::Auth { mechanism, initial }),
    }
}

#[cfg(test)]
mod tests;
