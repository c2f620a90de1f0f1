//! A session that has authenticated once is not trusted for ever.

use serde_json::json;

use crate::{MESSAGE, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_refused_at_the_next_mail() {
    let stage = Stage::submission().await;
    std::fs::write(stage.users(), "alice:secret alice-token\nbob:secret bob-token\n").unwrap();
    let mut alice = stage.logged_in().await;
    let smtp = stage.smtp();
    let mut bob = vulcan_tests::mail::session::Session::log_in(smtp, &stage.certificate, "bob", "secret")
        .await
        .unwrap();
    for session in [&mut alice, &mut bob] {
        session
            .mail("a@sender.test", &["bob@example.test"], MESSAGE)
            .await
            .unwrap()
            .expect("250 2.0.0");
    }
    alice
        .envelope("a@sender.test", &["bob@example.test"])
        .await
        .unwrap()
        .expect("250 2.1.5");
    std::fs::write(stage.users(), "bob:secret bob-token\n").unwrap();
    // What was said is remembered until it is revoked.
    alice.say("RSET").await.unwrap().expect("250 2.0.0");
    let remembered = alice
        .mail("a@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap();
    remembered.expect("250 2.0.0");
    alice
        .envelope("a@sender.test", &["bob@example.test"])
        .await
        .unwrap()
        .expect("250 2.1.5");
    let revoked = stage
        .api()
        .post("/v1/authorizers/main/revoke", json!({"auth_token": "alice-token"}))
        .await;
    revoked.live();
    let late = alice.data(MESSAGE).await.unwrap();
    assert!(late.code >= 400, "what it had begun is not delivered either: {late:?}");
    let refused = alice.say("MAIL FROM:<a@sender.test>").await.unwrap();
    refused.expect("535 5.7.8");
    // The control: nobody else has lost anything.
    bob.mail("a@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    let tokens: Vec<_> = stage
        .inbox
        .take()
        .iter()
        .map(|delivery| delivery.field("x-vulcan-auth-token").unwrap().to_owned())
        .collect();
    assert_eq!(tokens, ["alice-token", "bob-token", "alice-token", "bob-token"]);
}

/// Whoever is asked again gives the new token.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_changed_counts_from_the_next_mail_on() {
    let stage = Stage::submission().await;
    let mut alice = stage.logged_in().await;
    alice
        .mail("a@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    std::fs::write(stage.users(), "alice:secret another\n").unwrap();
    stage.api().post("/v1/authorizers/main/revoke", json!({})).await.live();
    alice
        .mail("a@sender.test", &["bob@example.test"], MESSAGE)
        .await
        .unwrap()
        .expect("250 2.0.0");
    let tokens: Vec<_> = stage
        .inbox
        .take()
        .iter()
        .map(|delivery| delivery.field("x-vulcan-auth-token").unwrap().to_owned())
        .collect();
    assert_eq!(tokens, ["alice-token", "another"]);
}
