//! An SMTP client that sends exactly what it is told, and reads replies strictly (RFC 5321, 4.2).
//!
//! Every wait ends, as in `wire`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::certificate::Certificate;
use crate::authserver::basic;
use crate::wire::invalid;

const CONNECT: Duration = Duration::from_secs(5);
/// For a reply; longer than a delivery may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LINE_MAX: usize = 4096;
const LINES_MAX: usize = 64;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub struct Session {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    /// Without the code.
    pub lines: Vec<String>,
}

impl Reply {
    /// `550 5.1.1`, or the code alone where there is no enhanced one.
    pub fn codes(&self) -> String {
        let first = self.lines.first().map_or("", String::as_str);
        let enhanced = first.split(' ').next().unwrap_or_default();
        let is_enhanced = enhanced.len() >= 5
            && enhanced.split('.').count() == 3
            && enhanced.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
        match is_enhanced {
            true => format!("{} {enhanced}", self.code),
            false => self.code.to_string(),
        }
    }

    /// Whether a line of EHLO's answer begins with this keyword.
    pub fn offers(&self, keyword: &str) -> bool {
        let word = |line: &String| line.split(' ').next() == Some(keyword);
        self.lines.iter().skip(1).any(word)
    }

    #[track_caller]
    pub fn expect(self, codes: &str) -> Reply {
        assert_eq!(self.codes(), codes, "{:?}", self.lines);
        self
    }

    pub fn text(&self) -> String {
        self.lines.join("\n")
    }
}

impl Session {
    /// Connected, and nothing read yet.
    pub async fn connect(to: SocketAddr) -> io::Result<Session> {
        let stream = timeout(CONNECT, TcpStream::connect(to)).await??;
        stream.set_nodelay(true)?;
        Ok(Session {
            stream: Box::new(stream),
            read: Vec::new(),
        })
    }

    /// Greeted, and EHLO said.
    pub async fn open(to: SocketAddr) -> io::Result<Session> {
        let mut session = Session::connect(to).await?;
        session.greeted().await?;
        session.hello().await?;
        Ok(session)
    }

    /// As `open`, then STARTTLS and EHLO once more.
    pub async fn open_secure(to: SocketAddr, certificate: &Certificate) -> io::Result<Session> {
        let mut session = Session::open(to).await?;
        positive(session.say("STARTTLS").await?)?;
        let mut session = session.handshake(certificate).await?;
        session.hello().await?;
        Ok(session)
    }

    /// As `open_secure`, and logged in.
    pub async fn log_in(to: SocketAddr, certificate: &Certificate, user: &str, password: &str) -> io::Result<Session> {
        let mut session = Session::open_secure(to, certificate).await?;
        positive(session.plain(user, password).await?)?;
        Ok(session)
    }

    pub async fn greeted(&mut self) -> io::Result<Reply> {
        positive(self.reply().await?)
    }

    pub async fn hello(&mut self) -> io::Result<Reply> {
        positive(self.say("EHLO client.test").await?)
    }

    /// From here on everything is encrypted. What was read and not taken is lost, as a client is to do.
    pub async fn handshake(self, certificate: &Certificate) -> io::Result<Session> {
        let connector = TlsConnector::from(certificate.trust());
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let stream = timeout(CONNECT, connector.connect(name, self.stream)).await??;
        Ok(Session {
            stream: Box::new(stream),
            read: Vec::new(),
        })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await?
    }

    /// Sends a line and reads its reply.
    pub async fn say(&mut self, line: &str) -> io::Result<Reply> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.reply().await
    }

    /// AUTH PLAIN with an initial response (RFC 4616).
    pub async fn plain(&mut self, user: &str, password: &str) -> io::Result<Reply> {
        let response = base64(format!("\0{user}\0{password}").as_bytes());
        self.say(&format!("AUTH PLAIN {response}")).await
    }

    /// MAIL and RCPT; the first refusal, or the last reply.
    pub async fn envelope(&mut self, from: &str, to: &[&str]) -> io::Result<Reply> {
        let mut reply = self.say(&format!("MAIL FROM:<{from}>")).await?;
        for recipient in to {
            if reply.code == 250 {
                reply = self.say(&format!("RCPT TO:<{recipient}>")).await?;
            }
        }
        Ok(reply)
    }

    /// DATA with what it asks for; the refusal, or the reply to the end of the data.
    pub async fn data(&mut self, message: &[u8]) -> io::Result<Reply> {
        match self.say("DATA").await? {
            reply if reply.code != 354 => Ok(reply),
            _ => {
                self.send(&stuffed(message)).await?;
                self.reply().await
            }
        }
    }

    /// A whole transaction: the first refusal, or the last reply.
    pub async fn mail(&mut self, from: &str, to: &[&str], message: &[u8]) -> io::Result<Reply> {
        match self.envelope(from, to).await? {
            reply if reply.code != 250 => Ok(reply),
            _ => self.data(message).await,
        }
    }

    pub async fn reply(&mut self) -> io::Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            let (code, text) = line
                .split_at_checked(3)
                .ok_or_else(|| invalid(format!("no reply: `{line}`")))?;
            let code = code.parse().map_err(|_| invalid(format!("no code: `{line}`")))?;
            if !(200..600).contains(&code) {
                return Err(invalid(format!("no code of SMTP: `{line}`")));
            }
            lines.push(text.get(1..).unwrap_or_default().to_owned());
            match text.bytes().next() {
                None | Some(b' ') => return Ok(Reply { code, lines }),
                Some(b'-') if lines.len() < LINES_MAX => {}
                _ => return Err(invalid(format!("no reply: `{line}`"))),
            }
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                let line = line.strip_suffix(b"\r\n").ok_or_else(|| invalid("a bare LF"))?;
                return String::from_utf8(line.to_vec()).map_err(|_| invalid("a reply is not UTF-8"));
            }
            if self.read.len() > LINE_MAX {
                return Err(invalid("a line without an end"));
            }
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 4096];
        let count = timeout(PATIENCE, self.stream.read(&mut piece)).await??;
        self.read.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// Every reply until the connection ends, which it has to.
    pub async fn rest(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Ok(reply) = self.reply().await {
            replies.push(reply);
        }
        replies
    }
}

fn positive(reply: Reply) -> io::Result<Reply> {
    match reply.code {
        200..400 => Ok(reply),
        _ => Err(io::Error::other(format!("{} {}", reply.code, reply.text()))),
    }
}

/// As RFC 5321, 4.5.2 has it, with the end of the data. Lines end in CRLF.
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + 16);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            bytes.push(b'.');
        }
        bytes.extend_from_slice(line);
    }
    if !bytes.is_empty() && !bytes.ends_with(b"\r\n") {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b".\r\n");
    bytes
}

pub fn base64(bytes: &[u8]) -> String {
    basic::encode(bytes).trim_start_matches("Basic ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_stuffed_and_the_end_is_marked() {
        for (message, sent) in [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".\r\n..\r\na.\r\n", "..\r\n...\r\na.\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(message.as_bytes()), sent.as_bytes());
        }
    }

    #[test]
    fn codes_are_told_from_texts() {
        let reply = |text: &str| Reply {
            code: 550,
            lines: vec![text.to_owned()],
        };
        assert_eq!(reply("5.1.1 no such user").codes(), "550 5.1.1");
        assert_eq!(reply("127.0.0.1 is not known").codes(), "550");
        assert_eq!(reply("").codes(), "550");
    }
}
