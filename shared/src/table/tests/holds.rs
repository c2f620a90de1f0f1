//! What is held, and when it is another hold.

use super::{delete, put, service};
use crate::change::{Kind, Revision};
use crate::model::ServiceName;
use crate::table::Table;

fn hold(max: &str) -> crate::change::Op {
    put(Kind::Hold, "web", &format!(r#"{{"max":"{max}"}}"#))
}

fn held(table: &Table) -> Option<(u64, u64)> {
    let held = table.held(&ServiceName::try_from("web").unwrap())?;
    Some((held.revision.0, held.hold.max.as_secs()))
}

#[test]
fn a_hold_is_of_the_revision_that_put_it_last() {
    let web = ServiceName::try_from("web").unwrap();
    let table = Table::default()
        .apply(&[service("web", r#"{"match":[]}"#)], Revision(1))
        .table;
    let held_once = table.apply(&[hold("5s")], Revision(2));
    assert_eq!(held_once.touched, std::slice::from_ref(&web));
    assert_eq!(held(&held_once.table), Some((2, 5)));
    let entry = held_once.table.entry("web").unwrap();
    assert_eq!(entry.revision, Revision(1), "the service is as it was");
    let again = held_once.table.apply(&[hold("5s")], Revision(3)).table;
    assert_eq!(held(&again), Some((3, 5)));
    let resumed = again.apply(&[delete(Kind::Hold, "web")], Revision(4));
    assert_eq!((held(&resumed.table), resumed.touched), (None, vec![web]));
    let nothing = resumed.table.apply(&[delete(Kind::Hold, "web")], Revision(5));
    assert_eq!(nothing.touched, []);
}

#[test]
fn what_cannot_be_read_leaves_the_last_good_one() {
    let table = Table::default().apply(&[hold("5s")], Revision(1)).table;
    let refusing = table.apply(&[put(Kind::Hold, "web", r#"{"until":"noon"}"#)], Revision(2));
    assert_eq!(refusing.refused[0].object.to_string(), "hold/web");
    assert_eq!(held(&refusing.table), Some((1, 5)));
    let resumed = refusing.table.apply(&[delete(Kind::Hold, "web")], Revision(3)).table;
    assert_eq!((held(&resumed), resumed.refused().count()), (None, 0));
    let unnamed = table.apply(&[put(Kind::Hold, "no/name", "{}")], Revision(2));
    assert_eq!(unnamed.refused.len(), 1);
}
