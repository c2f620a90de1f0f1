use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::connection::{Link, Raw};
use super::wire::Wire;
use super::{OutBody, Pool};

/// Drives one connection to its end; hands the socket on when the protocol was switched.
pub(super) async fn drive<B: OutBody>(
    mut http: http1::Connection<TokioIo<Wire>, B>,
    link: Rc<Link<B>>,
    pool: Rc<Pool<B>>,
) {
    let is_http_over = poll_fn(|cx| {
        if link.is_given_up(cx) {
            return Poll::Ready(false);
        }
        if let Poll::Ready(ended) = Pin::new(&mut http).poll(cx) {
            return Poll::Ready(ended.is_ok());
        }
        // The rest of a request whose answer was early may have been sent now.
        if let Some(sender) = link.take_ready() {
            pool.put(sender, &link);
        }
        Poll::Pending
    })
    .await;
    pool.leave(&link);
    // Only to be handed on, if at all.
    link.signs().heads.ended();
    if let (true, Some(upgrade)) = (is_http_over, link.take_upgrade()) {
        let parts = http.into_parts();
        // With nobody there any more it closes.
        let _ = upgrade.send(Raw {
            stream: parts.io.into_inner().into_stream(),
            early: parts.read_buf,
        });
    }
}
