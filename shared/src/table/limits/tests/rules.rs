use super::{ASKED, Asked, found, gone, id, limit, table};
use crate::change::{Kind, Revision};
use crate::model::LimitId;
use crate::table::tests::put;
use crate::table::{Cause, Table};

/// The original's columns: regular expressions from the start on, case where it matters, and the smallest length.
#[test]
fn a_limit_is_for_what_its_columns_say() {
    let alice = ASKED;
    let bob = Asked {
        auth_token: "bob@example.org",
        ..ASKED
    };
    let nobody = Asked {
        auth_token: "",
        ..ASKED
    };
    let mail = Asked {
        protocol: "SMTP",
        method: "MAIL",
        path: "example.com",
        ..ASKED
    };
    let post = Asked {
        method: "POST",
        path: "/v1/send",
        length: Some(1_000),
        ..ASKED
    };
    let chunked = Asked { length: None, ..post };
    let all = [alice, bob, nobody, mail, post, chunked];
    for (members, takes) in [
        ("", "abnmpc"),
        (r#","auth_token":".*""#, "abnmpc"),
        (r#","auth_token":"alice@example\\.com""#, "ampc"),
        (r#","auth_token":"alice""#, "ampc"),
        (r#","auth_token":"alice$""#, ""),
        (r#","auth_token":"^alice@example\\.com$""#, "ampc"),
        (r#","auth_token":"ALICE""#, ""),
        (r#","auth_token":"(?i)ALICE""#, "ampc"),
        (r#","auth_token":"example""#, ""),
        (r#","auth_token":".*@example\\.org$""#, "b"),
        (r#","auth_token":"alice|bob""#, "abmpc"),
        (r#","auth_token":".+""#, "abmpc"),
        (r#","auth_token":"^$""#, "n"),
        (r#","auth_token":"""#, "abnmpc"),
        (r#","protocol":"http""#, "abnpc"),
        (r#","protocol":"HTTP$""#, "abnpc"),
        (r#","protocol":"sMtP""#, "m"),
        (r#","protocol":"http|smtp""#, "abnmpc"),
        (r#","method":"get""#, "abn"),
        (r#","method":"P(OS|U)T""#, "pc"),
        (r#","method":"[a-g]""#, "abn"),
        (r#","method":"(?-i)get""#, ""),
        (r#","path":"/""#, "abnpc"),
        (r#","path":"/$""#, "abn"),
        (r#","path":"/v1/""#, "pc"),
        (r#","path":"/V1/""#, ""),
        (r#","path":".*/send$""#, "pc"),
        (r#","path":"example\\.com$""#, "m"),
        (r#","data_size":1"#, "pc"),
        (r#","data_size":1000"#, "pc"),
        (r#","data_size":1001"#, "c"),
        (r#","data_size":"1KB","method":"post","auth_token":"alice""#, "pc"),
        (r#","service":"web""#, "abnmpc"),
        (r#","service":"other""#, ""),
    ] {
        let table = table(&[members]);
        let taken: String = all
            .iter()
            .zip("abnmpc".chars())
            .filter(|(asked, _)| !found(&table, **asked).is_empty())
            .map(|(_, name)| name)
            .collect();
        assert_eq!(taken, takes, "{members}");
    }
}

#[test]
fn every_limit_that_matches_is_named_once() {
    let table = table(&[
        r#","auth_token":"(a|al|alice@example\\.com)$""#,
        r#","auth_token":"a|alice""#,
        r#","auth_token":"bob""#,
        "",
        r#","service":"web""#,
        r#","service":"other""#,
        r#","path":"/""#,
    ]);
    assert_eq!(found(&table, ASKED), [0, 1, 3, 4, 6]);
    assert_eq!(
        found(
            &table,
            Asked {
                auth_token: "al",
                ..ASKED
            }
        ),
        [0, 1, 3, 4, 6]
    );
    let elsewhere = Asked {
        service: "other",
        auth_token: "",
        ..ASKED
    };
    assert_eq!(found(&table, elsewhere), [3, 5, 6]);
}

#[test]
fn the_most_specific_that_overrides_takes_the_place_of_others() {
    const ALICE: &str = r#","auth_token":"^alice@example\\.com$","override":true"#;
    const BEGINS: &str = r#","auth_token":"alice@","override":true"#;
    const LONGER: &str = r#","auth_token":"alice@example","override":true"#;
    const RUN: &str = r#","auth_token":"alice@.+","override":true"#;
    const ANY: &str = r#","override":true"#;
    const TO_PATH: &str = r#","path":"/","override":true"#;
    const LONG: &str = r#","data_size":0,"method":"GET","override":true"#;
    const OF_WEB: &str = r#","service":"web","override":true"#;
    const OBSERVED: &str = r#","auth_token":"^alice@example\\.com$","override":true,"mode":"observe""#;
    const PLAIN: &str = "";
    const PLAIN_OF_WEB: &str = r#","service":"web""#;
    for (limits, expected) in [
        (&[PLAIN, ALICE][..], &[1][..]),
        (&[BEGINS, ALICE, PLAIN], &[1]),
        (&[ANY, RUN, BEGINS], &[2]),
        (&[ANY, RUN], &[1]),
        (&[BEGINS, LONGER], &[1]),
        (&[ANY, TO_PATH, LONG], &[1]),
        (&[ANY, LONG], &[1]),
        (&[ANY, ANY], &[0]),
        // Those of its service: of all, or of the same.
        (&[PLAIN, PLAIN_OF_WEB, ALICE], &[1, 2]),
        (&[PLAIN, PLAIN_OF_WEB, OF_WEB], &[0, 2]),
        (&[PLAIN, PLAIN_OF_WEB, OF_WEB, ALICE], &[2, 3]),
        // One that observes stays if it would be chosen, and replaces nothing.
        (&[PLAIN, OBSERVED], &[0, 1]),
        (&[PLAIN, OBSERVED, BEGINS], &[1, 2]),
        (&[r#","mode":"observe""#, BEGINS], &[1]),
    ] {
        assert_eq!(found(&table(limits), ASKED), expected, "{limits:?}");
    }
    let bob = Asked {
        auth_token: "bob",
        ..ASKED
    };
    assert_eq!(found(&table(&[PLAIN, ALICE]), bob), [0]);
}

#[test]
fn a_change_replaces_and_a_refusal_leaves_what_was_good() {
    let first = table(&[r#","auth_token":"alice""#]);
    let changed = first.apply(&[limit(0, r#","auth_token":"bob""#)], Revision(2)).table;
    assert_eq!((found(&changed, ASKED), found(&first, ASKED)), (vec![], vec![0]));
    let bad = put(Kind::Limit, &id(0), r#"{"threshold":1,"auth_token":"("}"#);
    let refused = changed.apply(&[bad], Revision(3));
    assert!(matches!(refused.refused[0].cause, Cause::Invalid(_)));
    let bob = Asked {
        auth_token: "bob",
        ..ASKED
    };
    assert_eq!(found(&refused.table, bob), [0]);
    let held = refused.table.limit(LimitId::try_from(&*id(0)).unwrap()).unwrap();
    assert_eq!(held.revision, Revision(2));
    let mended = refused.table.apply(&[limit(0, "")], Revision(4)).table;
    assert_eq!((found(&mended, ASKED), mended.refused().count()), (vec![0], 0));
    let deleted = mended.apply(&[gone(0)], Revision(5)).table;
    assert!(found(&deleted, ASKED).is_empty() && deleted.limits.is_empty());
}

#[test]
fn a_key_that_names_no_limit_is_refused() {
    for key in ["x", "5B1F7C0E-7D1A-4F3E-9A53-0C1D2E3F4A5B"] {
        let applied = Table::default().apply(&[put(Kind::Limit, key, r#"{"threshold":1}"#)], Revision(1));
        assert!(matches!(applied.refused[0].cause, Cause::Invalid(_)), "{key}");
        assert!(applied.table.limits.is_empty());
    }
}

#[test]
fn a_token_has_certain_limits_where_nothing_else_is_asked_about() {
    let table = table(&[
        r#","auth_token":"alice""#,
        r#","auth_token":"al.*ce""#,
        r#","auth_token":"carol","method":"GET""#,
        r#","service":"paths","path":"/a""#,
    ]);
    let certain = |service, token| table.limits_of_token(service, token).map(|found| found.len());
    assert_eq!(certain("web", "alice"), Some(2));
    assert_eq!(certain("web", "bob"), Some(0));
    assert_eq!(certain("web", "carol"), None);
    assert_eq!(certain("paths", "bob"), None);
}

#[test]
fn escapes_of_a_path_are_the_same_in_every_spelling() {
    let table = table(&[
        r#","path":"/caf%c3%a9$""#,
        r#","path":"/caf%C3%A9$""#,
        r#","path":"/c%61f%c3%A9$""#,
    ]);
    for path in ["/caf%c3%a9", "/caf%C3%A9", "/%63af%C3%a9"] {
        let path = crate::model::path::normalise(path).unwrap();
        let asked = Asked { path: &path, ..ASKED };
        assert_eq!(found(&table, asked), [0, 1, 2], "{path}");
    }
}
