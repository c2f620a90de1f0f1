use shared::change::ObjectKey;
use shared::model::{Invalid, Limit, LimitId};

use super::{Conditions, Document, check, decision, delete_all, put, refused, stored};
use crate::changelog::Decide;

/// Creates or replaces a limit. The service that it names need not be there: a limit may come before what it protects,
/// and stays when that goes, to be in force again when it comes back.
pub fn replace(id: LimitId, document: Document, conditions: Conditions) -> Result<Decide, Invalid> {
    let limit = Limit::from_value(&id.to_string(), &document.value)?;
    let key = ObjectKey::limit(id);
    Ok(decision(move |head| {
        check(head, &key, &conditions, Some(&document))?;
        put(head, &key, limit.body(), None)
    }))
}

/// `document` is a merge patch.
pub fn patch(id: LimitId, document: Document, conditions: Conditions) -> Decide {
    let key = ObjectKey::limit(id);
    decision(move |head| {
        let stored = stored(head, &key, &document, &conditions)?;
        let limit = Limit::patched(&key.key, stored, &document.value).map_err(refused)?;
        put(head, &key, limit.body(), None)
    })
}

pub fn remove(id: LimitId, conditions: Conditions) -> Decide {
    let key = ObjectKey::limit(id);
    decision(move |head| {
        check(head, &key, &conditions, None)?;
        Ok(delete_all(head, [&key].into_iter()))
    })
}
