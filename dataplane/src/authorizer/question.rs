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
use crate::secret::wipe;

/// What few bodies are longer than, beside what is in it: one that does not grow leaves no copy behind.
const BODY_BYTES: usize = 256;

/// It may hold a password: nothing of it is kept when the call is over.
pub struct Question {
    method: Method,
    target: String,
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

/// Fields by which other proxies tell such a server of a request; also under the spelling that it may take for them.
const ORIGINAL: [HeaderName; 4] = [
    HeaderName::from_static("x-original-method"),
    HeaderName::from_static("x-original-uri"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-real-ip"),
];

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
            target: authorizer.path.to_string(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            username,
        };
        match authorizer.style {
            Style::Json => question.tell(meta),
            Style::Query => question.query(meta),
            Style::Forward => question.forward(meta),
        }
        question
    }

    /// For one attempt, at an upstream of this address.
    pub fn request(&self, address: &str) -> Option<Request<Upload>> {
        let mut request = Request::new(Upload::of(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::try_from(self.target.as_str()).ok()?;
        *request.headers_mut() = self.headers.clone();
        request
            .headers_mut()
            .insert(header::HOST, HeaderValue::from_str(address).ok()?);
        Some(request)
    }

    fn tell(&mut self, meta: &RequestMeta<'_>) {
        self.method = Method::POST;
        let told = Parameters::of(meta);
        let mut body = Vec::with_capacity(BODY_BYTES + told.username.len() + told.password.len() + told.uri.len());
        // Nothing in it can fail to be written.
        let _ = serde_json::to_writer(&mut body, &told);
        self.body = body.into();
        self.headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        self.accept_json();
    }

    fn query(&mut self, meta: &RequestMeta<'_>) {
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
        let mut joint = if self.target.contains('?') { '&' } else { '?' };
        for (name, value) in parameters {
            self.target.push(joint);
            self.target.push_str(name);
            self.target.push('=');
            self.target.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
            joint = '&';
        }
        self.accept_json();
    }

    fn accept_json(&mut self) {
        self.headers
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    }

    /// The request's own fields without those of its body and its connection; what a client says in this proxy's name
    /// goes no further.
    fn forward(&mut self, meta: &RequestMeta<'_>) {
        let mut headers = meta.fields.cloned().unwrap_or_default();
        fields::take_hop_by_hop(&mut headers);
        for name in [header::CONTENT_LENGTH, header::EXPECT, header::HOST, header::TRAILER] {
            headers.remove(name);
        }
        OF_FORM.iter().for_each(|name| drop(headers.remove(name)));
        forwarded::remove_ours(&mut headers);
        for name in &ORIGINAL {
            fields::take_spellings(&mut headers, name.as_str());
        }
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

impl Drop for Question {
    fn drop(&mut self) {
        wipe(std::mem::take(&mut self.target).into_bytes());
        // An attempt that was broken off may not have let go of it yet.
        if let Ok(body) = std::mem::take(&mut self.body).try_into_mut() {
            wipe(body.into());
        }
    }
}

fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "HTTP",
        Protocol::Smtp => "SMTP",
    }
}
