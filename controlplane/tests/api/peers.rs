//! What control planes ask each other, over TLS and by a token of their own.

use std::sync::Arc;
use std::time::Duration;

use controlplane::PROTOCOLS;
use net::announce::Announce;
use net::duplex::{Address, Credentials, Requests};
use net::tls::{Believed, Certificates, Files, Trust};
use tokio_util::sync::CancellationToken;

use crate::plane::config;

const TOKENS: &str = "[[token]]\nname = \"ci\"\nrole = \"admin\"\n\
                      sha256 = \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"\n";

#[tokio::test]
async fn control_planes_believe_each_other_by_certificate_and_token() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let files = Files {
        chain: put("chain.pem", &own.cert.pem()),
        key: put("key.pem", &own.signing_key.serialize_pem()),
        clients: None,
    };
    let believing = |path| Arc::new(Trust::new(Believed::Authorities(path), None));
    let (right, wrong) = (
        believing(files.chain.clone()),
        believing(put("other.pem", &other.cert.pem())),
    );
    let mut config = config(directory.path(), Some(put("tokens.toml", TOKENS)));
    config.tls = Some(Arc::new(Certificates::load_for(files, PROTOCOLS).unwrap()));
    config.peer_token = Some("among".into());

    let (announce, stop) = (Announce::to(std::io::sink()), CancellationToken::new());
    let running = tokio::spawn(controlplane::run(config, announce.clone(), stop.clone()));
    let admin = tokio::time::timeout(Duration::from_secs(60), announce.bound("admin")).await;
    let admin = Address::parse(&format!("https://{}", admin.unwrap())).unwrap();
    let ask = async |token: &str, trust: &Arc<Trust>| {
        let credentials = Credentials {
            token: Some(token.into()),
            trust: trust.clone(),
        };
        let mut requests = Requests::dial(admin.clone(), credentials).await?;
        let answer = requests.get("/v1/peers/upstreams/nobody").await?;
        Ok::<u16, String>(answer.status().as_u16())
    };
    assert_eq!(ask("among", &right).await, Ok(404), "let in: there is no such proxy");
    assert_eq!(
        ask("secret", &right).await,
        Ok(401),
        "an administrator is no control plane"
    );
    let unknown = ask("among", &wrong).await.unwrap_err();
    assert!(unknown.contains("no authority that is believed here"), "{unknown}");
    stop.cancel();
    running.await.unwrap().unwrap();
}
