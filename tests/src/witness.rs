//! An origin that knows from when on a token may not come any more.
//!
//! Tokens are numbers, and grow. It runs on a thread of its own and looks at all its connections again and again. Told
//! that a number is gone it first reads whatever has arrived by then, and only after that takes that number, and all
//! below, for late: what a socket held already when a call returned had come before.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

const HEAD_END: &[u8] = b"\r\n\r\n";
const FIELD: &str = "x-vulcan-auth-token: ";
/// Between two looks when nothing has come.
const PAUSE: Duration = Duration::from_micros(50);

/// What has come so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests.
    pub received: u64,
    /// The highest token.
    pub newest: u64,
    /// Requests whose token was gone when they came.
    pub late: u64,
}

pub struct Witness {
    pub address: SocketAddr,
    commands: Sender<(Option<u64>, Sender<Tally>)>,
}

impl Witness {
    /// One that takes so long for each answer, which is the token that it saw. It ends with its handle.
    pub fn start(answers_after: Duration) -> Witness {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        listener
            .set_nonblocking(true)
            .expect("a socket can be told not to block");
        let (sender, commands) = channel();
        let mut desk = Desk {
            listener,
            answers_after,
            guests: Vec::new(),
            gone: 0,
            tally: Tally::default(),
        };
        thread::spawn(move || desk.serve(&commands));
        Witness {
            address,
            commands: sender,
        }
    }

    /// From here on nobody carries that token or an older one. Answers with what came before.
    pub fn gone(&self, token: u64) -> Tally {
        self.command(Some(token))
    }

    pub fn tally(&self) -> Tally {
        self.command(None)
    }

    fn command(&self, gone: Option<u64>) -> Tally {
        let (sender, answer) = channel();
        self.commands.send((gone, sender)).expect("the witness is there");
        answer
            .recv_timeout(Duration::from_secs(30))
            .expect("the witness answers")
    }
}

struct Desk {
    listener: TcpListener,
    answers_after: Duration,
    guests: Vec<Guest>,
    /// Tokens up to this one.
    gone: u64,
    tally: Tally,
}

struct Guest {
    stream: TcpStream,
    read: Vec<u8>,
    /// The token of its request, and when it is answered.
    due: Option<(u64, Instant)>,
}

impl Desk {
    fn serve(&mut self, commands: &Receiver<(Option<u64>, Sender<Tally>)>) {
        loop {
            let command = match commands.try_recv() {
                Ok(command) => Some(command),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            };
            let before = self.tally.received;
            self.look();
            if let Some((gone, answer)) = command {
                self.gone = gone.unwrap_or(self.gone).max(self.gone);
                let _ = answer.send(self.tally.clone());
            } else if self.tally.received == before {
                thread::sleep(PAUSE);
            }
        }
    }

    fn look(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let set = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
            if set.is_ok() {
                self.guests.push(Guest {
                    stream,
                    read: Vec::new(),
                    due: None,
                });
            }
        }
        let now = Instant::now();
        let (gone, answers_after, tally) = (self.gone, self.answers_after, &mut self.tally);
        self.guests.retain_mut(|guest| {
            let stays = guest.read();
            if let Some(token) = guest.request() {
                tally.received += 1;
                tally.newest = tally.newest.max(token);
                tally.late += u64::from(token <= gone);
                guest.due = Some((token, now + answers_after));
            }
            stays && guest.answer(now)
        });
    }
}

impl Guest {
    /// All that has arrived; false at the end.
    fn read(&mut self) -> bool {
        let mut piece = [0; 4096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return false,
                Ok(count) => self.read.extend_from_slice(&piece[..count]),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// The token of a whole head, 0 if it has none. Requests have no bodies here.
    fn request(&mut self) -> Option<u64> {
        let end = self.read.windows(HEAD_END.len()).position(|part| part == HEAD_END)?;
        let head: Vec<u8> = self.read.drain(..end + HEAD_END.len()).collect();
        let head = String::from_utf8_lossy(&head).to_lowercase();
        let token = head.lines().find_map(|line| line.strip_prefix(FIELD));
        Some(token.and_then(|token| token.parse().ok()).unwrap_or(0))
    }

    fn answer(&mut self, now: Instant) -> bool {
        let Some((token, _)) = self.due.take_if(|(_, due)| *due <= now) else {
            return true;
        };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{token:020}");
        // So little fits into any socket.
        self.stream.write_all(answer.as_bytes()).is_ok()
    }
}
