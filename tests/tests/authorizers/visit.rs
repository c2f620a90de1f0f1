//! A client with credentials: curl where there is one, the harness's own where not.

use std::net::SocketAddr;
use std::process::Command;

use vulcan_tests::authserver::basic;
use vulcan_tests::wire::{Connection, Request};

#[derive(Clone, Copy)]
pub enum Upload {
    None,
    Sized(&'static str),
    Chunked(&'static str),
}

#[derive(Clone, Copy)]
pub struct Visit {
    pub user: &'static str,
    pub method: &'static str,
    pub target: &'static str,
    pub upload: Upload,
}

impl Visit {
    pub fn get(target: &'static str) -> Visit {
        Visit {
            user: "api:apikey",
            method: "GET",
            target,
            upload: Upload::None,
        }
    }

    /// The status, and the head and the body as text.
    pub async fn pay(self, at: SocketAddr) -> (u16, String) {
        match Command::new("curl").arg("--version").output() {
            Ok(_) => tokio::task::spawn_blocking(move || self.by_curl(at)).await.unwrap(),
            Err(_) => self.by_hand(at).await,
        }
    }

    fn by_curl(self, at: SocketAddr) -> (u16, String) {
        let url = format!("http://{at}{}", self.target);
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-i", "--max-time", "50", "--noproxy", "*"]);
        curl.args(["--user", self.user, "-X", self.method]).arg(url);
        match self.upload {
            Upload::None => {}
            Upload::Sized(body) => drop(curl.args(["--data-binary", body])),
            Upload::Chunked(body) => drop(curl.args(["-H", "Transfer-Encoding: chunked", "--data-binary", body])),
        }
        let output = curl.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        (text[9..12].parse().unwrap(), text)
    }

    async fn by_hand(self, at: SocketAddr) -> (u16, String) {
        let credentials = basic::encode(self.user.as_bytes());
        let request = Request::new(self.method, self.target, &at.to_string()).with("authorization", &credentials);
        let mut connection = Connection::connect(at).await.unwrap();
        let (head, bytes) = match self.upload {
            Upload::None => connection.exchange(&request).await.unwrap(),
            Upload::Sized(body) => connection.exchange(&request.body(body)).await.unwrap(),
            Upload::Chunked(body) => {
                let request = request.with("transfer-encoding", "chunked");
                connection.writer.send(&request.encode_head()).await.unwrap();
                connection.writer.chunk(body.as_bytes()).await.unwrap();
                connection.writer.send(b"0\r\n\r\n").await.unwrap();
                let head = connection.reader.final_head().await.unwrap();
                let mut body = vulcan_tests::wire::Body::of_answer(&head, self.method).unwrap();
                let bytes = body.all(&mut connection.reader).await.unwrap();
                (head, bytes)
            }
        };
        let fields = head.fields.0.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let fields: String = fields.collect();
        (
            head.status,
            format!("{fields}\r\n{}", String::from_utf8(bytes).unwrap()),
        )
    }
}
