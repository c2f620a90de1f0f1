//! An origin whose every byte the test decides, in the test's own process.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::process::PATIENCE;
use crate::wire::{Connection, Fields, RequestLine};

pub struct Script {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Script {
    pub async fn listen() -> Script {
        Script::listen_at("127.0.0.1:0").await
    }

    pub async fn listen_at(address: &str) -> Script {
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|error| panic!("{address}: {error}"));
        let address = listener.local_addr().expect("a bound listener has an address");
        Script { listener, address }
    }

    /// The next connection.
    pub async fn accept(&self) -> Connection {
        let accepted = timeout(PATIENCE, self.listener.accept())
            .await
            .expect("nobody connects to the origin");
        Connection::new(accepted.expect("the listener is open").0)
    }

    /// The next connection and the head of its first request.
    pub async fn request(&self) -> (Connection, RequestLine, Fields) {
        let mut connection = self.accept().await;
        let (line, fields) = next_request(&mut connection).await;
        (connection, line, fields)
    }

    /// Whether nobody connects for a while.
    pub async fn is_left_alone(&self, time: std::time::Duration) -> bool {
        timeout(time, self.listener.accept()).await.is_err()
    }
}

pub async fn next_request(connection: &mut Connection) -> (RequestLine, Fields) {
    connection
        .reader
        .request()
        .await
        .expect("a request")
        .expect("a request before the connection's end")
}
