//! A proxy of which only the session is real, and clients that follow a script.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream};
use tokio_rustls::TlsAcceptor;

use crate::phase::{self, Phase, PhaseReceiver, PhaseSender};
use crate::pipeline::Credentials;
use crate::smtp::backend::Backend;
use crate::smtp::clients::Clients;
use crate::smtp::serve::converse;
use crate::smtp::session::{Client, Patience};
use crate::smtp::{Envelope, Recipient, Record, Reply, Visitor, replies};

/// `user` has the password `pass`. Nothing routes `nowhere.example`, `guarded.example` is for those who have authenticated,
/// and `full.example` has nothing left once the length of a message is known.
pub struct Double {
    pub clients: Clients,
    pub phase: PhaseSender,
    pub acceptor: Option<TlsAcceptor>,
    pub offers_auth: bool,
    pub bytes_max: u64,
    /// In the spool.
    pub room: usize,
    pub is_revoked: Cell<bool>,
    pub answer: RefCell<Reply>,
    /// Who was asked for what, in order.
    pub asked: RefCell<Vec<String>>,
    pub mails: RefCell<Vec<Mail>>,
}

pub struct Mail {
    pub envelope: Envelope,
    pub message: Vec<u8>,
}

impl Default for Double {
    fn default() -> Double {
        let (phase, _) = phase::channel();
        phase.set(Phase::Serving { stale: false });
        Double {
            clients: Clients::default(),
            phase,
            acceptor: None,
            offers_auth: true,
            bytes_max: 1_000,
            room: usize::MAX,
            is_revoked: Cell::default(),
            answer: RefCell::new(replies::OK),
            asked: RefCell::default(),
            mails: RefCell::default(),
        }
    }
}

impl Backend for Double {
    type Admitted = String;
    type Spool = Vec<u8>;
    type Message = Vec<u8>;

    fn hostname(&self) -> &str {
        "mx.example"
    }

    fn clients(&self) -> &Clients {
        &self.clients
    }

    fn phase(&self) -> PhaseReceiver {
        self.phase.subscribe()
    }

    fn acceptor(&self) -> Option<TlsAcceptor> {
        self.acceptor.clone()
    }

    fn offers_auth(&self) -> bool {
        self.offers_auth
    }

    async fn authenticate(&self, _: &Visitor, credentials: Credentials) -> Result<(), Reply> {
        let Credentials { username, password } = credentials;
        self.note(format!("authenticate {username}"));
        match (username.as_str(), &*password) {
            ("away", _) => Err(Reply::new(454, "4.7.0", "Away")),
            ("user", "pass") if !self.is_revoked.get() => Ok(()),
            _ => Err(Reply::new(535, "5.7.8", "Wrong")),
        }
    }

    fn bytes_max(&self) -> Option<u64> {
        Some(self.bytes_max)
    }

    async fn admit(&self, envelope: &Envelope, recipient: &Recipient, first: Option<&String>) -> Result<String, Reply> {
        let domain = recipient.mailbox.domain();
        self.note(format!("admit {}", recipient.mailbox));
        match domain {
            "nowhere.example" => Err(Reply::new(550, "5.7.1", "No such domain")),
            "guarded.example" if envelope.visitor.credentials.is_none() => Err(Reply::new(530, "5.7.0", "AUTH first")),
            _ if first.is_some_and(|first| first != domain) => Err(Reply::new(452, "4.5.3", "Another service")),
            _ => Ok(domain.to_owned()),
        }
    }

    async fn readmit(
        &self,
        _: &Envelope,
        recipient: &Recipient,
        _: Option<&String>,
        before: String,
        length: u64,
    ) -> Result<String, Reply> {
        self.note(format!("readmit {} of {length}", recipient.mailbox));
        match before.as_str() {
            "full.example" => Err(Reply::new(451, "4.7.1", "Limit")),
            _ => Ok(before),
        }
    }

    fn spool(&self, _: &String) -> Vec<u8> {
        Vec::new()
    }

    async fn write(&self, spool: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Reply> {
        spool.extend_from_slice(bytes);
        if spool.len() as u64 > self.bytes_max {
            return Err(replies::TOO_LARGE);
        }
        match spool.len() > self.room {
            true => Err(replies::NO_SPACE),
            false => Ok(()),
        }
    }

    async fn finish(&self, spool: Vec<u8>) -> Result<Vec<u8>, Reply> {
        Ok(spool)
    }

    fn length(&self, message: &Vec<u8>) -> u64 {
        message.len() as u64
    }

    async fn deliver(&self, envelope: &Envelope, admitted: Vec<String>, message: Vec<u8>, _: &Record) -> Reply {
        assert_eq!(admitted.len(), envelope.recipients.len());
        let envelope = envelope.clone();
        self.mails.borrow_mut().push(Mail { envelope, message });
        self.answer.borrow().clone()
    }
}

impl Double {
    fn note(&self, what: String) {
        self.asked.borrow_mut().push(what);
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.take()
    }

    /// The messages that were delivered since the last call.
    pub fn messages(&self) -> Vec<String> {
        let mails = self.mails.take();
        mails
            .into_iter()
            .map(|mail| String::from_utf8(mail.message).unwrap())
            .collect()
    }

    /// A session from its first byte to its last with a client that does as the script says: `C:` it sends this line,
    /// together with those that follow at once; `S:` it is told this line; `W:` it waits so many seconds; `E` the session ends.
    pub async fn plays(&self, script: &str) {
        self.plays_with(stranger(), script).await;
    }

    pub async fn plays_with(&self, client: Client, script: &str) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let patience = Patience::default();
        tokio::join!(converse(far, client, self, &patience, false), play(near, script));
    }

    /// All that a client is told that sends these parts one after the other, waits for nothing, and says no more.
    pub async fn answers(&self, parts: &[&[u8]]) -> String {
        self.answers_to(stranger(), parts).await
    }

    pub async fn answers_to(&self, client: Client, parts: &[&[u8]]) -> String {
        let (near, far) = tokio::io::duplex(1 << 16);
        let patience = Patience::default();
        let session = converse(far, client, self, &patience, false);
        tokio::join!(session, send(near, parts)).1
    }
}

async fn send(near: DuplexStream, parts: &[&[u8]]) -> String {
    let (mut reader, mut writer) = tokio::io::split(near);
    let mut told = Vec::new();
    let write = async {
        for part in parts {
            // The session may have ended.
            let _ = writer.write_all(part).await;
            // The clock stands still until everybody waits: the session has seen this part alone.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = writer.shutdown().await;
    };
    let (_, read) = tokio::join!(write, reader.read_to_end(&mut told));
    read.unwrap();
    String::from_utf8(told).unwrap()
}

/// Who speaks for nobody.
pub fn stranger() -> Client {
    Client {
        address: [192, 0, 2, 1].into(),
        is_trusted: false,
        place: None,
    }
}

pub fn trusted() -> Client {
    Client {
        is_trusted: true,
        ..stranger()
    }
}

pub async fn play(near: impl AsyncRead + AsyncWrite + Unpin, script: &str) {
    let mut near = BufReader::new(near);
    let mut unsent = Vec::new();
    for step in script.lines().map(str::trim_start).filter(|step| !step.is_empty()) {
        let (kind, text) = step.split_once(':').unwrap_or((step, ""));
        let text = text.strip_prefix(' ').unwrap_or(text);
        if kind == "C" {
            unsent.extend_from_slice(text.as_bytes());
            unsent.extend_from_slice(b"\r\n");
            continue;
        }
        if !unsent.is_empty() {
            near.write_all(&std::mem::take(&mut unsent)).await.unwrap();
        }
        let mut line = String::new();
        match kind {
            "S" => {
                near.read_line(&mut line).await.unwrap();
                assert_eq!(line.strip_suffix("\r\n"), Some(text), "{script}");
            }
            "W" => tokio::time::sleep(Duration::from_secs(text.parse().unwrap())).await,
            "E" => {
                near.read_line(&mut line).await.unwrap();
                assert_eq!(line, "", "{script}");
            }
            _ => panic!("{step}"),
        }
    }
    assert!(unsent.is_empty(), "a script ends with what is told");
}
