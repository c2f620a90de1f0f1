use std::io::Write;
use std::time::Duration;

use http::header;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use tokio::time::timeout;

use super::{Ask, BODY_BYTES_MAX, Client};
use crate::failure::Failure;

const SNAPSHOT: &str = "application/zstd";

/// For the answer's head: what is sent may have to be made first.
const HEAD: Duration = Duration::from_secs(60);
/// Between two pieces of it.
const PIECE: Duration = Duration::from_secs(30);
/// More than any snapshot that can be read back.
const BYTES_MAX: u64 = 2 << 30;

impl Client {
    /// Asks for what is no JSON, and writes it to `to` as it comes. How much it was, in bytes.
    pub fn download(&self, path: &str, to: &mut impl Write) -> Result<u64, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::refused)?;
        runtime.block_on(self.pieces(path, to))
    }

    async fn pieces(&self, path: &str, to: &mut impl Write) -> Result<u64, Failure> {
        let ask = Ask {
            headers: &[(header::ACCEPT, SNAPSHOT.to_owned())],
            ..Ask::get(path, HEAD)
        };
        let asked = timeout(HEAD, self.send(&ask)).await;
        let answer = asked.map_err(|_| self.failed(format!("no answer within {HEAD:?}")))??;
        let status = answer.status();
        if !status.is_success() {
            let body = timeout(PIECE, Limited::new(answer.into_body(), BODY_BYTES_MAX).collect()).await;
            let bytes = body
                .ok()
                .and_then(Result::ok)
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let body = serde_json::from_str(&text).unwrap_or(Value::Null);
            return Err(self.refusal(status, text, &body));
        }
        let length = answer.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let mut body = answer.into_body();
        let mut count = 0;
        loop {
            let piece = timeout(PIECE, body.frame()).await;
            let piece = piece.map_err(|_| self.failed(format!("nothing more came within {PIECE:?}")))?;
            let Some(piece) = piece.transpose().map_err(|error| self.failed(error))? else {
                break;
            };
            let bytes = piece.into_data().unwrap_or_default();
            count += bytes.len() as u64;
            if count > BYTES_MAX {
                return Err(self.failed(format!("more than {BYTES_MAX} bytes came")));
            }
            to.write_all(&bytes).map_err(Failure::refused)?;
        }
        match length {
            Some(length) if length != count => Err(self.failed(format!("{count} of {length} bytes came"))),
            _ => Ok(count),
        }
    }
}
