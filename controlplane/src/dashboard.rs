//! The dashboard, and the page about the API: plain files in the binary. They ask the API as any other client does, and tell
//! nothing themselves.

use std::sync::LazyLock;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use net::problem::{self, Problem};
use sha2::{Digest, Sha256};

use crate::api::answer::Failure;

const FOLDER: &str = "/dashboard/";

/// Scripts and styles come from here and stand in files of their own; nothing else is loaded, and no text becomes markup
/// (Trusted Types: a browser that knows them refuses it to the page's own scripts, too).
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

pub(crate) struct File {
    name: &'static str,
    media_type: HeaderValue,
    content: &'static str,
    /// Of the content.
    tag: HeaderValue,
}

macro_rules! files {
    ($($name:literal $media_type:ident,)*) => {
        [$(($name, $media_type, include_str!(concat!("dashboard/", $name)))),*]
    };
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    let files = files![
        "index.html" HTML,
        "style.css" STYLE,
        "icon.svg" PICTURE,
        "act.js" SCRIPT,
        "api.js" SCRIPT,
        "app.js" SCRIPT,
        "dialog.js" SCRIPT,
        "docs.html" HTML,
        "docs.css" STYLE,
        "docs.js" SCRIPT,
        "diff.js" SCRIPT,
        "dom.js" SCRIPT,
        "fleet.js" SCRIPT,
        "history.js" SCRIPT,
        "limits.js" SCRIPT,
        "outcome.js" SCRIPT,
        "overview.js" SCRIPT,
        "plot.js" SCRIPT,
        "poll.js" SCRIPT,
        "revisions.js" SCRIPT,
        "service.js" SCRIPT,
        "services.js" SCRIPT,
        "state.js" SCRIPT,
        "table.js" SCRIPT,
        "watch.js" SCRIPT,
    ];
    files.map(File::of).into()
});

impl File {
    pub(crate) fn of((name, media_type, content): (&'static str, &'static str, &'static str)) -> File {
        let digest = Sha256::digest(content);
        let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let tag = HeaderValue::try_from(format!("\"{hex}\""));
        File {
            name,
            media_type: HeaderValue::from_static(media_type),
            content,
            tag: tag.unwrap_or(HeaderValue::from_static("\"\"")),
        }
    }

    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = self.tag.as_bytes();
        let known = headers.get_all(IF_NONE_MATCH).iter();
        let is_known = known
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .any(|known| {
                let known = known.trim_ascii();
                known.strip_prefix(b"W/").unwrap_or(known) == tag
            });
        match is_known {
            true => (StatusCode::NOT_MODIFIED, self.headers()).into_response(),
            false => (self.headers(), self.content).into_response(),
        }
    }

    fn headers(&self) -> [(HeaderName, HeaderValue); 7] {
        [
            (CONTENT_TYPE, self.media_type.clone()),
            (ETAG, self.tag.clone()),
            // Asked for again each time: after an upgrade of the control plane it is another page.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (CONTENT_SECURITY_POLICY, POLICY),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                HeaderValue::from_static("same-origin"),
            ),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                HeaderValue::from_static("same-origin"),
            ),
        ]
    }
}

/// Its routes, which are open to all.
pub fn router() -> Router {
    Router::new()
        .route("/", get(async |headers: HeaderMap| file("index.html", &headers)))
        .route("/docs", get(async |headers: HeaderMap| file("docs.html", &headers)))
        .route("/dashboard/{file}", get(part))
}

async fn part(uri: Uri, headers: HeaderMap) -> Response {
    file(uri.path().strip_prefix(FOLDER).unwrap_or_default(), &headers)
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => file.answer(headers),
        None => Failure::from(Problem::new(problem::NOT_FOUND, format!("there is no {FOLDER}{name}"))).into_response(),
    }
}
