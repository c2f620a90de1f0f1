//! A snapshot on its way.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use net::duplex::Requests;
use shared::snapshot::{self, Limits};
use shared::state::State;
use tokio_util::task::AbortOnDropHandle;

/// Compressed.
const BYTES_MAX: usize = 512 << 20;
/// For the answer's head: the control plane may have to make it first.
const HEAD_WITHIN: Duration = Duration::from_secs(35);
const CHUNK_WITHIN: Duration = Duration::from_secs(10);

/// Ends with its drop.
pub(super) struct Fetch(AbortOnDropHandle<Result<State, String>>);

impl Fetch {
    pub(super) fn start(requests: Option<Requests>, path: &str) -> Fetch {
        let path = path.to_owned();
        Fetch(AbortOnDropHandle::new(tokio::spawn(async move {
            match requests {
                Some(requests) => fetch(requests, &path).await,
                None => Err("there is no connection".to_owned()),
            }
        })))
    }

    pub(super) async fn done(&mut self) -> Result<State, String> {
        (&mut self.0).await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

async fn fetch(mut requests: Requests, path: &str) -> Result<State, String> {
    let asked = requests.get(path);
    let answer = tokio::time::timeout(HEAD_WITHIN, asked)
        .await
        .map_err(|_| "no answer in time")??;
    if answer.status() != StatusCode::OK {
        return Err(format!("the control plane answers {}", answer.status()));
    }
    let bytes = collect(answer.into_body()).await?;
    let read = tokio::task::spawn_blocking(move || snapshot::read(bytes.reader(), Limits::default()));
    read.await
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

async fn collect(mut body: Incoming) -> Result<BytesMut, String> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = tokio::time::timeout(CHUNK_WITHIN, body.frame())
        .await
        .map_err(|_| "it comes too slowly")?
    {
        let chunk = frame
            .map_err(|error| error.to_string())?
            .into_data()
            .unwrap_or_default();
        if bytes.len() + chunk.len() > BYTES_MAX {
            return Err("it is too large".to_owned());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
