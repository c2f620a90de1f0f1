use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::stage::{Double, play, stranger, trusted};
use crate::smtp::Tls;
use crate::smtp::serve::converse;
use crate::smtp::session::Patience;

fn pair() -> (TlsAcceptor, TlsConnector) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["mx.example".to_owned()]).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server).into(), Arc::new(client).into())
}

fn double() -> (Double, TlsConnector) {
    let (acceptor, connector) = pair();
    let double = Double {
        acceptor: Some(acceptor),
        ..Double::default()
    };
    (double, connector)
}

async fn encrypted(connector: &TlsConnector, near: DuplexStream) -> TlsStream<DuplexStream> {
    let name = ServerName::try_from("mx.example").unwrap();
    connector.connect(name, near).await.unwrap()
}

const IN_PRIVATE: &str = "
    C: EHLO client
    S: 250-mx.example
    S: 250-PIPELINING
    S: 250-8BITMIME
    S: 250-SMTPUTF8
    S: 250-ENHANCEDSTATUSCODES
    S: 250-DSN
    S: 250-SIZE 1000
    S: 250 AUTH PLAIN LOGIN
    C: STARTTLS
    S: 503 5.5.1 TLS is active
    C: AUTH PLAIN AHVzZXIAcGFzcw==
    S: 235 2.7.0 Authentication successful
    C: MAIL FROM:<a@b>
    C: RCPT TO:<b@guarded.example>
    C: DATA
    S: 250 2.1.0 Ok
    S: 250 2.1.5 Ok
    S: 354 End data with <CR><LF>.<CR><LF>
    C: text
    C: .
    S: 250 2.0.0 Ok
    C: QUIT
    S: 221 2.0.0 Bye
    E";

#[tokio::test(start_paused = true)]
async fn starttls_begins_everything_anew() {
    let (double, connector) = double();
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let patience = Patience::default();
    let client = async {
        let script = "
            S: 220 mx.example ESMTP Vulcan
            C: EHLO client
            S: 250-mx.example
            S: 250-PIPELINING
            S: 250-8BITMIME
            S: 250-SMTPUTF8
            S: 250-ENHANCEDSTATUSCODES
            S: 250-DSN
            S: 250-SIZE 1000
            S: 250 STARTTLS
            C: AUTH PLAIN AHVzZXIAcGFzcw==
            S: 538 5.7.11 Send STARTTLS first
            C: STARTTLS
            S: 220 2.0.0 Ready to start TLS";
        play(&mut near, script).await;
        let mut near = encrypted(&connector, near).await;
        play(&mut near, "C: MAIL FROM:<a@b>\n S: 503 5.5.1 Send HELO or EHLO first").await;
        play(near, IN_PRIVATE).await;
    };
    tokio::join!(converse(far, stranger(), &double, &patience, false), client);
    let mails = double.mails.take();
    let expected = Tls {
        protocol: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
    };
    assert_eq!(mails[0].envelope.visitor.tls, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn implicit_tls_greets_within_it() {
    let (double, connector) = double();
    let (near, far) = tokio::io::duplex(1 << 16);
    let patience = Patience::default();
    let client = async {
        let near = encrypted(&connector, near).await;
        play(near, &format!("S: 220 mx.example ESMTP Vulcan\n{IN_PRIVATE}")).await;
    };
    tokio::join!(converse(far, stranger(), &double, &patience, true), client);
    assert_eq!(double.messages(), ["text\r\n"]);
}

/// What came before the handshake is never taken for a command under TLS (CVE-2011-0411), however it is cut.
#[tokio::test(start_paused = true)]
async fn nothing_is_carried_into_tls() {
    let (double, _) = double();
    let lines = b"EHLO c\r\nSTARTTLS\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@example.com>\r\n";
    let begin = lines.windows(2).rposition(|pair| pair == b"S\r").unwrap() + 3;
    for cut in 0..=lines.len() {
        let (before, after) = lines.split_at(cut);
        let told = double.answers(&[before, after]).await;
        // The 220 is said only where nothing was behind the command when it was read.
        assert_eq!(told.contains("220 2.0.0"), cut == begin, "at {cut}: {told}");
        assert!(!told.contains("2.1.0"), "at {cut}: {told}");
    }
    assert_eq!(double.asked(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_has_a_deadline_and_a_place() {
    let (double, _) = double();
    let (mut near, far) = tokio::io::duplex(1 << 16);
    let patience = Patience::default();
    let begun = tokio::time::Instant::now();
    let client = async {
        play(
            &mut near,
            "S: 220 mx.example ESMTP Vulcan\n C: STARTTLS\n S: 220 2.0.0 Ready to start TLS",
        )
        .await;
        near.write_all(&[22, 3, 1]).await.unwrap();
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    };
    tokio::join!(converse(far, stranger(), &double, &patience, false), client);
    assert_eq!(begun.elapsed().as_secs(), 30);
    let script = "
        S: 220 mx.example ESMTP Vulcan
        C: HELO c
        C: MAIL FROM:<a@b>
        S: 250 mx.example
        S: 250 2.1.0 Ok
        C: STARTTLS
        S: 503 5.5.1 A transaction is under way";
    double.plays_with(trusted(), script).await;
}
