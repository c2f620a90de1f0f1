//! Questions to one proxy, and what it answers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shared::stream::message::{About, Query, Upstreams};
use shared::stream::publisher::Input;
use shared::stream::roster::SessionId;
use tokio::sync::oneshot;

use super::Fleet;

/// A proxy that is connected answers in milliseconds. One that does not is stuck, and that is an answer, too.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Questions under way at a time.
const ASKED_MAX: usize = 256;

/// Who waits for an answer.
#[derive(Default)]
pub(super) struct Questions(Mutex<Asked>);

#[derive(Default)]
struct Asked {
    last: u64,
    /// With the connection that may answer it.
    open: HashMap<u64, (SessionId, oneshot::Sender<Upstreams>)>,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, session: SessionId) -> Option<(Question<'_>, oneshot::Receiver<Upstreams>)> {
        let mut asked = self.lock();
        if asked.open.len() >= ASKED_MAX {
            return None;
        }
        asked.last += 1;
        let id = asked.last;
        let (answer, answered) = oneshot::channel();
        asked.open.insert(id, (session, answer));
        Some((Question { all: self, id }, answered))
    }

    /// What another connection says to it is no answer, nor is one that comes too late.
    pub(super) fn answered(&self, session: Option<SessionId>, answer: Upstreams) {
        let mut asked = self.lock();
        if asked.open.get(&answer.id).is_some_and(|(of, _)| Some(*of) == session)
            && let Some((_, waiter)) = asked.open.remove(&answer.id)
        {
            // A waiter that is gone needs no answer.
            let _ = waiter.send(answer);
        }
    }
}

/// One that is open until it is dropped, however its caller ends.
struct Question<'a> {
    all: &'a Questions,
    id: u64,
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.all.lock().open.remove(&self.id);
    }
}

impl Fleet {
    /// How the upstreams of a proxy are, as it says itself now. `None`: it is not connected here, or does not answer.
    pub async fn upstreams(&self, name: &str, about: Option<About>) -> Option<Upstreams> {
        let session = self.with(|hub| hub.roster().member(name)?.1.session()).flatten()?;
        let link = self.link(session).filter(|link| link.answers())?;
        let (question, answered) = self.questions.begin(session)?;
        link.feed(Input::Ask(Query { id: question.id, about }));
        tokio::time::timeout(ANSWER_WITHIN, answered).await.ok()?.ok()
    }
}
