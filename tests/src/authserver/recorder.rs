//! An authorization server that writes down what it is asked, and answers what the test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::wire::{Body, Connection, Fields, RequestLine};

#[derive(Clone, Debug)]
pub struct Question {
    pub line: RequestLine,
    pub fields: Fields,
    pub body: Vec<u8>,
}

impl Question {
    /// The parameters: the members of the body, or else those of the query, as texts.
    pub fn told(&self) -> Value {
        if self.line.method == "POST" {
            return serde_json::from_slice(&self.body).expect("the question is JSON");
        }
        let query = self.line.target.split_once('?').map_or("", |(_, query)| query);
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let text = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let told = pairs.map(|(name, value)| (text(name), text(value).into()));
        Value::Object(Map::from_iter(told))
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.one(name)
    }
}

/// An answer, as bytes, and how long it takes.
pub struct Said {
    after: Duration,
    bytes: Vec<u8>,
}

impl Said {
    /// With the fields, each ended by CRLF.
    pub fn new(status: &str, fields: &str, body: &str) -> Said {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{fields}content-length: {length}\r\n\r\n");
        Said {
            after: Duration::ZERO,
            bytes: format!("{head}{body}").into_bytes(),
        }
    }

    pub fn grant(token: &str) -> Said {
        Said::new("200 OK", "", &serde_json::json!({"auth_token": token}).to_string())
    }

    pub fn after(mut self, time: Duration) -> Said {
        self.after = time;
        self
    }
}

type Answer = dyn Fn(&Question) -> Said + Send + Sync;

/// In the test's own process, for as long as the test runs.
pub struct Recorder {
    pub address: SocketAddr,
    asked: Arc<Asked>,
}

#[derive(Default)]
struct Asked {
    questions: Mutex<Vec<Question>>,
    count: watch::Sender<usize>,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Recorder {
    pub async fn start(answer: impl Fn(&Question) -> Said + Send + Sync + 'static) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let asked = Arc::<Asked>::default();
        tokio::spawn(serve(listener, Arc::new(answer), asked.clone()));
        Recorder { address, asked }
    }

    pub fn questions(&self) -> Vec<Question> {
        self.asked.lock().clone()
    }

    pub fn count(&self) -> usize {
        self.asked.lock().len()
    }

    /// How many questions were open at one time, at most.
    pub fn most_at_once(&self) -> usize {
        self.asked.most.load(SeqCst)
    }

    /// How many questions are open now.
    pub fn open(&self) -> usize {
        self.asked.now.load(SeqCst)
    }

    #[track_caller]
    pub fn last(&self) -> Question {
        self.asked.lock().last().cloned().expect("it was asked")
    }

    /// Waits until it was asked so often.
    pub async fn asked(&self, times: usize) {
        let mut count = self.asked.count.subscribe();
        let asked = count.wait_for(|count| *count >= times);
        let asked = tokio::time::timeout(crate::process::PATIENCE, asked).await;
        asked
            .expect("the authorizer is not asked")
            .expect("the recorder holds the sender");
    }
}

impl Asked {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Question>> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: TcpListener, answer: Arc<Answer>, asked: Arc<Asked>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (answer, asked) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            if let Err(error) = connection(Connection::new(stream), &*answer, &asked).await {
                eprintln!("{error}");
            }
        });
    }
}

async fn connection(mut connection: Connection, answer: &Answer, asked: &Asked) -> std::io::Result<()> {
    // An idle connection is the proxy's to keep.
    connection.reader.patience = Duration::from_secs(600);
    while let Some((line, fields)) = connection.reader.request().await? {
        let body = Body::of_request(&fields)?.all(&mut connection.reader).await?;
        let question = Question { line, fields, body };
        let said = answer(&question);
        let count = {
            let mut questions = asked.lock();
            questions.push(question);
            questions.len()
        };
        asked.most.fetch_max(asked.now.fetch_add(1, SeqCst) + 1, SeqCst);
        asked.count.send_modify(|times| *times = count.max(*times));
        tokio::time::sleep(said.after).await;
        // Before its answer: whoever has that may ask the next.
        asked.now.fetch_sub(1, SeqCst);
        connection.writer.send(&said.bytes).await?;
    }
    Ok(())
}
