//! A message in the shape `submit`: `multipart/form-data` (RFC 7578), read strictly.

use super::application::Delivery;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub filename: Option<String>,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    pub to: Vec<String>,
    pub sender: String,
    /// The fields that the proxy put before the message.
    pub trace: Vec<String>,
    /// The message as the client meant it.
    pub content: Vec<u8>,
}

impl Submitted {
    /// The proxy's own.
    #[track_caller]
    pub fn received(&self) -> &str {
        self.trace.last().expect("every message is traced")
    }

    #[track_caller]
    pub fn of(delivery: &Delivery) -> Submitted {
        let kind = delivery.field("content-type").expect("a delivery has a content-type");
        let boundary = kind
            .strip_prefix("multipart/form-data; boundary=")
            .unwrap_or_else(|| panic!("content-type: {kind}"));
        let parts = parts(boundary.trim_matches('"'), &delivery.body);
        let named = |name: &str| parts.iter().filter(|part| part.name == name).collect::<Vec<_>>();
        let text = |part: &Part| String::from_utf8(part.bytes.clone()).expect("envelopes are UTF-8");
        let [sender] = named("sender")[..] else {
            panic!("one sender");
        };
        let [message] = named("message")[..] else {
            panic!("one message");
        };
        assert!(message.filename.is_some(), "the message is a file");
        let (trace, content) = traced(&message.bytes);
        Submitted {
            to: named("to").into_iter().map(text).collect(),
            sender: text(sender),
            trace,
            content: content.to_vec(),
        }
    }
}

/// Panics at what is no multipart body.
#[track_caller]
pub fn parts(boundary: &str, body: &[u8]) -> Vec<Part> {
    let dash = format!("--{boundary}");
    let mut rest = body.strip_prefix(dash.as_bytes()).expect("it begins with its boundary");
    let delimiter = format!("\r\n{dash}");
    let mut parts = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let end = find(part, delimiter.as_bytes()).expect("every part ends");
        parts.push(part_of(&part[..end]));
        rest = &part[end + delimiter.len()..];
    }
    assert!(matches!(rest, b"--" | b"--\r\n"), "it ends with its boundary");
    parts
}

fn part_of(bytes: &[u8]) -> Part {
    let end = find(bytes, b"\r\n\r\n").expect("a part has a head");
    let head = std::str::from_utf8(&bytes[..end]).expect("heads are UTF-8");
    let prefix = "content-disposition: form-data; ";
    let disposition = head
        .split("\r\n")
        .find(|line| line.to_ascii_lowercase().starts_with(prefix))
        .unwrap_or_else(|| panic!("no disposition in {head}"));
    let parameter = |name: &str| {
        let quoted = disposition[prefix.len()..]
            .split("; ")
            .find_map(|parameter| parameter.strip_prefix(&format!("{name}=\"")))?;
        quoted.strip_suffix('"').map(str::to_owned)
    };
    Part {
        name: parameter("name").expect("every part has a name"),
        filename: parameter("filename"),
        bytes: bytes[end + 4..].to_vec(),
    }
}

/// Takes `X-Envelope-From`, where it is, and `Received` off the front.
#[track_caller]
fn traced(message: &[u8]) -> (Vec<String>, &[u8]) {
    let (mut trace, mut rest) = (Vec::new(), message);
    for name in ["x-envelope-from:", "received:"] {
        let start = rest.get(..name.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes())) {
            let end = field_end(rest);
            trace.push(String::from_utf8(rest[..end].to_vec()).expect("trace fields are UTF-8"));
            rest = &rest[end..];
        }
    }
    assert!(
        trace.last().is_some_and(|field| field.starts_with("Received:")),
        "no trace in {}",
        String::from_utf8_lossy(message)
    );
    (trace, rest)
}

/// Behind the first field, its folded lines included.
fn field_end(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Some(line) = find(&bytes[end..], b"\r\n") {
        end += line + 2;
        if !matches!(bytes.get(end), Some(b' ' | b'\t')) {
            break;
        }
    }
    end
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    // The first byte first: messages have megabytes.
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| Some(byte) == wanted.first()) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart_by_their_boundary() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\na@b\r\n--b\r\n\
            Content-Disposition: form-data; name=\"message\"; filename=\"m\"\r\nContent-Type: message/rfc822\r\n\r\n\r\n--c\r\n\r\n--b--\r\n";
        let parts = parts("b", body);
        let told: Vec<_> = parts
            .iter()
            .map(|part| (part.name.as_str(), part.filename.as_deref(), &part.bytes[..]))
            .collect();
        let expected: [(&str, Option<&str>, &[u8]); 2] = [("to", None, b"a@b"), ("message", Some("m"), b"\r\n--c\r\n")];
        assert_eq!(told, expected);
    }

    #[test]
    fn the_trace_is_taken_off_once() {
        let (trace, rest) = traced(b"X-Envelope-From: c\r\nReceived: a\r\n by b\r\nReceived: d\r\n\r\n");
        assert_eq!(trace, ["X-Envelope-From: c\r\n", "Received: a\r\n by b\r\n"]);
        assert_eq!(rest, b"Received: d\r\n\r\n");
    }
}
