//! Envelopes against services, an authorizer and limits that are really there.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use shared::change::{Epoch, Kind, Revision};
use shared::quota::ProxyId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use uuid::Uuid;

use super::*;
use crate::fixture::{self, Registry};
use crate::limiter::Identity;
use crate::limiter::tests::owner::{Machine, story};
use crate::smtp::{BodyType, Mailbox, Notification};
use crate::view::Views;

struct Stage {
    views: Arc<Views>,
    context: Rc<WorkerContext>,
    registry: RefCell<Registry>,
}

/// Lets in who shows the password of now.
#[derive(Clone)]
struct Authorizer {
    password: Rc<RefCell<&'static str>>,
    asked: Rc<Cell<usize>>,
    /// The last head and body.
    heard: Rc<RefCell<String>>,
}

impl Stage {
    fn new() -> Stage {
        let views = Views::new(1);
        Stage {
            context: fixture::context(&views),
            views,
            registry: RefCell::default(),
        }
    }

    fn put(&self, kind: Kind, key: &str, body: &str) {
        let mut registry = self.registry.borrow_mut();
        registry.put(kind, key, body);
        registry.deploy(&self.views);
    }

    fn service(&self, name: &str, recipients: &str, fields: &str) {
        let body = format!(r#"{{"match":[{{"recipients":{recipients}}}]{fields}}}"#);
        self.put(Kind::Service, name, &body);
    }

    /// The authorizer `main`, which asks the internal service `auth`.
    async fn authorizer(&self, fields: &str) -> Authorizer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.put(Kind::Service, "auth", r#"{"match":[],"retries":{"attempts":0}}"#);
        self.put(
            Kind::Upstream,
            &format!("auth/{}", listener.local_addr().unwrap()),
            "{}",
        );
        self.put(Kind::Authorizer, "main", &format!(r#"{{"service":"auth"{fields}}}"#));
        let authorizer = Authorizer {
            password: Rc::new(RefCell::new("right")),
            asked: Rc::default(),
            heard: Rc::default(),
        };
        let answering = authorizer.clone();
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn_local(answering.clone().answer(stream));
            }
        });
        authorizer
    }

    /// And an owner that answers at once. Once a stage.
    fn limit(&self, body: &str) {
        self.put(Kind::Limit, "00000000-0000-4000-8000-000000000001", body);
        let table = self.registry.borrow().table();
        let (limiter, instance) = (self.views.limiter().clone(), Uuid::new_v4());
        limiter.begin(Identity {
            id: ProxyId { instance, boot: 1 },
            accounts: 1 << 10,
            is_marked: true,
        });
        limiter.follow(&table, Revision(1_000), Epoch(instance));
        let mut owner = Machine::new(BTreeSet::from([instance]));
        owner.begin(&limiter, table.rules(Revision(1_000)));
        spawn_local(async move {
            loop {
                owner.go_on(&limiter);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }

    async fn auth(&self, password: &str) -> Result<(), Reply> {
        authenticate(&self.context, &visitor(None), credentials(password)).await
    }

    async fn receive(&self, envelope: &Envelope, to: &str) -> Result<Admitted, Reply> {
        receive(&self.context, envelope, &recipient(to), None).await
    }

    /// The code and the enhanced code of the refusal.
    async fn refused(&self, envelope: &Envelope, to: &str) -> (u16, &'static str) {
        let reply = self.receive(envelope, to).await.err().expect("it is refused");
        (reply.code, reply.enhanced)
    }
}

impl Authorizer {
    async fn answer(self, mut stream: TcpStream) {
        let mut heard = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&heard).into_owned();
            let is_whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                body.len() >= length.unwrap_or(0)
            });
            if is_whole {
                self.asked.set(self.asked.get() + 1);
                let answer = match text.contains(*self.password.borrow()) {
                    true => "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"auth_token\": \"tok1\"}",
                    false => "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n",
                };
                self.heard.replace(text);
                stream.write_all(answer.as_bytes()).await.unwrap();
                heard.clear();
            }
            match stream.read_buf(&mut heard).await {
                Ok(1..) => {}
                _ => return,
            }
        }
    }
}

fn credentials(password: &str) -> Credentials {
    Credentials {
        username: "api".into(),
        password: password.into(),
    }
}

fn visitor(credentials: Option<Credentials>) -> Visitor {
    Visitor {
        client: [192, 0, 2, 7].into(),
        helo: "client.example".into(),
        is_extended: true,
        tls: None,
        credentials,
    }
}

fn recipient(address: &str) -> Recipient {
    Recipient {
        mailbox: Mailbox::of(address),
        notification: Notification::default(),
    }
}

fn envelope(password: Option<&str>, size: Option<u64>) -> Envelope {
    Envelope {
        visitor: Arc::new(visitor(password.map(credentials))),
        sender: ReversePath::Of(Mailbox::of("me@client.example")),
        recipients: Vec::new(),
        size,
        body: BodyType::default(),
        is_utf8: false,
        ret: None,
        envid: None,
    }
}

#[test]
fn a_pattern_without_an_authorizer_is_the_leave_to_send_there() {
    story(async || {
        let stage = Stage::new();
        stage.service("in", r#"["example.com"]"#, r#","max_body":100"#);
        stage.service(
            "lists",
            r#"["lists.example","proxy.test"]"#,
            r#","deny":["192.0.2.0/24"]"#,
        );
        let anybody = envelope(None, None);
        let admitted = stage.receive(&anybody, "Sales@Example.COM").await.ok().unwrap();
        assert_eq!(admitted.service().name.as_str(), "in");
        assert_eq!(stage.refused(&anybody, "x@elsewhere.example").await, (550, "5.7.1"));
        assert_eq!(
            stage.refused(&anybody, "postmaster").await,
            (550, "5.7.1"),
            "at our own name"
        );
        assert_eq!(
            stage.refused(&anybody, "x@lists.example").await,
            (550, "5.7.1"),
            "denied"
        );
        let large = envelope(None, Some(101));
        assert_eq!(stage.refused(&large, "x@example.com").await, (552, "5.3.4"));
        assert!(stage.receive(&envelope(None, Some(100)), "x@example.com").await.is_ok());

        stage.service("lists", r#"["lists.example","proxy.test"]"#, "");
        assert!(stage.receive(&anybody, "postmaster").await.is_ok());
        let second = recipient("x@lists.example");
        let other = receive(&stage.context, &anybody, &second, Some(admitted.service())).await;
        let other = other.err().unwrap();
        assert_eq!((other.code, other.enhanced), (452, "4.5.3"));
        let same = recipient("y@example.com");
        assert!(
            receive(&stage.context, &anybody, &same, Some(admitted.service()))
                .await
                .is_ok()
        );
        assert_eq!(
            stage.auth("right").await,
            Err(AUTH_UNAVAILABLE),
            "there is nobody to ask"
        );
    });
}

#[test]
fn with_an_authorizer_the_sender_must_have_authenticated() {
    story(async || {
        let stage = Stage::new();
        let authorizer = stage.authorizer("").await;
        stage.service("out", r#"["*"]"#, r#","authorizer":"main""#);
        assert_eq!(
            stage.refused(&envelope(None, None), "x@a.example").await,
            (530, "5.7.0")
        );
        assert_eq!(authorizer.asked.get(), 0, "unasked");
        assert_eq!(stage.auth("wrong").await, Err(WRONG_CREDENTIALS));
        assert_eq!(stage.auth("right").await, Ok(()));
        let heard = authorizer.heard.borrow().clone();
        let (_, body) = heard.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(body).unwrap(),
            serde_json::json!({"username": "api", "password": "right", "protocol": "SMTP", "method": "MAIL",
                               "uri": "/", "length": null, "ip": "192.0.2.7"})
        );

        // One answer for the whole session, whatever its messages are.
        let session = envelope(Some("right"), Some(9));
        for to in ["x@a.example", "y@b.example"] {
            let admitted = stage.receive(&session, to).await.ok().unwrap();
            assert_eq!(admitted.grant().unwrap().auth_token.as_ref().unwrap(), "tok1");
        }
        assert_eq!(stage.auth("right").await, Ok(()));
        assert_eq!(authorizer.asked.get(), 2);

        // Who is revoked sends no more.
        *authorizer.password.borrow_mut() = "another";
        assert!(stage.receive(&session, "x@a.example").await.is_ok(), "it is remembered");
        stage.put(Kind::Revocation, "main", r#"{"username":"api"}"#);
        assert_eq!(stage.refused(&session, "x@a.example").await, (550, "5.7.1"));
        assert_eq!(stage.auth("right").await, Err(WRONG_CREDENTIALS));
    });
}

/// A null sender is no way around the limit of whoever has authenticated.
#[test]
fn who_has_authenticated_is_counted_whatever_the_sender() {
    story(async || {
        let stage = Stage::new();
        stage.authorizer("").await;
        stage.service("out", r#"["*"]"#, r#","authorizer":"main""#);
        stage.limit(r#"{"auth_token":"tok1","threshold":1,"period":3600}"#);
        let session = envelope(Some("right"), None);
        let null = Envelope {
            sender: ReversePath::Null,
            ..envelope(Some("right"), None)
        };
        assert!(stage.receive(&session, "x@a.example").await.is_ok());
        for refused in [&session, &null] {
            assert_eq!(stage.refused(refused, "x@a.example").await, (451, "4.7.1"));
        }
    });
}

/// Where requests would go on without an answer, mail does not: nobody has looked at the credentials.
#[test]
fn an_authorizer_that_is_away_makes_no_open_relay() {
    story(async || {
        let stage = Stage::new();
        stage.put(Kind::Service, "auth", r#"{"match":[],"retries":{"attempts":0}}"#);
        stage.put(
            Kind::Authorizer,
            "main",
            r#"{"service":"auth","on_failure":"allow","timeout":"100ms"}"#,
        );
        stage.service("out", r#"["*"]"#, r#","authorizer":"main""#);
        assert_eq!(stage.auth("whatever").await.map_err(|reply| reply.code), Err(454));
        let session = envelope(Some("whatever"), None);
        assert_eq!(stage.refused(&session, "victim@a.example").await, (454, "4.7.0"));
    });
}

#[test]
fn credentials_are_good_for_one_authorizer_only() {
    story(async || {
        let stage = Stage::new();
        let authorizer = stage.authorizer("").await;
        stage.service("out", r#"["*"]"#, r#","authorizer":"main""#);
        stage.service("partner", r#"["partner.example"]"#, r#","authorizer":"other""#);
        stage.service("in", r#"["example.com"]"#, "");
        let session = envelope(Some("right"), None);
        assert_eq!(stage.refused(&session, "x@partner.example").await, (550, "5.7.1"));
        assert_eq!(authorizer.asked.get(), 0);
        assert!(stage.receive(&session, "x@example.com").await.is_ok());
        assert_eq!(authorizer.asked.get(), 0, "nobody has to be asked for it");

        // An authorizer that is not there lets nobody in.
        stage.service("out", r#"["*"]"#, r#","authorizer":"other""#);
        assert_eq!(stage.refused(&session, "x@a.example").await, (454, "4.7.0"));
        assert_eq!(stage.auth("right").await, Err(AUTH_UNAVAILABLE));
    });
}

#[test]
fn a_client_is_asked_about_where_it_may_come_from() {
    story(async || {
        let stage = Stage::new();
        let authorizer = stage.authorizer("").await;
        let of_main = |more: &str| format!(r#","authorizer":"main"{more}"#);
        stage.service(
            "inside",
            r#"["inside.example"]"#,
            &of_main(r#","allow":["10.0.0.0/8"]"#),
        );
        assert_eq!(stage.auth("right").await.unwrap_err().enhanced, "5.7.1");
        assert_eq!(authorizer.asked.get(), 0);
        stage.service("outside", r#"["outside.example"]"#, &of_main(""));
        assert_eq!(stage.auth("right").await, Ok(()));
        let session = envelope(Some("right"), None);
        assert_eq!(stage.refused(&session, "x@inside.example").await, (550, "5.7.1"));
        assert!(stage.receive(&session, "x@outside.example").await.is_ok());
    });
}

#[test]
fn an_authorizer_that_reads_fields_finds_the_credentials_there() {
    story(async || {
        let stage = Stage::new();
        let authorizer = stage.authorizer(r#","style":"forward""#).await;
        // api:right
        *authorizer.password.borrow_mut() = "Basic YXBpOnJpZ2h0\r\n";
        stage.service("out", r#"["*"]"#, r#","authorizer":"main""#);
        assert_eq!(stage.auth("right").await, Ok(()));
        assert_eq!(stage.auth("wrong").await, Err(WRONG_CREDENTIALS));
        assert!(
            stage
                .receive(&envelope(Some("right"), None), "x@a.example")
                .await
                .is_ok()
        );
        assert_eq!(authorizer.asked.get(), 2);
        let two = Credentials {
            username: "api:right".into(),
            password: "".into(),
        };
        let two = authenticate(&stage.context, &visitor(None), two).await;
        assert_eq!((two, authorizer.asked.get()), (Err(WRONG_CREDENTIALS), 2));
    });
}

#[test]
fn each_recipient_counts_once_under_its_domain() {
    story(async || {
        let stage = Stage::new();
        stage.service("in", r#"["example.com","other.example"]"#, "");
        stage.limit(r#"{"threshold":2,"period":3600,"protocol":"smtp","method":"mail","path":"example\\.com$"}"#);
        let anybody = envelope(None, None);
        let first = stage.receive(&anybody, "a@EXAMPLE.com").await.ok().unwrap();
        assert_eq!(first.counted().accounts.len(), 1);
        let to = recipient("a@EXAMPLE.com");
        let again = admit(&stage.context, &anybody, &to, Some(7), None, first.into_counted()).await;
        assert_eq!(again.ok().unwrap().counted().accounts.len(), 1, "it was paid");
        assert!(stage.receive(&anybody, "b@example.com").await.is_ok());
        assert_eq!(stage.refused(&anybody, "c@example.com").await, (451, "4.7.1"));
        assert!(stage.receive(&anybody, "a@other.example").await.is_ok());

        // Notifications have an account of their own, everybody's together.
        let null = Envelope {
            sender: ReversePath::Null,
            ..envelope(None, None)
        };
        for _ in 0..2 {
            assert!(stage.receive(&null, "a@example.com").await.is_ok());
        }
        assert_eq!(stage.refused(&null, "a@example.com").await, (451, "4.7.1"));
    });
}

#[test]
fn a_limit_of_large_messages_counts_once_the_length_is_known() {
    story(async || {
        let stage = Stage::new();
        stage.service("in", r#"["example.com"]"#, "");
        stage.limit(r#"{"threshold":1,"period":3600,"data_size":1000}"#);
        let anybody = envelope(None, None);
        let to = recipient("a@example.com");
        let at_data = async |admitted: Admitted, length: u64| {
            admit(
                &stage.context,
                &anybody,
                &to,
                Some(length),
                None,
                admitted.into_counted(),
            )
            .await
        };
        for length in [999, 1000] {
            let admitted = stage.receive(&anybody, "a@example.com").await.ok().unwrap();
            assert!(admitted.counted().accounts.is_empty());
            assert!(at_data(admitted, length).await.is_ok(), "{length}");
        }
        let admitted = stage.receive(&anybody, "a@example.com").await.ok().unwrap();
        assert_eq!(at_data(admitted, 1000).await.err().unwrap().enhanced, "4.7.1");
        let declared = envelope(None, Some(1000));
        assert_eq!(stage.refused(&declared, "a@example.com").await, (451, "4.7.1"));
    });
}

#[test]
fn who_has_no_room_in_the_head_is_for_another_message() {
    story(async || {
        let stage = Stage::new();
        stage.service("raw", r#"["example.org"]"#, r#","mail":{"shape":"raw"}"#);
        stage.service("submit", r#"["example.net"]"#, "");
        let long = |domain: &str| format!("{}@{domain}", "x".repeat(200));
        let mut envelope = envelope(None, None);
        while stage.receive(&envelope, &long("example.org")).await.is_ok() {
            envelope.recipients.push(recipient(&long("example.org")));
        }
        assert_eq!(envelope.recipients.len(), 19, "of 214 bytes in 4 KiB");
        assert_eq!(stage.refused(&envelope, &long("example.org")).await, (452, "4.5.3"));
        assert!(
            stage.receive(&envelope, &long("example.net")).await.is_ok(),
            "its body names them"
        );
    });
}
