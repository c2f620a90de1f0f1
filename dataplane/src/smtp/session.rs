//! One client's session: its commands in turn, until either side ends it.
//!
//! ```text
//! 220 → EHLO → (STARTTLS → a new session) → AUTH → MAIL → RCPT … → DATA → message → reply → MAIL …
//! ```

mod auth;
mod client;
mod message;
mod transaction;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout_at};

pub use self::client::Client;
use self::transaction::Transaction;
use super::backend::Backend;
use super::command::{self, Command};
use super::lines::{Line, Malformed};
use super::machine::{Machine, Step};
use super::wire::Wire;
use super::{Reply, Tls, Visitor, replies, xclient};
use crate::phase::PhaseReceiver;

/// RFC 5321, 4.5.3.1.4 wants 512, and more for each extension.
const LINE_BYTES_MAX: usize = 2_048;
/// RFC 4954, 4
const AUTH_LINE_BYTES_MAX: usize = 12_288;
const ERRORS_MAX: u32 = 10;
/// Commands between two messages that bring no message nearer; more of them are errors.
const IDLE_COMMANDS_MAX: u32 = 100;

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a command, from its first byte or before it, to its last (RFC 5321, 4.5.3.2.7), and for the client to take a reply.
    pub command: Duration,
    /// For so much of a message as `message::SLOW_BYTES`.
    pub data: Duration,
    /// For everything together.
    pub session: Duration,
    /// For the next command, once the proxy is to end.
    pub grace: Duration,
    pub handshake: Duration,
    /// For the client to take the last reply and close.
    pub linger: Duration,
    /// Before the reply to a first failure to authenticate; twice that before the next.
    pub failure: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        let seconds = Duration::from_secs;
        Patience {
            command: seconds(5 * 60),
            data: seconds(60),
            session: seconds(60 * 60),
            grace: seconds(1),
            handshake: seconds(30),
            linger: seconds(5),
            failure: seconds(1),
        }
    }
}

/// Why a session ends.
enum Ended {
    /// With this as its last word.
    Said(Reply),
    /// Nobody is there to be told, or nothing is to be said.
    Gone,
    /// To begin anew.
    StartTls,
}

pub struct Session<'a, S, B: Backend> {
    wire: Wire<S>,
    backend: &'a B,
    patience: &'a Patience,
    phase: PhaseReceiver,
    client: Client,
    visitor: Visitor,
    machine: Machine,
    transaction: Option<Transaction<B::Admitted>>,
    /// What comes first may be a PROXY header. Nothing waits for it: the greeting is the same to everybody.
    awaits_header: bool,
    /// When its time is over.
    ends_at: Instant,
    errors: u32,
    /// Recipients.
    refused: u32,
    /// Recipients that are for another message, since the last one.
    surplus: u32,
    failures: u32,
    idle_commands: u32,
}

impl<'a, S, B> Session<'a, S, B>
where
    S: AsyncRead + AsyncWrite + Unpin,
    B: Backend,
{
    pub fn new(stream: S, client: Client, tls: Option<Tls>, backend: &'a B, patience: &'a Patience) -> Self {
        Session {
            awaits_header: client.is_trusted && tls.is_none(),
            wire: Wire::new(stream),
            backend,
            patience,
            phase: backend.phase(),
            visitor: Visitor {
                client: client.address,
                helo: String::new(),
                is_extended: false,
                tls,
                credentials: None,
            },
            client,
            machine: Machine::new(),
            transaction: None,
            ends_at: Instant::now() + patience.session,
            errors: 0,
            refused: 0,
            surplus: 0,
            failures: 0,
            idle_commands: 0,
        }
    }

    /// To its end, or to where TLS begins on the same connection. `greets`: not where STARTTLS was answered.
    pub async fn run(mut self, greets: bool) -> Option<(S, Client)> {
        if greets {
            self.greet();
        }
        let ended = loop {
            match self.turn().await {
                Ok(()) => {}
                Err(ended) => break ended,
            }
        };
        match ended {
            Ended::StartTls => return Some((self.wire.into_stream(), self.client)),
            Ended::Said(reply) => {
                self.wire.say(&reply);
                self.wire.close(Instant::now() + self.patience.linger).await;
            }
            Ended::Gone => {}
        }
        None
    }

    fn greet(&mut self) {
        let text = format!("{} ESMTP Vulcan", self.backend.hostname());
        self.wire.say(&Reply {
            text: text.into(),
            ..Reply::new(220, "", "")
        });
    }

    /// One command.
    async fn turn(&mut self) -> Result<(), Ended> {
        let line = self.line().await?;
        // Also of a client that never has to be waited for.
        if Instant::now() >= self.ends_at {
            return Err(Ended::Said(replies::TIMEOUT));
        }
        if line.len() > LINE_BYTES_MAX && !is_auth(&line) {
            return Err(Ended::Said(replies::LINE_TOO_LONG));
        }
        let command = match command::parse(&line) {
            Ok(command) => command,
            Err(reply) => return self.answer(&reply),
        };
        // A transaction under way may end, if it goes on at once.
        if self.is_ending() && self.transaction.is_none() && command != Command::Quit {
            return Err(Ended::Said(replies::DRAINING));
        }
        self.obey(command).await
    }

    async fn obey(&mut self, command: Command<'_>) -> Result<(), Ended> {
        let reply = match command {
            Command::Hello { name, is_extended } => return self.hello(name, is_extended),
            Command::Mail(mail) => {
                let reply = Box::pin(self.mail(mail)).await;
                match reply.is_positive() {
                    true => reply,
                    false => return self.deny(&reply),
                }
            }
            Command::Recipient(recipient) => return Box::pin(self.recipient(recipient)).await,
            Command::Data => return Box::pin(self.data()).await,
            Command::Auth { mechanism, initial } => return Box::pin(self.auth(mechanism, initial)).await,
            Command::StartTls => return self.start_tls().await,
            Command::Xclient(attributes) => return self.xclient(attributes),
            Command::Reset => {
                self.reset();
                return self.idle(&replies::OK);
            }
            Command::Noop => return self.idle(&replies::OK),
            Command::Verify => return self.idle(&replies::CANNOT_VERIFY),
            Command::Help => return self.idle(&replies::HELP),
            Command::Quit => replies::BYE,
        };
        self.answer(&reply)
    }

    /// Says it, and ends the session if that was its last word.
    fn answer(&mut self, reply: &Reply) -> Result<(), Ended> {
        if reply.closes {
            return Err(Ended::Said(reply.clone()));
        }
        self.wire.say(reply);
        if replies::is_fault(reply) {
            self.errors += 1;
        }
        match self.errors >= ERRORS_MAX {
            true => Err(Ended::Said(replies::TOO_MANY_ERRORS)),
            false => Ok(()),
        }
    }

    /// To a command that its sender has no right to, or not now.
    fn deny(&mut self, reply: &Reply) -> Result<(), Ended> {
        if !replies::is_fault(reply) {
            self.errors += 1;
        }
        self.answer(reply)
    }

    /// To a command that brings no message nearer.
    fn idle(&mut self, reply: &Reply) -> Result<(), Ended> {
        self.idle_commands += 1;
        if self.idle_commands > IDLE_COMMANDS_MAX {
            self.errors += 1;
        }
        self.answer(reply)
    }

    fn reset(&mut self) {
        self.transaction = None;
        self.machine.advance(Step::Reset);
    }

    fn hello(&mut self, name: &str, is_extended: bool) -> Result<(), Ended> {
        self.transaction = None;
        self.machine.advance(Step::Hello);
        name.clone_into(&mut self.visitor.helo);
        self.visitor.is_extended = is_extended;
        self.idle_commands += 1;
        let extensions = match is_extended {
            true => self.extensions(),
            false => Vec::new(),
        };
        self.wire.say_extensions(self.backend.hostname(), &extensions);
        match self.idle_commands > IDLE_COMMANDS_MAX {
            true => Err(Ended::Said(replies::TOO_MANY_ERRORS)),
            false => Ok(()),
        }
    }

    fn extensions(&self) -> Vec<String> {
        let mut extensions: Vec<String> = ["PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "DSN"]
            .map(String::from)
            .into();
        extensions.push(match self.backend.bytes_max() {
            Some(bytes_max) => format!("SIZE {bytes_max}"),
            None => "SIZE".into(),
        });
        if self.visitor.tls.is_none() && self.backend.acceptor().is_some() {
            extensions.push("STARTTLS".into());
        }
        if self.takes_passwords() && self.backend.offers_auth() {
            extensions.push("AUTH PLAIN LOGIN".into());
        }
        if self.client.is_itself_trusted() {
            extensions.push(xclient::EXTENSION.into());
        }
        extensions
    }

    /// RFC 3207: what was said before counts for nothing, and what came behind the command was not said under TLS.
    async fn start_tls(&mut self) -> Result<(), Ended> {
        if self.visitor.tls.is_some() {
            return self.answer(&replies::TLS_ACTIVE);
        }
        if self.backend.acceptor().is_none() {
            return self.answer(&replies::NO_TLS);
        }
        if self.transaction.is_some() {
            return self.answer(&replies::NESTED);
        }
        if !self.wire.input.is_empty() {
            return Err(Ended::Gone);
        }
        self.wire.say(&replies::START_TLS);
        self.flush().await?;
        Err(Ended::StartTls)
    }

    fn is_ending(&self) -> bool {
        self.phase.borrow().ends_keep_alives()
    }

    /// The next line, once everything that was said is sent.
    async fn line(&mut self) -> Result<Line, Ended> {
        let mut due = self.ends_at.min(Instant::now() + self.patience.command);
        let mut expired = replies::TIMEOUT;
        let mut is_told = false;
        loop {
            let line = match self.is_past_header()? {
                true => self.wire.input.line(AUTH_LINE_BYTES_MAX),
                false => Ok(None),
            };
            match line {
                Ok(Some(line)) if !self.wire.is_full() => return Ok(line),
                Ok(Some(line)) => {
                    self.flush().await?;
                    return Ok(line);
                }
                Ok(None) => self.flush().await?,
                Err(malformed) => return Err(Ended::Said(malformed.into())),
            }
            tokio::select! {
                biased;
                read = self.wire.fill() => match read {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Err(Ended::Gone),
                },
                // Without a sender nobody is left who would want it to go on.
                _ = self.phase.wait_for(|phase| phase.ends_keep_alives()), if !is_told => {
                    is_told = true;
                    due = due.min(Instant::now() + self.patience.grace);
                    expired = replies::DRAINING;
                }
                () = sleep_until(due) => return Err(Ended::Said(expired)),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        let due = Instant::now() + self.patience.command;
        match timeout_at(due, self.wire.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Ended::Gone),
        }
    }
}

fn is_auth(line: &[u8]) -> bool {
    line.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(b"AUTH "))
}

impl From<Malformed> for Reply {
    fn from(malformed: Malformed) -> Reply {
        match malformed {
            Malformed::BareLineFeed | Malformed::BareCarriageReturn => replies::BARE_END,
            Malformed::Nul => replies::NUL,
            Malformed::TooLong => replies::LINE_TOO_LONG,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
