//! The API as the commands for people call it: one request, one answer, every step with a deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use net::tls::{self, Trust};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::args::{Output, Remote, Url};
use crate::command::{token, trust};
use crate::failure::Failure;

mod download;
pub mod follow;

const CONNECT: Duration = Duration::from_secs(5);
/// What a server is asked for in the handshake of TLS.
const PROTOCOL: &[u8] = b"http/1.1";
/// The fleet of 10,000 proxies is a few MiB; a configuration may be as large as the API takes one.
const BODY_BYTES_MAX: usize = 160 << 20;

pub struct Client {
    url: Url,
    token: Option<String>,
    trust: Arc<Trust>,
    output: Output,
}

/// One request.
pub struct Ask<'a> {
    pub method: Method,
    pub path: &'a str,
    /// JSON, sent as it stands.
    pub body: Option<&'a str>,
    pub headers: &'a [(HeaderName, String)],
    /// For the whole answer.
    pub patience: Duration,
}

impl<'a> Ask<'a> {
    pub fn get(path: &'a str, patience: Duration) -> Ask<'a> {
        Ask {
            method: Method::GET,
            path,
            body: None,
            headers: &[],
            patience,
        }
    }
}

/// An answer of success.
pub struct Answer {
    /// As it came.
    pub text: String,
    pub body: Value,
}

impl Client {
    pub fn new(remote: &Remote) -> Result<Client, Failure> {
        let token = token(remote.token_file.as_deref())?;
        Ok(Client {
            url: remote.url.clone(),
            token,
            trust: trust(&remote.tls)?,
            output: remote.output,
        })
    }

    /// Asks, and waits for the whole answer for `patience`. An answer that is no success is a failure that explains it.
    pub fn call(&self, method: Method, path: &str, patience: Duration) -> Result<Answer, Failure> {
        self.call_with(method, path, None, patience)
    }

    /// As `call`, with a body.
    pub fn call_with(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Duration,
    ) -> Result<Answer, Failure> {
        let body = body.map(Value::to_string);
        self.ask(&Ask {
            method,
            path,
            body: body.as_deref(),
            headers: &[],
            patience,
        })
    }

    /// Asks, and waits for the whole answer. One that is no success is a failure that explains it.
    pub fn ask(&self, ask: &Ask) -> Result<Answer, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::refused)?;
        let patience = ask.patience;
        let (status, bytes) = runtime
            .block_on(async { timeout(patience, self.exchange(ask)).await })
            .map_err(|_| self.failed(format!("no answer within {patience:?}")))??;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        match status.is_success() {
            true if body.is_object() => Ok(Answer { text, body }),
            true => Err(self.failed("the answer is not that of a control plane")),
            false => Err(self.refusal(status, text, &body)),
        }
    }

    fn refusal(&self, status: StatusCode, text: String, body: &Value) -> Failure {
        match self.output {
            Output::Json => Failure::Body(text),
            Output::Table => Failure::refused(explain(status, body)),
        }
    }

    async fn exchange(&self, ask: &Ask<'_>) -> Result<(StatusCode, Bytes), Failure> {
        let answer = self.send(ask).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| self.failed(error))?.to_bytes()))
    }

    /// As far as the answer's head.
    async fn send(&self, ask: &Ask<'_>) -> Result<Response<Incoming>, Failure> {
        let address = (self.url.host.as_str(), self.url.port);
        let connected = timeout(CONNECT, TcpStream::connect(address)).await;
        let stream = connected
            .map_err(|_| self.unreachable(format!("no connection within {CONNECT:?}")))?
            .map_err(|error| self.unreachable(error))?;
        let mut sender = match self.url.is_tls {
            false => self.greet(stream).await?,
            true => {
                let securing = self.trust.clone().connect(stream, &self.url.host, PROTOCOL);
                let secured = timeout(CONNECT, securing).await;
                let secured = secured.map_err(|_| self.failed(format!("no handshake within {CONNECT:?}")))?;
                self.greet(secured.map_err(|error| self.failed(error))?).await?
            }
        };
        let mut request = Request::builder()
            .method(&ask.method)
            .uri(ask.path)
            .header(header::HOST, &self.url.authority);
        if ask.headers.iter().all(|(name, _)| *name != header::ACCEPT) {
            request = request.header(header::ACCEPT, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if ask.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        let body = Bytes::from(ask.body.unwrap_or_default().to_owned());
        let request = request.body(Full::new(body)).map_err(|error| self.failed(error))?;
        let answer = sender.send_request(request).await;
        answer.map_err(|error| self.failed(tls::explain(&error)))
    }

    async fn greet<S>(&self, stream: S) -> Result<http1::SendRequest<Full<Bytes>>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let greeted = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = greeted.map_err(|error| self.failed(tls::explain(&error)))?;
        // It ends with the runtime of this one call.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn unreachable(&self, error: impl std::fmt::Display) -> Failure {
        self.failed(format!(
            "{error}\nIs a control plane running there? --url or VULCAN_URL says where it is."
        ))
    }

    fn failed(&self, error: impl std::fmt::Display) -> Failure {
        Failure::refused(format!("{}: {error}", self.url))
    }
}

/// A problem (RFC 9457) in words: what it is, which fields, and which proxies are behind it.
fn explain(status: StatusCode, body: &Value) -> String {
    let said = |name: &&str| body[*name].as_str().is_some_and(|text| !text.is_empty());
    let member = |name: &'static str| Some(name).filter(said).map(|name| plain(&body[name]));
    let mut lines = match (member("title"), member("detail")) {
        (Some(title), Some(detail)) => vec![format!("{title}: {detail}")],
        (Some(text), None) | (None, Some(text)) => vec![text],
        (None, None) => vec![format!("the control plane answered {status}")],
    };
    for error in items(&body["errors"]) {
        let field = format!("{}: {}", plain(&error["field"]), plain(&error["detail"]));
        // The first ones are often in the detail already.
        if !lines[0].contains(&field) {
            lines.push(format!("  {field}"));
        }
    }
    lines.extend(holdouts(&body["fleet"]));
    lines.join("\n")
}

/// A line for each proxy that a write has not reached, or does not wait for.
pub fn holdouts(fleet: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for of in items(&fleet["lagging"]) {
        lines.push(format!(
            "  {} lags: applied {}",
            plain(&of["proxy"]),
            plain(&of["applied"])
        ));
    }
    for of in items(&fleet["draining"]) {
        let (proxy, upstream, count) = (plain(&of["proxy"]), plain(&of["upstream"]), plain(&of["in_flight"]));
        lines.push(format!("  {proxy} drains {upstream}: {count} in flight"));
    }
    for of in items(&fleet["warming"]) {
        let (proxy, upstream, last) = (plain(&of["proxy"]), plain(&of["upstream"]), plain(&of["last"]));
        lines.push(format!("  {proxy} warms {upstream}: {last}"));
    }
    for of in items(&fleet["refused"]) {
        lines.push(format!(
            "  {} refuses {}: {}",
            plain(&of["proxy"]),
            plain(&of["object"]),
            plain(&of["detail"])
        ));
    }
    for name in items(&fleet["detached"]) {
        lines.push(format!(
            "  {} is detached: beyond its lease, not waited for",
            plain(name)
        ));
    }
    lines
}

pub fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// A value as a person reads it, on one line and without anything that a terminal would obey.
pub fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `text` as the value of a query parameter.
pub fn encode(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_problem_names_fields_and_proxies() {
        let problem = json!({
            "type": "urn:vulcan:wait-not-reached", "title": "Not yet true on every proxy", "status": 504,
            "detail": "1 of 2 proxies", "errors": [{"field": "match[0].hosts[0]", "detail": "empty"}],
            "fleet": {"members": 2, "reached": 1, "lagging": [{"proxy": "edge-1", "applied": 7}],
                "draining": [{"proxy": "edge-2", "upstream": "web/a", "in_flight": 3}], "detached": ["edge-3"]}
        });
        assert_eq!(
            explain(StatusCode::GATEWAY_TIMEOUT, &problem),
            "Not yet true on every proxy: 1 of 2 proxies\n  match[0].hosts[0]: empty\n  edge-1 lags: applied 7\n  \
             edge-2 drains web/a: 3 in flight\n  edge-3 is detached: beyond its lease, not waited for"
        );
        assert_eq!(
            explain(StatusCode::BAD_GATEWAY, &Value::Null),
            "the control plane answered 502 Bad Gateway"
        );
    }

    #[test]
    fn a_terminal_is_told_nothing_but_text() {
        assert_eq!(plain(&json!("a\u{1b}[2Jb\nc")), "a [2Jb c");
        let problem = json!({"title": "\u{1b}[2J", "detail": "b\rc"});
        assert_eq!(explain(StatusCode::CONFLICT, &problem), " [2J: b c");
    }

    #[test]
    fn an_address_survives_a_query() {
        assert_eq!(encode("[::1]:80&x=/").to_string(), "%5B%3A%3A1%5D%3A80%26x%3D%2F");
    }
}
