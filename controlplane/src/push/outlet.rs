//! A response body that is handed its buffers one at a time.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

/// Takes the next buffer only when the connection has room for it: the sender thereby knows what is out of its hand.
pub(super) struct Outlet(mpsc::Receiver<Bytes>);

/// Holds one buffer at most.
pub(super) fn outlet() -> (mpsc::Sender<Bytes>, Outlet) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Outlet(receiver))
}

impl http_body::Body for Outlet {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut()
            .0
            .poll_recv(cx)
            .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
