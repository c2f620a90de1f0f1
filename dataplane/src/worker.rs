//! A worker: one thread with a runtime of its own, on which a connection lives from its accept to its end.

use std::rc::Rc;
use std::sync::Arc;

use crate::Config;
use crate::phase::PhaseReceiver;
use crate::view::Reader;

/// What the connections of one worker share. Nothing in it is for other threads.
pub struct WorkerContext {
    /// From 0; this worker's cell at every endpoint.
    pub index: usize,
    pub views: Reader,
    pub config: Arc<Config>,
    /// Connections end with their current request once it `ends_keep_alives`.
    pub phase: PhaseReceiver,
}

pub type SharedContext = Rc<WorkerContext>;
