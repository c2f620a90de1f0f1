//! Mail from outside: real clients, real processes, and an application that keeps what it gets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod clients;
mod contents;
mod deploys;
mod draining;
mod dying;
mod envelopes;
mod example;
mod forging;
mod injecting;
mod limits;
mod postfix;
mod replies;
mod revoking;
mod routing;
mod secure;
mod shapes;
mod smuggling;
mod spool;

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};
use vulcan_tests::api::Api;
use vulcan_tests::authserver;
use vulcan_tests::mail::application::{Application, Inbox};
use vulcan_tests::mail::certificate::Certificate;
use vulcan_tests::mail::session::Session;
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

const MESSAGE: &[u8] = b"From: alice@sender.test\r\nTo: bob@example.test\r\nSubject: hello\r\n\r\nGood morning.\r\n";

/// One process, and one application behind it.
struct Stage {
    up: Node,
    inbox: Inbox,
    application: Application,
    certificate: Certificate,
    world: World,
}

impl Stage {
    /// Nothing is registered yet.
    async fn bare(extra: &[&str]) -> Stage {
        let world = World::new();
        let certificate = Certificate::create(&world.path(""), "proxy");
        let arguments = [&certificate.arguments(), extra].concat();
        let up = world.up(&arguments).await;
        let inbox = Inbox::default();
        let application = Application::start(&inbox).await;
        Stage {
            up,
            inbox,
            application,
            certificate,
            world,
        }
    }

    /// Mail for anybody, from whom the users' file knows: alice, whose password is `secret`.
    async fn submission() -> Stage {
        Stage::submission_with(&[], json!({})).await
    }

    /// `settings` are further members of the service.
    async fn submission_with(extra: &[&str], settings: Value) -> Stage {
        let stage = Stage::bare(extra).await;
        std::fs::write(stage.users(), "alice:secret alice-token\n").unwrap();
        let (auth, _) = authserver::inside(&stage.users()).await;
        guard(&stage.api(), auth, settings).await;
        stage.api().register("mail", "a", stage.application.address).await;
        stage
    }

    /// Mail for `example.test`, from anybody.
    async fn inbound() -> Stage {
        Stage::inbound_with(&[], json!({})).await
    }

    async fn inbound_with(extra: &[&str], settings: Value) -> Stage {
        let stage = Stage::bare(extra).await;
        open(&stage.api(), settings).await;
        stage.api().register("mail", "a", stage.application.address).await;
        stage
    }

    fn users(&self) -> PathBuf {
        self.world.path("users")
    }

    fn api(&self) -> Api {
        self.up.api()
    }

    fn smtp(&self) -> SocketAddr {
        self.up.smtp()
    }

    /// Greeted.
    async fn session(&self) -> Session {
        Session::open(self.smtp()).await.unwrap()
    }

    /// Logged in as alice.
    async fn logged_in(&self) -> Session {
        Session::log_in(self.smtp(), &self.certificate, "alice", "secret")
            .await
            .unwrap()
    }
}

/// `base` with the members of `more`.
fn with(mut base: Value, more: Value) -> Value {
    for (name, value) in more.as_object().into_iter().flatten() {
        base[name] = value.clone();
    }
    base
}

/// The service `mail` for every recipient, that asks `auth`.
async fn guard(api: &Api, auth: impl Display, settings: Value) {
    api.put("/v1/services/auth", json!({"match": []})).await.live();
    api.register("auth", "a", auth).await;
    let main = json!({"service": "auth", "timeout": "10s"});
    api.put("/v1/authorizers/main", main).await.live();
    let mail = json!({"match": [{"recipients": ["*"]}], "authorizer": "main"});
    api.put("/v1/services/mail", with(mail, settings)).await.live();
}

/// The service `mail` for `example.test`, that asks nobody.
async fn open(api: &Api, settings: Value) {
    let mail = json!({"match": [{"recipients": ["example.test"]}]});
    api.put("/v1/services/mail", with(mail, settings)).await.live();
}
