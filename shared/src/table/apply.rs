//! Folding operations into a table.

use super::{Refusal, Table};
use crate::change::{Op, Revision};
use crate::model::ServiceName;
use crate::state::State;

/// What applying operations led to. The table before it is untouched.
pub struct Applied {
    pub table: Table,
    /// Those of the given operations that were refused.
    pub refused: Vec<Refusal>,
    /// Services whose entry is another than before, or gone; each once.
    pub touched: Vec<ServiceName>,
}

impl Table {
    /// The table of a whole state, with everything in it that was refused.
    pub fn of(state: &State) -> (Table, Vec<Refusal>) {
        let _ = state;
        (Table::default(), Vec::new())
    }

    /// Folds in the operations of one revision, O(change). Operations of the roster are no business of the table.
    pub fn apply(&self, ops: &[Op], revision: Revision) -> Applied {
        let _ = (ops, revision);
        Applied {
            table: self.clone(),
            refused: Vec::new(),
            touched: Vec::new(),
        }
    }
}
