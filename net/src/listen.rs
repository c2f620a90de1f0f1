//! Listening sockets.

use std::net::{SocketAddr, TcpListener};
use std::{fmt, io};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait for an accept; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why nothing listens at the address that a flag gives.
#[derive(Debug)]
pub struct ListenError {
    /// As on the command line: `--http`.
    pub flag: &'static str,
    pub address: SocketAddr,
    pub error: io::Error,
}

impl ListenError {
    pub fn of(flag: &'static str, address: SocketAddr) -> impl Fn(io::Error) -> ListenError {
        move |error| ListenError { flag, address, error }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: cannot listen there: {}", self.flag, self.address, self.error)
    }
}

impl std::error::Error for ListenError {}

/// Whether [`bind`] would succeed now, without taking a connection in between: what will be bound later is better
/// refused at once.
pub fn probe(address: SocketAddr) -> io::Result<()> {
    socket(address, false).map(drop)
}

/// One nonblocking listener. Port 0 lets the kernel choose.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    open(address, false)
}

/// A nonblocking listener that shares its address with others that were opened by this function and the same user
/// (SO_REUSEPORT): the kernel spreads connections over them.
pub fn bind_reuseport(address: SocketAddr) -> io::Result<TcpListener> {
    open(address, true)
}

/// As many listeners at one address as there are workers; with port 0 all get the port that the first was given.
///
/// An address at which anyone listens already is refused (`AddrInUse`): SO_REUSEPORT alone would let a second process of
/// the same user take half of the connections unnoticed.
pub fn bind_workers(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        drop(bind(address)?);
    }
    let first = bind_reuseport(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..workers {
        listeners.push(bind_reuseport(address)?);
    }
    Ok(listeners)
}

fn open(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = socket(address, shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Bound, and not listening.
fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the connections of the process before it to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn workers_share_the_port_that_the_first_was_given() {
        let listeners = bind_workers(any(), 3).unwrap();
        let ports: Vec<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().unwrap().port())
            .collect();
        assert_ne!(ports[0], 0);
        assert_eq!(ports, [ports[0]; 3]);
    }

    #[test]
    fn an_address_in_use_is_refused() {
        let workers = bind_workers(any(), 2).unwrap();
        let address = workers[0].local_addr().unwrap();
        assert_eq!(bind_workers(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(probe(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let address = bind(any()).unwrap().local_addr().unwrap();
        probe(address).unwrap();
        assert!(std::net::TcpStream::connect(address).is_err());
        bind(address).unwrap();
    }

    #[test]
    fn an_address_is_free_again_once_its_listeners_are_closed() {
        let address = bind_workers(any(), 2).unwrap()[0].local_addr().unwrap();
        assert_eq!(bind_workers(address, 2).unwrap().len(), 2);
    }
}
