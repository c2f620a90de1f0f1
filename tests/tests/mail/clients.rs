//! Mail by other people's clients: submitted over STARTTLS by whom the authorizer knows, and as it comes from outside.

use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate as Trusted, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{SmtpTransport, Transport};
use vulcan_tests::mail::clients::{ALL, Client, Order};

use crate::{MESSAGE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn every_client_submits_over_starttls() {
    let stage = Stage::submission().await;
    for client in ALL {
        let mut order = Order::new(stage.smtp(), &stage.world.path(""), MESSAGE)
            .secure(&stage.certificate)
            .login("alice", "secret");
        order.to.push("carol@other.test".to_owned());
        let outcome = client.send(&order).await;
        assert!(outcome.is_taken, "{client:?}: {}", outcome.said);
        let delivery = stage.inbox.one();
        assert_eq!(delivery.field("x-vulcan-auth-token"), Some("alice-token"), "{client:?}");
        let submitted = delivery.submitted();
        assert_eq!(submitted.sender, "alice@sender.test", "{client:?}");
        assert_eq!(submitted.to, ["bob@example.test", "carol@other.test"], "{client:?}");
        assert_eq!(without_end(&submitted.content), without_end(MESSAGE), "{client:?}");
        assert!(
            submitted.received().contains("ESMTPSA"),
            "{client:?}: {:?}",
            submitted.trace
        );
    }
}

/// swaks and lettre send an empty line more than they were given.
fn without_end(message: &[u8]) -> &[u8] {
    message.trim_ascii_end()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_hears_that_its_password_is_wrong() {
    let stage = Stage::submission().await;
    for client in ALL {
        let order = Order::new(stage.smtp(), &stage.world.path(""), MESSAGE).secure(&stage.certificate);
        let outcome = client.send(&order.clone().login("alice", "wrong")).await;
        assert!(!outcome.is_taken, "{client:?}: {}", outcome.said);
        assert!(outcome.said.contains("5.7.8"), "{client:?}: {}", outcome.said);
        let outcome = client.send(&order).await;
        assert!(!outcome.is_taken, "{client:?}: {}", outcome.said);
        assert!(outcome.said.contains("5.7.0"), "{client:?}: {}", outcome.said);
    }
    assert_eq!(stage.inbox.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_hears_that_the_application_is_away_and_is_heard_when_it_is_back() {
    let mut stage = Stage::submission().await;
    let place = stage.application.address;
    let spare = vulcan_tests::mail::application::Application::start(&stage.inbox).await;
    std::mem::replace(&mut stage.application, spare).kill().await;
    for client in ALL {
        let order = Order::new(stage.smtp(), &stage.world.path(""), MESSAGE)
            .secure(&stage.certificate)
            .login("alice", "secret");
        let outcome = client.send(&order).await;
        assert!(!outcome.is_taken, "{client:?}: {}", outcome.said);
        // msmtp says it in words of its own, too.
        assert!(outcome.said.contains("451"), "{client:?}: {}", outcome.said);
    }
    let _back = vulcan_tests::mail::application::Application::at(&stage.inbox, place).await;
    let order = Order::new(stage.smtp(), &stage.world.path(""), MESSAGE)
        .secure(&stage.certificate)
        .login("alice", "secret");
    vulcan_tests::eventually("mail passes again", async || {
        Client::Smtplib.send(&order).await.is_taken
    })
    .await;
    assert_eq!(stage.inbox.one().submitted().content, MESSAGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_client_delivers_to_a_recipient_who_takes_mail_from_anybody() {
    let stage = Stage::inbound().await;
    for client in ALL {
        let order = Order::new(stage.smtp(), &stage.world.path(""), MESSAGE);
        let outcome = client.send(&order).await;
        assert!(outcome.is_taken, "{client:?}: {}", outcome.said);
        let delivery = stage.inbox.one();
        assert_eq!(delivery.field("x-vulcan-auth-token"), None, "{client:?}");
        let submitted = delivery.submitted();
        assert_eq!(submitted.to, ["bob@example.test"], "{client:?}");
        assert_eq!(without_end(&submitted.content), without_end(MESSAGE), "{client:?}");
        let mut elsewhere = order.clone();
        elsewhere.to = vec!["bob@elsewhere.test".to_owned()];
        let outcome = client.send(&elsewhere).await;
        assert!(!outcome.is_taken, "{client:?}: {}", outcome.said);
        assert!(outcome.said.contains("5.7.1"), "{client:?}: {}", outcome.said);
    }
    assert_eq!(stage.inbox.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn lettre_submits_over_starttls() {
    let stage = Stage::submission().await;
    let trusted = Trusted::from_pem(&std::fs::read(&stage.certificate.chain).unwrap()).unwrap();
    let tls = TlsParameters::builder("localhost".to_owned())
        .certificate_store(CertificateStore::None)
        .add_root_certificate(trusted)
        .build_rustls()
        .unwrap();
    let port = stage.smtp().port();
    let transport = |password: &str, mechanism| {
        SmtpTransport::builder_dangerous("localhost")
            .port(port)
            .hello_name(ClientId::Domain("client.test".to_owned()))
            .tls(Tls::Required(tls.clone()))
            .credentials(Credentials::new("alice".to_owned(), password.to_owned()))
            .authentication(vec![mechanism])
            .build()
    };
    let address = |text: &str| text.parse().unwrap();
    let envelope = Envelope::new(Some(address("alice@sender.test")), vec![address("bob@example.test")]).unwrap();
    for mechanism in [Mechanism::Plain, Mechanism::Login] {
        let (good, bad) = (transport("secret", mechanism), transport("wrong", mechanism));
        let envelope = envelope.clone();
        let (sent, refused) =
            tokio::task::spawn_blocking(move || (good.send_raw(&envelope, MESSAGE), bad.send_raw(&envelope, MESSAGE)))
                .await
                .unwrap();
        sent.unwrap();
        let refused = refused.unwrap_err();
        assert_eq!(
            refused.status().map(|code| code.to_string()).as_deref(),
            Some("535"),
            "{refused}"
        );
        let content = stage.inbox.one().submitted().content;
        assert_eq!(without_end(&content), without_end(MESSAGE));
    }
}
