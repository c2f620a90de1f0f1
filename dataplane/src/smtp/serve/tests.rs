use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::smtp::clients::CONNECTIONS_MAX;
use crate::smtp::session::tests::stage::Double;

/// All that one is told who sends this over a socket.
async fn told(double: &Double, trusted: &[IpNet], bytes: &[u8], implicit_tls: bool) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let patience = Patience::default();
    let talk = async {
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut told = String::new();
        client.read_to_string(&mut told).await.unwrap();
        told
    };
    let serving = serve(stream, peer, trusted, double, &patience, implicit_tls);
    tokio::join!(serving, talk).1
}

const TAKEN: &str = "220 mx.example ESMTP Vulcan\r\n221 2.0.0 Bye\r\n";
const TURNED_AWAY: &str = "421 4.7.0 Too many connections from your address\r\n";

#[tokio::test]
async fn an_address_that_has_its_connections_is_told_so() {
    let double = Double::default();
    let everybody: [IpNet; 1] = ["127.0.0.0/8".parse().unwrap()];
    let places: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|_| double.clients.connect([127, 0, 0, 1].into()))
        .collect();
    assert_eq!(told(&double, &[], b"QUIT\r\n", false).await, TURNED_AWAY);
    assert_eq!(
        told(&double, &[], b"", true).await,
        "",
        "before TLS there is nothing to be said"
    );
    assert_eq!(
        told(&double, &everybody, b"QUIT\r\n", false).await,
        TAKEN,
        "a trusted one"
    );
    drop(places);
    assert_eq!(told(&double, &[], b"QUIT\r\n", false).await, TAKEN);
    assert_eq!(
        told(&double, &[], b"QUIT\r\n", false).await,
        TAKEN,
        "who has gone has left its place"
    );
}

#[tokio::test]
async fn a_header_is_believed_of_trusted_servers_alone() {
    let double = Double::default();
    let everybody: [IpNet; 1] = ["127.0.0.0/8".parse().unwrap()];
    let bytes = b"PROXY TCP4 198.51.100.7 10.0.0.1 4000 25\r\nQUIT\r\n";
    assert_eq!(told(&double, &everybody, bytes, false).await, TAKEN);
    let refused = "220 mx.example ESMTP Vulcan\r\n500 5.7.0 This is a mail server\r\n";
    assert_eq!(told(&double, &[], bytes, false).await, refused);
}
