//! A new connection to an upstream.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::endpoint::Endpoint;
use crate::pipeline::dice;

#[derive(Debug)]
pub enum ConnectError {
    TimedOut,
    /// The name has no address.
    Unresolved,
    /// The last address's answer, when none took the connection.
    Failed(io::Error),
    /// The upstream was unregistered, and its time for draining is over.
    Cut,
}

impl ConnectError {
    /// Whether it tells something of the upstream. A lack of descriptors, ports or memory is this proxy's own.
    pub fn is_of_upstream(&self) -> bool {
        match self {
            ConnectError::TimedOut | ConnectError::Unresolved => true,
            ConnectError::Failed(error) => !matches!(
                Errno::from_io_error(error),
                Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM)
            ),
            ConnectError::Cut => false,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::TimedOut => f.write_str("the upstream took no connection in time"),
            ConnectError::Unresolved => f.write_str("the upstream's name has no address"),
            ConnectError::Failed(error) => write!(f, "the upstream took no connection: {error}"),
            ConnectError::Cut => f.write_str("the upstream was unregistered"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// Tries all addresses of the endpoint, from a random one on, so that each gets its part; `within` is for all of them
/// together, and each gets an equal share of what is left.
pub async fn connect(endpoint: &Endpoint, within: Duration) -> Result<TcpStream, ConnectError> {
    tokio::select! {
        biased;
        () = endpoint.cut_token().cancelled() => Err(ConnectError::Cut),
        outcome = dial(endpoint, Instant::now() + within) => outcome,
    }
}

async fn dial(endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let mut addresses = endpoint.addresses();
    if addresses.is_empty() {
        addresses = timeout_at(deadline, endpoint.resolved())
            .await
            .map_err(|_| ConnectError::Unresolved)?;
    }
    let count = addresses.len();
    let first = match count {
        0 => return Err(ConnectError::Unresolved),
        1 => 0,
        count => dice::roll(count as u64) as usize,
    };
    let mut error = ConnectError::Unresolved;
    for tried in 0..count {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(count - tried).unwrap_or(u32::MAX);
        match one(addresses[(first + tried) % count], now + share).await {
            Ok(stream) => return Ok(stream),
            Err(other) => error = other,
        }
    }
    Err(error)
}

async fn one(address: SocketAddr, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let stream = timeout_at(deadline, TcpStream::connect(address))
        .await
        .map_err(|_| ConnectError::TimedOut)?
        .map_err(ConnectError::Failed)?;
    // A head and its body are written as they come: waiting for more of either helps nobody.
    stream.set_nodelay(true).map_err(ConnectError::Failed)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::change::Revision;
    use tokio::net::TcpListener;
    use tokio::sync::watch;

    use super::*;
    use crate::upstream::care::Care;
    use crate::upstream::endpoint::Identity;
    use crate::upstream::resolve::Targets;

    const AMPLE: Duration = Duration::from_secs(20);

    fn endpoint(targets: Targets) -> Endpoint {
        let identity = Identity {
            service: "web".try_into().unwrap(),
            id: "a".try_into().unwrap(),
            address: "a.test:80".try_into().unwrap(),
            registration: Revision(1),
        };
        let care = Arc::new(Care::new(1));
        Endpoint::new(identity, 1, targets, care, Arc::new(watch::Sender::new(0)))
    }

    fn at(addresses: &[SocketAddr]) -> Endpoint {
        endpoint(Targets::Named(watch::channel(addresses.into()).1))
    }

    async fn live() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn one_address_of_many_is_enough() {
        let dead = [live().await.1, live().await.1];
        let (_listener, live) = live().await;
        let endpoint = at(&[dead[0], live, dead[1]]);
        for _ in 0..20 {
            let stream = connect(&endpoint, AMPLE).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), live);
            assert!(stream.nodelay().unwrap());
        }
    }

    #[tokio::test]
    async fn it_is_told_why_there_is_none() {
        let dead = live().await.1;
        let refused = connect(&at(&[dead]), AMPLE).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Failed(_)) && refused.is_of_upstream());

        let (_answers, unknown) = watch::channel(Arc::default());
        let unresolved = connect(&endpoint(Targets::Named(unknown)), Duration::from_millis(10)).await;
        assert!(matches!(unresolved, Err(ConnectError::Unresolved)));

        let (_listener, live) = live().await;
        let unregistered = at(&[live]);
        unregistered.cut_token().cancel();
        let cut = connect(&unregistered, AMPLE).await.unwrap_err();
        assert!(matches!(cut, ConnectError::Cut) && !cut.is_of_upstream());

        let ours = ConnectError::Failed(io::Error::from_raw_os_error(Errno::MFILE.raw_os_error()));
        assert!(!ours.is_of_upstream());
    }
}
