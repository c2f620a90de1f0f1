//! Heads: start lines and fields.

use std::io;

use super::invalid;

/// Header fields in the order of the wire; names are compared without case.
#[derive(Clone, Debug, Default)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    pub(super) fn push(&mut self, line: &str) -> io::Result<()> {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid(format!("no colon in `{line}`")))?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(invalid(format!("no field name: `{name}`")));
        }
        self.0
            .push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        Ok(())
    }

    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.0
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The only value of `name`; several are `None`, as a careful receiver would have it.
    pub fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let first = values.next();
        if values.next().is_some() { None } else { first }
    }

    /// Whether a comma-separated field holds the token.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name)
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }

    pub fn length(&self) -> io::Result<Option<u64>> {
        let mut values = self.all("content-length");
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value
                .parse()
                .map(Some)
                .map_err(|_| invalid(format!("content-length {value}"))),
            _ => Err(invalid("repeated content-length")),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Head {
    pub status: u16,
    pub fields: Fields,
}

impl Head {
    pub(super) fn new(line: &str, fields: Fields) -> io::Result<Head> {
        let rest = line
            .strip_prefix("HTTP/1.1 ")
            .ok_or_else(|| invalid(format!("no HTTP/1.1 answer: `{line}`")))?;
        let status = rest.get(..3).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| invalid(format!("no status in `{line}`")))?;
        Ok(Head { status, fields })
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.one(name)
    }

    pub fn closes(&self) -> bool {
        self.fields.lists("connection", "close")
    }
}

#[derive(Clone, Debug)]
pub struct RequestLine {
    pub method: String,
    /// The request target as sent.
    pub target: String,
}

impl RequestLine {
    pub(super) fn new(line: &str) -> io::Result<RequestLine> {
        let mut parts = line.split(' ');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(method), Some(target), Some("HTTP/1.1"), None) => Ok(RequestLine {
                method: method.to_owned(),
                target: target.to_owned(),
            }),
            _ => Err(invalid(format!("no HTTP/1.1 request: `{line}`"))),
        }
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A number in the query, 0 when absent.
    pub fn number(&self, name: &str) -> u64 {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        let value = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name);
        value.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
    }
}

/// A request as a test wants it on the wire. A body gets its `content-length`, nothing else is added.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: &str, host: &str) -> Request {
        let fields = vec![("host".to_owned(), host.to_owned())];
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            fields,
            body: None,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Request {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = Some(body.into());
        self
    }

    /// The head alone, for a body that the test sends by itself.
    pub fn encode_head(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_head();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}
