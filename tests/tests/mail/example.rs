//! swaks, through a proxy, to the example application `inbox`: what a user tries first, and what goes wrong then.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use vulcan_tests::api::Api;
use vulcan_tests::mail::clients::{Client, Order, Outcome};
use vulcan_tests::process::Process;
use vulcan_tests::tour;

use crate::{MESSAGE, Stage};

async fn inbox(address: SocketAddr, directory: &Path) -> (Process, SocketAddr) {
    let example = tokio::task::spawn_blocking(|| tour::example("inbox")).await.unwrap();
    let mut command = Command::new(example);
    let process = Process::spawn("inbox", command.arg(address.to_string()), &directory.join("inbox.log"));
    let prefix = "inbox takes mail at ";
    let address = process.line("its address", 0, |line| line.strip_prefix(prefix)?.parse().ok());
    let address = address.await;
    (process, address)
}

#[track_caller]
fn refused(outcome: &Outcome, codes: &str) {
    assert!(
        !outcome.is_taken && outcome.said.contains(codes),
        "{codes}: {}",
        outcome.said
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn swaks_submits_and_the_example_application_shows_it() {
    let mail = json!({"validate_recipient": "/recipients"});
    let stage = Stage::submission_with(&[], json!({"mail": mail, "max_body": 10_000})).await;
    let directory = stage.world.path("");
    let (mut application, address) = inbox(SocketAddr::from(([127, 0, 0, 1], 0)), &directory).await;
    stage.api().register("mail", "a", address).await;
    let order = Order::new(stage.smtp(), &directory, MESSAGE).secure(&stage.certificate);
    let by_alice = order.clone().login("alice", "secret");

    let outcome = Client::Swaks.send(&by_alice).await;
    assert!(
        outcome.is_taken && outcome.said.contains("kept as 1"),
        "{}",
        outcome.said
    );
    let listed = Api::new(address).get("/").await.expect(200).text;
    assert!(
        listed.starts_with("1 <alice@sender.test> -> bob@example.test "),
        "{listed}"
    );
    let shown = Api::new(address).get("/1").await.expect(200).text;
    assert!(
        shown.contains("\r\nSubject: hello\r\n") && shown.contains("\r\n\r\nGood morning.\r\n"),
        "{shown}"
    );

    refused(&Client::Swaks.send(&order).await, "530 5.7.0");
    refused(
        &Client::Swaks.send(&order.clone().login("alice", "wrong")).await,
        "535 5.7.8",
    );
    let mut to_nobody = by_alice.clone();
    to_nobody.to = vec!["nobody@example.test".to_owned()];
    refused(
        &Client::Swaks.send(&to_nobody).await,
        "550 5.1.1 there is nobody of that name",
    );
    let long = [MESSAGE.to_vec(), b"0123456789\r\n".repeat(1_000)].concat();
    let aside = directory.join("aside");
    std::fs::create_dir(&aside).unwrap();
    let too_long = Order::new(stage.smtp(), &aside, &long)
        .secure(&stage.certificate)
        .login("alice", "secret");
    refused(&Client::Swaks.send(&too_long).await, "552 5.3.4");
    application.kill();
    refused(&Client::Swaks.send(&by_alice).await, "451 4.4.1");
    let (_application, _) = inbox(address, &directory).await;
    let limit = json!({"threshold": 0, "period": 60, "auth_token": "alice-token"});
    let path = "/v1/limits/00000000-0000-4000-8000-000000000001";
    stage.api().put(path, limit).await.live();
    refused(&Client::Swaks.send(&by_alice).await, "451 4.7.1");
    stage.api().delete(path).await.live();
    vulcan_tests::eventually("it is back", async || Client::Swaks.send(&by_alice).await.is_taken).await;
}
