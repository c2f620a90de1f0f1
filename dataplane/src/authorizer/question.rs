//! What an authorizer is asked, as a request that can be made more than once.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use shared::model::{Authorizer, Style};

use super::answer::X_VULCAN_AUTH_TOKEN;
use crate::http::{Upload, fields, forwarded};
use crate::pipeline::{Protocol, RequestMeta};

/// It may hold a password: nothing of it is kept when the call is over.
pub struct Question {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    /// Whom a remembered answer is about.
    pub username: Arc<str>,
}

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
        let credentials = meta.credentials.as_ref();
        let body = json!({
            "username": credentials.map_or("", |held| &held.username),
            "password": credentials.map_or("", |held| &held.password),
            "protocol": protocol(meta.protocol),
            "method": meta.method,
            "uri": meta.uri,
            "length": meta.length,
            "ip": meta.client.to_string(),
        });
        self.method = Method::POST;
        self.body = body.to_string().into();
        self.headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        self.accept_json();
    }

    fn query(&mut self, meta: &RequestMeta<'_>) {
        let credentials = meta.credentials.as_ref();
        let (length, ip) = (meta.length.map(|length| length.to_string()), meta.client.to_string());
        let parameters = [
            ("username", credentials.map_or("", |held| &held.username)),
            ("password", credentials.map_or("", |held| &held.password)),
            ("protocol", protocol(meta.protocol)),
            ("method", meta.method),
            ("uri", meta.uri),
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
        forwarded::remove_ours(&mut headers);
        headers.remove(X_VULCAN_AUTH_TOKEN);
        let client = meta.client.to_string();
        for (name, value) in [
            ("x-forwarded-method", meta.method),
            ("x-forwarded-proto", meta.scheme),
            ("x-forwarded-host", meta.host),
            ("x-forwarded-uri", meta.uri),
            ("x-forwarded-for", &client),
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
