//! Who swaps the view and then lets the workers pass knows that nothing is sent any more that was decided on the view
//! before.

use std::pin::pin;
use std::sync::mpsc;

use futures_util::FutureExt;

use super::*;
use crate::fixture::Registry;

/// What a request on a worker does, as the test sees it, and what the test lets it do.
struct Held {
    /// Whether the service stood in the view that the request looked at.
    looked: mpsc::Receiver<bool>,
    go_on: mpsc::Sender<()>,
    sent: mpsc::Receiver<()>,
}

/// Workers whose every connection is a request that looks, stands still, and is sent.
async fn holding(views: &Arc<Views>) -> (Proxy, Barrier, Held) {
    let (look, looked) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let (send, sent) = mpsc::channel();
    let may_go_on = Arc::new(std::sync::Mutex::new(may_go_on));
    let handler = move |_: ListenerKind, _: TcpStream, _: SocketAddr, context: Rc<WorkerContext>| {
        let (look, send, may_go_on) = (look.clone(), send.clone(), may_go_on.clone());
        async move {
            look.send(context.views.with(|view| view.pools().count() == 1)).unwrap();
            // As if the thread were preempted.
            may_go_on.lock().unwrap().recv().unwrap();
            send.send(()).unwrap();
        }
    };
    let (workers, phase) = workers(AMPLE, views, handler);
    let barrier = workers.barrier();
    let held = Held { looked, go_on, sent };
    (follow(workers, phase), barrier, held)
}

#[tokio::test]
async fn workers_pass_once_all_is_sent_that_looked_before() {
    let views = Views::new(2);
    let (mut proxy, barrier, held) = holding(&views).await;
    let address = proxy.serve().await;
    timeout(AMPLE, barrier.clone().passed())
        .await
        .expect("nothing to wait for");

    let _first = TcpStream::connect(address).await.unwrap();
    assert!(!held.looked.recv().unwrap());
    Registry::web("random").deploy(&views);
    assert!(
        held.sent.try_recv().is_err(),
        "swapped, and not sent yet: without the barrier it is late"
    );
    let mut passing = pin!(barrier.clone().passed());
    for _ in 0..100 {
        assert!(passing.as_mut().now_or_never().is_none(), "one worker stands still");
        tokio::task::yield_now().await;
    }
    held.go_on.send(()).unwrap();
    timeout(AMPLE, passing).await.unwrap();
    assert!(held.sent.try_recv().is_ok(), "before it has passed");

    let request = TcpStream::connect(address).await.unwrap();
    assert!(held.looked.recv().unwrap(), "whoever looks after it sees the new view");
    held.go_on.send(()).unwrap();
    drop(request);
    proxy.phase.set(Phase::Draining);
    proxy.end().await;
    timeout(AMPLE, barrier.passed())
        .await
        .expect("who has ended sends nothing");
}
