//! An answer without an end, of a caller whose token may come to an end.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body::{Frame, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Ends the body with the token.
pub struct Until {
    body: Body,
    withdrawn: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Until {
    pub fn new(body: Body, withdrawn: CancellationToken) -> Until {
        Until {
            body,
            withdrawn: Box::pin(withdrawn.cancelled_owned()),
        }
    }
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if this.withdrawn.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
