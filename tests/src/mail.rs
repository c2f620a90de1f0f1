//! A mail client that says what it is told, and hears every reply.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::process::PATIENCE;

pub struct Mailer {
    stream: BufReader<TcpStream>,
}

/// A reply: its code, and its lines without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub lines: Vec<String>,
}

impl Reply {
    /// `250 2.1.5`: without what it says in words.
    pub fn codes(&self) -> String {
        let enhanced = self.lines[0].split(' ').next().unwrap_or_default();
        match enhanced.starts_with(['2', '4', '5']) && enhanced.contains('.') {
            true => format!("{} {enhanced}", self.code),
            false => self.code.to_string(),
        }
    }
}

impl Mailer {
    /// Greeted, and has said EHLO.
    pub async fn connect(to: SocketAddr) -> Mailer {
        let stream = TcpStream::connect(to).await.expect("it listens");
        let mut mailer = Mailer {
            stream: BufReader::new(stream),
        };
        assert_eq!(mailer.hear().await.code, 220);
        mailer.say("EHLO client.example").await;
        mailer
    }

    pub async fn hear(&mut self) -> Reply {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.stream.read_line(&mut line));
            let read = read.await.expect("it answers").expect("the connection is whole");
            assert!(read > 0, "the connection ended after {lines:?}");
            let line = line.strip_suffix("\r\n").expect("lines end with CRLF");
            let (code, rest) = line.split_at(3);
            lines.push(rest.get(1..).unwrap_or_default().to_owned());
            if !rest.starts_with('-') {
                let code = code.parse().expect("a reply begins with its code");
                return Reply { code, lines };
            }
        }
    }

    pub async fn say(&mut self, line: &str) -> Reply {
        self.send(&format!("{line}\r\n")).await;
        self.hear().await
    }

    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("it reads");
    }

    /// The codes of the first reply that is no success, or of the last.
    pub async fn mail(&mut self, from: &str, to: &[&str], content: &str) -> String {
        let mut commands = vec![format!("MAIL FROM:<{from}>")];
        commands.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        commands.extend(["DATA".to_owned(), format!("{content}\r\n.")]);
        let mut last = String::new();
        for command in commands {
            let reply = self.say(&command).await;
            last = reply.codes();
            if reply.code >= 400 {
                self.say("RSET").await;
                break;
            }
        }
        last
    }
}
