//! What sessions say by themselves (RFC 5321, 4.2; RFC 3463), and how replies are written.

use super::Reply;

pub const OK: Reply = Reply::new(250, "2.0.0", "Ok");
pub const SENDER_OK: Reply = Reply::new(250, "2.1.0", "Ok");
pub const RECIPIENT_OK: Reply = Reply::new(250, "2.1.5", "Ok");
pub const DATA: Reply = Reply::new(354, "", "End data with <CR><LF>.<CR><LF>");
pub const AUTHENTICATED: Reply = Reply::new(235, "2.7.0", "Authentication successful");
pub const HELP: Reply = Reply::new(214, "2.0.0", "See RFC 5321");
pub const CANNOT_VERIFY: Reply = Reply::new(252, "2.0.0", "Send mail and see");
pub const START_TLS: Reply = Reply::new(220, "2.0.0", "Ready to start TLS");

pub const BYE: Reply = Reply::closing(221, "2.0.0", "Bye");
pub const DRAINING: Reply = Reply::closing(421, "4.3.2", "Shutting down, try again");
pub const TIMEOUT: Reply = Reply::closing(421, "4.4.2", "Timeout");
pub const TOO_SLOW: Reply = Reply::closing(421, "4.4.2", "The data comes too slowly");
pub const TOO_MANY_CONNECTIONS: Reply = Reply::closing(421, "4.7.0", "Too many connections from your address");
pub const TOO_MANY_ERRORS: Reply = Reply::closing(421, "4.7.0", "Too many errors");
pub const TOO_MANY_FAILURES: Reply = Reply::closing(421, "4.7.0", "Too many failures to authenticate");
pub const TOO_MANY_REFUSED: Reply = Reply::closing(421, "4.7.0", "Too many recipients were refused");

pub const BARE_END: Reply = Reply::closing(
    500,
    "5.5.2",
    "Lines end with <CR><LF>, and have neither of them elsewhere",
);
pub const NUL: Reply = Reply::closing(500, "5.5.2", "A line holds a NUL");
pub const LINE_TOO_LONG: Reply = Reply::closing(500, "5.5.2", "Line too long");
pub const DATA_MALFORMED: Reply = Reply::closing(554, "5.6.0", "The message holds a NUL, or a bare <CR> or <LF>");
pub const NOT_MAIL: Reply = Reply::closing(500, "5.7.0", "This is a mail server");

pub const UNKNOWN: Reply = Reply::new(500, "5.5.2", "Command not recognized");
pub const CONTROLS: Reply = Reply::new(500, "5.5.2", "A command holds control characters, or is not UTF-8");
pub const NOT_IMPLEMENTED: Reply = Reply::new(502, "5.5.1", "Command not implemented");
/// What follows BDAT is no commands.
pub const NO_CHUNKING: Reply = Reply::closing(502, "5.5.1", "BDAT is not offered");
pub const NEEDLESS_ARGUMENT: Reply = Reply::new(501, "5.5.4", "The command has no arguments");
pub const BAD_NAME: Reply = Reply::new(501, "5.5.4", "The argument is not a host name or address");
pub const BAD_SENDER: Reply = Reply::new(501, "5.1.7", "The syntax is MAIL FROM:<address>");
pub const BAD_RECIPIENT: Reply = Reply::new(501, "5.1.3", "The syntax is RCPT TO:<address>");
pub const BAD_PARAMETER: Reply = Reply::new(501, "5.5.4", "A parameter's value is not valid, or it is there twice");
pub const UNKNOWN_PARAMETER: Reply = Reply::new(555, "5.5.4", "A parameter is not recognized");
pub const NEEDS_UTF8: Reply = Reply::new(553, "5.6.7", "The address needs SMTPUTF8");
pub const HELLO_FIRST: Reply = Reply::new(503, "5.5.1", "Send HELO or EHLO first");
pub const MAIL_FIRST: Reply = Reply::new(503, "5.5.1", "Send MAIL first");
pub const NESTED: Reply = Reply::new(503, "5.5.1", "A transaction is under way");
pub const NO_RECIPIENTS: Reply = Reply::new(554, "5.5.1", "No valid recipients");
pub const TOO_MANY_RECIPIENTS: Reply = Reply::new(452, "4.5.3", "Too many recipients");
pub const TOO_LARGE: Reply = Reply::new(552, "5.3.4", "The message is too large");
/// RFC 3463, X.4.6
pub const LOOPS: Reply = Reply::new(554, "5.4.6", "Too many hops: the message goes in circles");
/// Ends a message that is still coming.
pub const FAR_TOO_LARGE: Reply = Reply::closing(552, "5.3.4", "The message is too large");
pub const NO_SPACE: Reply = Reply::new(452, "4.3.1", "No room for the message, try again later");

pub const TLS_ACTIVE: Reply = Reply::new(503, "5.5.1", "TLS is active");
pub const NO_TLS: Reply = Reply::new(502, "5.5.1", "TLS is not offered");
pub const NO_AUTH: Reply = Reply::new(502, "5.5.1", "AUTH is not offered");
pub const TLS_FIRST: Reply = Reply::new(538, "5.7.11", "Send STARTTLS first");
pub const UNKNOWN_MECHANISM: Reply = Reply::new(504, "5.5.4", "The mechanisms are PLAIN and LOGIN");
pub const ALREADY_AUTHENTICATED: Reply = Reply::new(503, "5.5.1", "You have authenticated already");
pub const AUTH_CANCELLED: Reply = Reply::new(501, "5.7.0", "Authentication cancelled");
pub const AUTH_MALFORMED: Reply = Reply::new(501, "5.5.2", "The answer cannot be decoded");
pub const WRONG_IDENTITY: Reply = Reply::new(535, "5.7.8", "The identity to act as must be your own");
pub const AUTH_PAUSED: Reply = Reply::new(454, "4.7.0", "Too many failures to authenticate, try again later");
pub const NOT_TRUSTED: Reply = Reply::new(550, "5.7.1", "XCLIENT is not for you");
pub const BAD_ATTRIBUTE: Reply = Reply::new(501, "5.5.4", "An attribute is not valid");

/// What the syntax, the order or the lack of a command was refused for, as against what was asked for.
pub fn is_fault(reply: &Reply) -> bool {
    matches!(reply.code, 500..=504 | 555)
}

/// Appends the reply as it is sent.
pub fn write(reply: &Reply, output: &mut Vec<u8>) {
    output.extend_from_slice(reply.code.to_string().as_bytes());
    output.push(b' ');
    if !reply.enhanced.is_empty() {
        output.extend_from_slice(reply.enhanced.as_bytes());
        output.push(b' ');
    }
    output.extend_from_slice(reply.text.as_bytes());
    output.extend_from_slice(b"\r\n");
}

/// Appends one reply of several lines: `first` and the extensions (RFC 5321, 4.1.1.1).
pub fn write_extensions(first: &str, extensions: &[String], output: &mut Vec<u8>) {
    let lines = std::iter::once(first).chain(extensions.iter().map(String::as_str));
    for (index, line) in lines.enumerate() {
        let mark = if index == extensions.len() { ' ' } else { '-' };
        output.extend_from_slice(format!("250{mark}{line}\r\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_written_as_the_protocol_has_them() {
        let mut output = Vec::new();
        write(&OK, &mut output);
        write(&DATA, &mut output);
        write(&Reply::new(334, "", ""), &mut output);
        write_extensions("mx", &[], &mut output);
        write_extensions("mx", &["PIPELINING".into(), "SIZE 1".into()], &mut output);
        let text = String::from_utf8(output).unwrap();
        let expected = "250 2.0.0 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n334 \r\n250 mx\r\n250-mx\r\n250-PIPELINING\r\n250 SIZE 1\r\n";
        assert_eq!(text, expected);
    }
}
