//! The PROXY protocol, versions 1 and 2: a balancer in front of us says whose connection it passes on, before anything else.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

const SIGNATURE_V1: &[u8] = b"PROXY ";
const SIGNATURE_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// "a 108-byte buffer is always enough", with a NUL (2.1).
const V1_BYTES_MAX: usize = 107;
/// Addresses, and what may be said beside them (2.2); we read no more of that.
const V2_BYTES_MAX: usize = 2_048;

/// What a connection begins with.
#[derive(Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Too few bytes to tell.
    Open,
    /// Something else: what a client says.
    Other,
    Header {
        bytes: usize,
        whose: Whose,
    },
    Malformed,
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The balancer speaks for itself.
    Own,
    /// A client's, and the balancer cannot say which.
    Unknown,
    Of(IpAddr),
}

pub fn parse(bytes: &[u8]) -> Beginning {
    let is_begun = |signature: &[u8]| bytes.iter().zip(signature).all(|(one, other)| one == other);
    if is_begun(SIGNATURE_V1) && bytes.len() >= SIGNATURE_V1.len() {
        return version_1(bytes);
    }
    if is_begun(SIGNATURE_V2) && bytes.len() >= SIGNATURE_V2.len() {
        return version_2(bytes);
    }
    match is_begun(SIGNATURE_V1) || is_begun(SIGNATURE_V2) {
        true => Beginning::Open,
        false => Beginning::Other,
    }
}

fn version_1(bytes: &[u8]) -> Beginning {
    let within = &bytes[..bytes.len().min(V1_BYTES_MAX)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < V1_BYTES_MAX {
            true => Beginning::Open,
            false => Beginning::Malformed,
        };
    };
    let header = |whose| Beginning::Header { bytes: end + 2, whose };
    let Ok(text) = std::str::from_utf8(&bytes[..end]) else {
        return Beginning::Malformed;
    };
    let words: Vec<&str> = text.split(' ').collect();
    let client = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => return header(Whose::Unknown),
        ["PROXY", "TCP4", client, server, from, to] if are_ports(from, to) => server
            .parse::<Ipv4Addr>()
            .and_then(|_| client.parse::<Ipv4Addr>())
            .map(IpAddr::from),
        ["PROXY", "TCP6", client, server, from, to] if are_ports(from, to) => server
            .parse::<Ipv6Addr>()
            .and_then(|_| client.parse::<Ipv6Addr>())
            .map(IpAddr::from),
        _ => return Beginning::Malformed,
    };
    client.map_or(Beginning::Malformed, |client| header(Whose::Of(client.to_canonical())))
}

fn are_ports(from: &str, to: &str) -> bool {
    from.parse::<u16>().is_ok() && to.parse::<u16>().is_ok()
}

fn version_2(bytes: &[u8]) -> Beginning {
    let Some(&[version_command, family, high, low]) = bytes.get(12..16) else {
        return Beginning::Open;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let end = 16 + length;
    if end > V2_BYTES_MAX {
        return Beginning::Malformed;
    }
    let Some(addresses) = bytes.get(16..end) else {
        return Beginning::Open;
    };
    let whose = match (version_command, family) {
        // LOCAL: the balancer's own check of us.
        (0x20, _) => Whose::Own,
        (0x21, 0x11) => match addresses.first_chunk::<12>() {
            Some([a, b, c, d, ..]) => Whose::Of(IpAddr::from([*a, *b, *c, *d])),
            None => return Beginning::Malformed,
        },
        (0x21, 0x21) => match addresses.first_chunk::<36>().and_then(|both| both.first_chunk::<16>()) {
            Some(client) => Whose::Of(IpAddr::from(*client).to_canonical()),
            None => return Beginning::Malformed,
        },
        // Another family than TCP's.
        (0x21, _) => Whose::Unknown,
        _ => return Beginning::Malformed,
    };
    Beginning::Header { bytes: end, whose }
}

/// Takes the header, if there is one, from a connection of a trusted peer that speaks first; says whose it is then. None: the
/// connection is not to be served.
pub async fn take(stream: &mut TcpStream, until: Instant) -> Option<Whose> {
    let mut seen = vec![0; V2_BYTES_MAX];
    let mut known = 0;
    loop {
        known = timeout_at(until, more(stream, &mut seen, known)).await.ok()?.ok()?;
        match parse(&seen[..known]) {
            Beginning::Open => {}
            Beginning::Malformed => return None,
            Beginning::Other => return Some(Whose::Own),
            Beginning::Header { bytes, whose } => {
                stream.read_exact(&mut seen[..bytes]).await.ok()?;
                return Some(whose);
            }
        }
    }
}

/// More bytes than are known already, without taking them.
async fn more(stream: &TcpStream, seen: &mut [u8], known: usize) -> io::Result<usize> {
    loop {
        let count = stream.peek(seen).await?;
        if count > known {
            return Ok(count);
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The socket stays readable: there is nothing to be woken by.
        tokio::time::sleep(PEEK_EVERY).await;
    }
}

const PEEK_EVERY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
