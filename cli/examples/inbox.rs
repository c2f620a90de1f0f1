//! `inbox ADDRESS`: an application to send mail to, for docs/mail.md and for tests. It takes messages in all
//! three shapes, posted to any path; `GET /` lists them, `GET /1` is the first as it came. One that comes again under the
//! same `Idempotency-Key` is counted, and kept once. POST /recipients knows everybody but `nobody`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The oldest go first.
const MESSAGES_MAX: usize = 10_000;
const BODY_BYTES_MAX: u64 = 64 << 20;
const HEAD_BYTES_MAX: u64 = 64 << 10;

struct Message {
    number: usize,
    key: String,
    sender: String,
    recipients: Vec<String>,
    content: Vec<u8>,
    /// How often it came.
    times: usize,
}

#[derive(Default)]
struct Inbox {
    messages: VecDeque<Message>,
    count: usize,
}

struct Request {
    method: String,
    path: String,
    /// Names in lower case.
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

type Answer = (&'static str, Vec<u8>);

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address)?;
    println!("inbox takes mail at {}", listener.local_addr()?);
    let inbox = Arc::new(Mutex::new(Inbox::default()));
    for connection in listener.incoming() {
        let inbox = inbox.clone();
        thread::spawn(move || serve(connection?, &inbox));
    }
    Ok(())
}

/// One connection, kept open for as many requests as come.
fn serve(connection: TcpStream, inbox: &Mutex<Inbox>) -> io::Result<()> {
    let mut out = connection.try_clone()?;
    let mut read = BufReader::new(connection);
    while let Some(request) = Request::read(&mut read)? {
        let (status, body) = answer(request, &mut inbox.lock().unwrap_or_else(PoisonError::into_inner));
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        out.write_all(&[head.as_bytes(), &body].concat())?;
    }
    Ok(())
}

fn answer(request: Request, inbox: &mut Inbox) -> Answer {
    match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/recipients") => match find(&request.body, br#""to":"nobody@"#) {
            Some(_) => ("404 Not Found", b"there is nobody of that name\n".to_vec()),
            None => ("204 No Content", Vec::new()),
        },
        ("POST", _) => match Message::of(request) {
            Some(message) => ("200 OK", inbox.keep(message).into_bytes()),
            None => ("400 Bad Request", b"there is no message in it\n".to_vec()),
        },
        ("GET", "/") => ("200 OK", inbox.list().into_bytes()),
        ("GET", path) => match inbox.messages.iter().find(|one| path == format!("/{}", one.number)) {
            Some(message) => ("200 OK", message.content.clone()),
            None => ("404 Not Found", b"there is no such message\n".to_vec()),
        },
        _ => ("405 Method Not Allowed", Vec::new()),
    }
}

impl Inbox {
    fn keep(&mut self, mut message: Message) -> String {
        let mut before = self.messages.iter_mut();
        if let Some(before) = before.find(|one| !one.key.is_empty() && one.key == message.key) {
            before.times += 1;
            return format!("kept before as {}\n", before.number);
        }
        self.count += 1;
        message.number = self.count;
        let said = format!("kept as {}\n", message.number);
        self.messages.push_back(message);
        if self.messages.len() > MESSAGES_MAX {
            self.messages.pop_front();
        }
        said
    }

    fn list(&self) -> String {
        let mut list = String::new();
        for one in &self.messages {
            let (number, times, bytes) = (one.number, one.times, one.content.len());
            let recipients = one.recipients.join(", ");
            // Nothing fails to be written to a string.
            let _ = writeln!(
                list,
                "{number} <{}> -> {recipients} {bytes} bytes {times}x {}",
                one.sender, one.key
            );
        }
        list
    }
}

impl Request {
    /// None where the connection has ended.
    fn read(read: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
        let mut head = read.by_ref().take(HEAD_BYTES_MAX).lines();
        let Some(line) = head.next().transpose()? else {
            return Ok(None);
        };
        let mut fields = Vec::new();
        while let Some(line) = head.next().transpose()?.filter(|line| !line.is_empty()) {
            if let Some((name, value)) = line.split_once(':') {
                fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let mut words = line.split(' ').map(str::to_owned);
        let mut request = Request {
            method: words.next().unwrap_or_default(),
            path: words.next().unwrap_or_default(),
            fields,
            body: Vec::new(),
        };
        let length = request.field("content-length").parse().unwrap_or(0);
        if length > BODY_BYTES_MAX || read.take(length).read_to_end(&mut request.body)? as u64 != length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Some(request))
    }

    /// Its first value.
    fn field(&self, name: &str) -> &str {
        let mut fields = self.fields.iter();
        fields.find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }
}

impl Message {
    fn of(request: Request) -> Option<Message> {
        let mut message = Message {
            number: 0,
            key: request.field("idempotency-key").to_owned(),
            sender: request.field("x-envelope-from").to_owned(),
            recipients: Vec::new(),
            content: Vec::new(),
            times: 1,
        };
        let Some((_, boundary)) = request
            .field("content-type")
            .split_once("multipart/form-data; boundary=")
        else {
            let recipients = request.field("x-envelope-to").split(", ");
            message.recipients = recipients.filter(|to| !to.is_empty()).map(str::to_owned).collect();
            message.content = request.body;
            return (!message.recipients.is_empty()).then_some(message);
        };
        let (opening, mark) = (format!("--{boundary}\r\n"), format!("\r\n--{boundary}"));
        let mut rest = request.body.strip_prefix(opening.as_bytes())?;
        while let Some(end) = find(rest, mark.as_bytes()) {
            let (head, value) = split(&rest[..end], b"\r\n\r\n")?;
            let head = String::from_utf8_lossy(head);
            let text = || String::from_utf8_lossy(value).into_owned();
            match head.split('"').nth(1)? {
                "to" => message.recipients.push(text()),
                "recipient" => message.recipients.extend(text().split(", ").map(str::to_owned)),
                "sender" => message.sender = text(),
                "message" | "body-mime" => message.content = value.to_vec(),
                _ => {}
            }
            rest = &rest[end + mark.len()..];
            rest = rest.strip_prefix(b"\r\n").unwrap_or_default();
        }
        (!message.recipients.is_empty()).then_some(message)
    }
}

fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = find(bytes, mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|part| part == mark)
}
