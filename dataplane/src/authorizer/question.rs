//! What an authorizer is asked, as a request that can be made more than once.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use shared::model::{Authorizer, Style};

use crate::http::{Upload, fields, forwarded};
use crate::pipeline::{Protocol, RequestMeta};
use crate::secret::wiped;

/// What few bodies and targets are longer than, beside what is in them: one that does not grow leaves no copy behind.
const OTHER_BYTES: usize = 256;

/// It may hold a password: nothing of it is kept when the call is over, and the last attempt has let go of it.
pub struct Question {
    method: Method,
    /// None where it is none of a request.
    target: Option<Uri>,
    headers: HeaderMap,
    body: Bytes,
    /// Whom a remembered answer is about.
    pub username: Arc<str>,
}

/// What styles `json` and `query` tell.
#[derive(Serialize)]
struct Parameters<'a> {
    username: &'a str,
    password: &'a str,
    protocol: &'static str,
    method: &'a str,
    /// The path and the query.
    uri: &'a str,
    /// Bytes; none where it is not known beforehand.
    length: Option<u64>,
    ip: IpAddr,
}

impl<'a> Parameters<'a> {
    /// As long as they are together, but for what is always short.
    fn bytes(&self) -> usize {
        [self.username, self.password, self.method, self.uri]
            .iter()
            .map(|text| text.len())
            .sum()
    }

    fn of(meta: &'a RequestMeta<'_>) -> Parameters<'a> {
        let (username, password) = match &meta.credentials {
            Some(held) => (&*held.username, &*held.password),
            None => ("", ""),
        };
        Parameters {
            username,
            password,
            protocol: protocol(meta.protocol),
            method: meta.method,
            uri: meta.uri,
            length: meta.length,
            ip: meta.client,
        }
    }
}

/// They ask for another form of an answer than the whole of it.
const OF_FORM: [HeaderName; 7] = [
    header::ACCEPT_ENCODING,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
];

impl Question {
    pub fn of(authorizer: &Authorizer, meta: &RequestMeta<'_>) -> Question {
        let credentials = meta.credentials.as_ref();
        let username = credentials.map_or("", |held| held.username.as_str()).into();
        let mut question = Question {
            method: Method::GET,
            target: None,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            username,
        };
        match authorizer.style {
            Style::Json => question.tell(meta),
            Style::Query => question.query(&authorizer.path, meta),
            Style::Forward => question.forward(meta, &authorizer.copy_headers),
        }
        if authorizer.style != Style::Query {
            question.target = Uri::try_from(&*authorizer.path).ok();
        }
        question
    }

    /// For one attempt, at an upstream of this address.
    pub fn request(&self, address: &str) -> Option<Request<Upload>> {
        let mut request = Request::new(Upload::of(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone()?;
        *request.headers_mut() = self.headers.clone();
        request
            .headers_mut()
            .insert(header::HOST, HeaderValue::from_str(address).ok()?);
        Some(request)
    }

    fn tell(&mut self, meta: &RequestMeta<'_>) {
        self.method = Method::POST;
        let told = Parameters::of(meta);
        let mut body = Vec::with_capacity(OTHER_BYTES + told.bytes());
        // Nothing in it can fail to be written.
        let _ = serde_json::to_writer(&mut body, &told);
        self.body = wiped(body);
        self.headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        self.accept_json();
    }

    fn query(&mut self, path: &str, meta: &RequestMeta<'_>) {
        let told = Parameters::of(meta);
        let (length, ip) = (told.length.map(|length| length.to_string()), told.ip.to_string());
        let parameters = [
            ("username", told.username),
            ("password", told.password),
            ("protocol", told.protocol),
            ("method", told.method),
            ("uri", told.uri),
            ("length", length.as_deref().unwrap_or("")),
            ("ip", &ip),
        ];
        // Three for each byte that is encoded.
        let mut target = String::with_capacity(OTHER_BYTES + path.len() + 3 * told.bytes());
        target.push_str(path);
        let mut joint = if path.contains('?') { '&' } else { '?' };
        for (name, value) in parameters {
            target.push(joint);
            target.push_str(name);
            target.push('=');
            target.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
            joint = '&';
        }
        self.target = Uri::from_maybe_shared(wiped(target.into_bytes())).ok();
        self.accept_json();
    }

    fn accept_json(&mut self) {
        self.headers
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    }

    /// The request's own fields without those of its body and its connection; what a client says in this proxy's name
    /// goes no further. Fields that are copied from the answer are asked about as they came (a client's `Authorization` may
    /// be one), but under their own names alone.
    fn forward(&mut self, meta: &RequestMeta<'_>, copied: &[Arc<str>]) {
        let mut headers = meta.fields.cloned().unwrap_or_default();
        fields::take_hop_by_hop(&mut headers);
        for name in [header::CONTENT_LENGTH, header::EXPECT, header::HOST, header::TRAILER] {
            headers.remove(name);
        }
        OF_FORM.iter().for_each(|name| drop(headers.remove(name)));
        forwarded::remove_ours(&mut headers);
        copied
            .iter()
            .for_each(|name| fields::remove_other_spellings(&mut headers, name));
        let client = meta.client.to_string();
        let url = format!("{}://{}{}", meta.scheme, meta.host, meta.uri);
        for (name, value) in [
            ("x-forwarded-method", meta.method),
            ("x-forwarded-proto", meta.scheme),
            ("x-forwarded-host", meta.host),
            ("x-forwarded-uri", meta.uri),
            ("x-forwarded-for", &client),
            ("x-original-method", meta.method),
            ("x-original-uri", meta.uri),
            ("x-original-url", &url),
            ("x-real-ip", &client),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        self.headers = headers;
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "HTTP",
        Protocol::Smtp => "SMTP",
    }
}
