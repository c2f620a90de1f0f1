//! Tells for which of its futures a task was woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls a future of a busy task at that future's own wakes only.
///
/// A look at a watch's version does not do instead: the version moves before the receivers are woken. Whoever looks
/// between the two takes the change for seen, and then takes the wake for somebody else's.
#[derive(Default)]
pub struct Nudged(Option<(Arc<Nudge>, Waker)>);

struct Nudge {
    is_due: AtomicBool,
    task: Waker,
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_due.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Nudged {
    /// `future` is the same at every call.
    pub fn poll<F: Future>(&mut self, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let (nudge, waker) = match &mut self.0 {
            Some(own) if own.0.task.will_wake(cx.waker()) => own,
            own => {
                let nudge = Arc::new(Nudge {
                    is_due: AtomicBool::new(true),
                    task: cx.waker().clone(),
                });
                own.insert((nudge.clone(), Waker::from(nudge)))
            }
        };
        // Cheaper than a swap at every poll, and a wake that comes later polls the task again.
        if !nudge.is_due.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before the poll: a wake within it must not be lost.
        nudge.is_due.swap(false, Ordering::AcqRel);
        future.poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use super::*;

    #[test]
    fn a_future_is_polled_at_its_own_wakes_only() {
        let mut polls = 0;
        let mut future = pin!(poll_fn(|_| {
            polls += 1;
            if polls < 3 { Poll::Pending } else { Poll::Ready(polls) }
        }));
        let mut nudged = Nudged::default();
        let task = Waker::noop().clone();
        let mut cx = Context::from_waker(&task);
        for _ in 0..3 {
            assert!(nudged.poll(future.as_mut(), &mut cx).is_pending());
        }
        nudged.0.as_ref().unwrap().1.wake_by_ref();
        assert!(nudged.poll(future.as_mut(), &mut cx).is_pending());
        assert!(nudged.poll(future.as_mut(), &mut cx).is_pending());
        nudged.0.as_ref().unwrap().1.wake_by_ref();
        assert_eq!(nudged.poll(future.as_mut(), &mut cx), Poll::Ready(3));
    }
}
