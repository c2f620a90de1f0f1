//! The floor: a proxy that looks at nothing and copies bytes between two sockets. None can be cheaper by this way.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);

struct Pair {
    sides: [Side; 2],
}

struct Side {
    stream: TcpStream,
    /// Read from the other side, not yet written to this one. While there is any, the other side is not read.
    pending: Vec<u8>,
}

/// Serves until the process ends.
pub fn run(listener: std::net::TcpListener, origin: SocketAddr) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::from_std(listener);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut scratch = vec![0; 128 * 1024];
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&poll, &listener, origin, &mut pairs)?;
                continue;
            }
            let Token(token) = event.token();
            let Some(Some(pair)) = pairs.get_mut(token / 2) else {
                continue;
            };
            if pair.progress(token % 2, event.is_read_closed(), &mut scratch).is_err() {
                pairs[token / 2] = None;
            }
        }
    }
}

fn accept(poll: &Poll, listener: &TcpListener, origin: SocketAddr, pairs: &mut Vec<Option<Pair>>) -> io::Result<()> {
    loop {
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let side = |stream: TcpStream| {
            stream.set_nodelay(true).map(|()| Side {
                stream,
                pending: Vec::new(),
            })
        };
        let mut sides = [side(client)?, side(TcpStream::connect(origin)?)?];
        for (side, token) in sides.iter_mut().zip(pairs.len() * 2..) {
            poll.registry()
                .register(&mut side.stream, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        }
        pairs.push(Some(Pair { sides }));
    }
}

impl Pair {
    /// An error: one side has ended, and with it the pair.
    fn progress(&mut self, side: usize, closing: bool, scratch: &mut [u8]) -> io::Result<()> {
        let was_full = !self.sides[side].pending.is_empty();
        self.sides[side].flush()?;
        if was_full && self.sides[side].pending.is_empty() {
            self.copy(1 - side, false, scratch)?;
        }
        self.copy(side, closing, scratch)
    }

    fn copy(&mut self, from: usize, closing: bool, scratch: &mut [u8]) -> io::Result<()> {
        let [first, second] = &mut self.sides;
        let (source, sink) = if from == 0 { (first, second) } else { (second, first) };
        while sink.pending.is_empty() {
            let read = match source.stream.read(scratch) {
                Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
                Ok(read) => read,
                Err(error) if not_now(&error) => return Ok(()),
                Err(error) => return Err(error),
            };
            sink.write(&scratch[..read])?;
            if read < scratch.len() && !closing {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Side {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(part) => bytes = &bytes[part..],
                Err(error) if not_now(&error) => {
                    self.pending.extend_from_slice(bytes);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending)
    }
}

fn not_now(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected | io::ErrorKind::Interrupted
    )
}
