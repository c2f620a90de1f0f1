use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::tls::explain;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Authority { pem, issuer }
    }

    /// A certificate and its key.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Files in a folder of their own.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let (new, path) = (self.0.path().join("new"), self.0.path().join(name));
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
        path
    }

    fn server(&self, (chain, key): (String, String), clients: Option<&Authority>) -> Certificates {
        let files = Files {
            chain: self.put("chain", &chain),
            key: self.put("key", &key),
            clients: clients.map(|authority| self.put("clients", &authority.pem)),
        };
        Certificates::load_for(files, &[b"h2", b"http/1.1"]).unwrap()
    }

    fn identity(&self, (chain, key): (String, String)) -> Identity {
        Identity {
            chain: self.put("own", &chain),
            key: self.put("own-key", &key),
        }
    }
}

/// What comes of a word and its echo: which protocol was agreed on, or why not.
async fn speak(server: &Certificates, trust: &Arc<Trust>, host: &str) -> Result<String, String> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let acceptor = server.acceptor();
    tokio::spawn(async move {
        let mut stream = acceptor.accept(far).await?;
        let mut word = [0; 4];
        stream.read_exact(&mut word).await?;
        stream.write_all(&word).await?;
        stream.shutdown().await
    });
    let mut stream = trust.clone().connect(near, host, b"h2").await?;
    let mut echo = Vec::new();
    let echoed = async {
        stream.write_all(b"word").await?;
        stream.read_to_end(&mut echo).await
    };
    echoed.await.map_err(|error| explain(&error))?;
    let protocol = stream.get_ref().1.alpn_protocol().unwrap_or_default();
    Ok(String::from_utf8(protocol.to_vec()).unwrap())
}

fn believing(path: PathBuf) -> Arc<Trust> {
    Arc::new(Trust::new(Believed::Authorities(path), None))
}

#[tokio::test]
async fn a_server_is_believed_by_its_authority_and_its_name() {
    let (desk, authority) = (Desk::new(), Authority::new());
    let server = desk.server(authority.issue("control.example"), None);
    let trust = believing(desk.put("ca", &authority.pem));
    assert_eq!(speak(&server, &trust, "control.example").await.as_deref(), Ok("h2"));
    let wrong = speak(&server, &trust, "other.example").await.unwrap_err();
    assert!(
        wrong.contains("another one's") && wrong.contains("control.example"),
        "{wrong}"
    );
    let stranger = believing(desk.put("ca-of-another", &Authority::new().pem));
    let wrong = speak(&server, &stranger, "control.example").await.unwrap_err();
    assert!(wrong.contains("no authority that is believed here; --ca"), "{wrong}");
    let system = Arc::new(Trust::default());
    assert!(speak(&server, &system, "control.example").await.is_err());
}

#[tokio::test]
async fn authorities_are_read_again_and_a_broken_file_changes_nothing() {
    let (desk, old, new) = (Desk::new(), Authority::new(), Authority::new());
    let trust = believing(desk.put("ca", &old.pem));
    let server = desk.server(old.issue("a.example"), None);
    let renewed = Desk::new().server(new.issue("a.example"), None);
    assert!(speak(&server, &trust, "a.example").await.is_ok());
    assert!(speak(&renewed, &trust, "a.example").await.is_err());
    desk.put("ca", "nonsense");
    assert!(speak(&server, &trust, "a.example").await.is_ok());
    desk.put("ca", &new.pem);
    assert!(speak(&renewed, &trust, "a.example").await.is_ok());
    assert!(speak(&server, &trust, "a.example").await.is_err());
    assert!(believing(desk.0.path().join("nothing")).check().is_err());
}

#[tokio::test]
async fn where_clients_show_a_certificate_it_is_of_the_right_authority() {
    let (desk, authority, of_clients) = (Desk::new(), Authority::new(), Authority::new());
    let server = desk.server(authority.issue("a.example"), Some(&of_clients));
    let ca = desk.put("ca", &authority.pem);
    let wrong = speak(&server, &believing(ca.clone()), "a.example").await.unwrap_err();
    assert!(wrong.contains("--client-cert and --client-key"), "{wrong}");
    let shows = |identity| Arc::new(Trust::new(Believed::Authorities(ca.clone()), Some(identity)));
    let stranger = shows(desk.identity(authority.issue("edge-1")));
    let wrong = speak(&server, &stranger, "a.example").await.unwrap_err();
    assert!(
        wrong.contains("the client certificate is not believed there"),
        "{wrong}"
    );
    let right = shows(desk.identity(of_clients.issue("edge-1")));
    assert_eq!(speak(&server, &right, "a.example").await.as_deref(), Ok("h2"));
}

#[tokio::test]
async fn a_certificate_that_is_known_is_believed_whatever_its_name() {
    let (desk, authority) = (Desk::new(), Authority::new());
    let server = desk.server(authority.issue("control.example"), None);
    let itself = Arc::new(Trust::new(Believed::Itself(desk.0.path().join("chain")), None));
    assert!(speak(&server, &itself, "127.0.0.1").await.is_ok());
    let other = Desk::new().server(authority.issue("control.example"), None);
    let wrong = speak(&other, &itself, "127.0.0.1").await.unwrap_err();
    assert!(wrong.contains("not the one in the file"), "{wrong}");
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_from_who_is_not_believed() {
    let (near, mut far) = tokio::io::duplex(1 << 10);
    tokio::spawn(async move {
        far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        far.read_to_end(&mut Vec::new()).await
    });
    let connecting = Arc::new(Trust::default()).connect(near, "127.0.0.1", b"h2").await;
    assert_eq!(
        connecting.err().as_deref(),
        Some("no TLS is spoken there: http://, perhaps")
    );
}
