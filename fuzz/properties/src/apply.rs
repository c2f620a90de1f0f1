//! Documents of many objects, one after another between lines of `---`: what is refused is named and changes nothing, and
//! what is taken stands then. Every second one is all there is to be.

use std::sync::Arc;

use controlplane::changelog::{Decision, Head};
use controlplane::registry::apply::{Rest, Wanted};
use net::problem::Problem;
use shared::change::{Epoch, ObjectKey, Op};
use shared::state::State;
use uuid::Uuid;

const DOCUMENTS_MAX: usize = 8;
const ERRORS_MAX: usize = 100;

pub fn check(data: &[u8]) {
    let Ok(script) = std::str::from_utf8(data) else { return };
    let mut head = Head::of(State::empty(Epoch(Uuid::from_u128(1))));
    for (number, text) in script.split("\n---\n").take(DOCUMENTS_MAX).enumerate() {
        let rest = if number % 2 == 1 { Rest::Goes } else { Rest::Stays };
        match Wanted::read(text, rest) {
            Ok(wanted) => head = applied(&head, &Arc::new(wanted), text),
            Err(problem) => named(&problem),
        }
    }
}

fn applied(head: &Head, wanted: &Arc<Wanted>, text: &str) -> Head {
    let change = match wanted.change(head) {
        Ok(change) => change,
        Err(problem) => {
            named(&problem);
            return head.clone();
        }
    };
    let written: Vec<ObjectKey> = change.ops.iter().map(Op::object).collect();
    let mut cut: Vec<ObjectKey> = change.revisions.iter().flat_map(|keys| keys.iter().cloned()).collect();
    cut.sort_unstable();
    assert_eq!(cut, written, "each once");
    // The writer decides the same.
    if let [keys] = &change.revisions[..] {
        let Decision::Append(ops) = wanted.whole(Arc::new(head.clone()), keys.clone())(head) else {
            panic!("{keys:?} are not written");
        };
        assert_eq!(ops, change.ops);
    }
    let after = head.with(&change.ops, head.state.revision.next());
    assert_eq!(after.table.refused().count(), 0);
    // Of what says which revision it is of, that is another one now.
    if !text.contains("revision") {
        assert!(wanted.change(&after).expect("it was taken").ops.is_empty());
    }
    after
}

fn named(problem: &Problem) {
    assert!(matches!(problem.status, 400 | 409 | 413 | 422), "{problem:?}");
    assert!(
        !problem.detail.is_empty() && problem.errors.len() <= ERRORS_MAX,
        "{problem:?}"
    );
    assert!(
        problem.errors.iter().all(|error| !error.detail.is_empty()),
        "{problem:?}"
    );
}
