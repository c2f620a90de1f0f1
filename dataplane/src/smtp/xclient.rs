//! XCLIENT, Postfix's command: a server in front of us says for whom it speaks. Only trusted ones are listened to.
//! <https://www.postfix.org/XCLIENT_README.html>

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Reply, replies};

/// As EHLO says it.
pub const EXTENSION: &str = "XCLIENT NAME ADDR PORT PROTO HELO";

/// What is said of the client: None where nothing is, or that nothing is known.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    pub address: Option<IpAddr>,
    pub helo: Option<String>,
    pub is_extended: Option<bool>,
}

/// What follows the verb. A name of the client's is nothing to us, nor is its port.
pub fn parse(text: &str) -> Result<Attributes, Reply> {
    let mut attributes = Attributes::default();
    for attribute in text.split(' ').filter(|attribute| !attribute.is_empty()) {
        let (name, value) = attribute.split_once('=').ok_or(replies::BAD_ATTRIBUTE)?;
        let value = decode(value).ok_or(replies::BAD_ATTRIBUTE)?;
        let is_unknown = value.eq_ignore_ascii_case("[UNAVAILABLE]") || value.eq_ignore_ascii_case("[TEMPUNAVAIL]");
        match name.to_ascii_uppercase().as_str() {
            "NAME" | "PORT" => {}
            "ADDR" | "HELO" | "PROTO" if is_unknown => {}
            "ADDR" => attributes.address = Some(address(&value).ok_or(replies::BAD_ATTRIBUTE)?),
            "HELO" => attributes.helo = Some(value),
            "PROTO" if value.eq_ignore_ascii_case("ESMTP") => attributes.is_extended = Some(true),
            "PROTO" if value.eq_ignore_ascii_case("SMTP") => attributes.is_extended = Some(false),
            _ => return Err(replies::BAD_ATTRIBUTE),
        }
    }
    match text.trim().is_empty() {
        true => Err(replies::BAD_ATTRIBUTE),
        false => Ok(attributes),
    }
}

fn address(text: &str) -> Option<IpAddr> {
    match text.split_at_checked("IPV6:".len()) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case("IPV6:") => rest.parse::<Ipv6Addr>().ok().map(IpAddr::from),
        _ => text.parse::<Ipv4Addr>().ok().map(IpAddr::from),
    }
}

/// xtext (RFC 1891, 5), of which no control comes out.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                (digit(rest.next())? * 16 + digit(rest.next())?) as u8
            }
            _ => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read() {
        let read = parse("NAME=spike.example ADDR=192.0.2.7 PORT=4000 PROTO=ESMTP HELO=a+2Bb").unwrap();
        let expected = Attributes {
            address: Some([192, 0, 2, 7].into()),
            helo: Some("a+b".into()),
            is_extended: Some(true),
        };
        assert_eq!(read, expected);
        let read = parse("addr=IPV6:2001:db8::7").unwrap();
        assert_eq!(read.address, Some("2001:db8::7".parse().unwrap()));
        assert_eq!(
            parse("NAME=[UNAVAILABLE] ADDR=[TEMPUNAVAIL] HELO=[UNAVAILABLE]"),
            Ok(Attributes::default())
        );
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "",
            "ADDR",
            "ADDR=",
            "ADDR=2001:db8::7",
            "ADDR=x",
            "LOGIN=admin",
            "HELO=a+0Ab",
            "HELO=a+0",
            "HELO=a+",
            "PROTO=HTTP",
            "X=1",
        ] {
            assert_eq!(parse(text), Err(replies::BAD_ATTRIBUTE), "{text}");
        }
    }
}
