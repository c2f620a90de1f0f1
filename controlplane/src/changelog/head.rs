use shared::change::{Commit, Op, Revision};
use shared::state::{Gap, State};
use shared::table::Table;

/// Everything at one revision: the fold of the log, and the table that proxies make of it. Persistent: a clone is O(1).
#[derive(Clone)]
pub struct Head {
    pub state: State,
    pub table: Table,
}

impl Head {
    /// What the table cannot take stays out of it; proxies will say the same.
    pub fn of(state: State) -> Head {
        let (table, refused) = Table::of(&state);
        for refusal in refused {
            tracing::warn!(object = %refusal.object, revision = %refusal.revision, %refusal, "refused by the table");
        }
        Head { state, table }
    }

    /// The head after `commit`, which must be the next one.
    pub fn after(&self, commit: &Commit) -> Result<Head, Gap> {
        let mut state = self.state.clone();
        state.apply(commit)?;
        let table = self.table.apply(&commit.ops, commit.revision).table;
        Ok(Head { state, table })
    }

    /// As if `ops` were (also) part of `revision`, which is this head's own or the next.
    pub fn with(&self, ops: &[Op], revision: Revision) -> Head {
        let mut state = self.state.clone();
        ops.iter().for_each(|op| state.apply_op(op, revision));
        state.revision = revision;
        if ops.iter().any(|op| op.kind.is_configuration()) {
            state.configured = revision;
        }
        Head {
            state,
            table: self.table.apply(ops, revision).table,
        }
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Head({} of {})", self.state.revision, self.state.epoch)
    }
}
