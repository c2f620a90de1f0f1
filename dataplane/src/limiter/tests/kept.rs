//! Accounts that are kept beside a grant: they are those that each request would find.

use super::owner::{Leave, Stage, story};
use crate::limiter::Decided;

const ALICE: &str = "alice@example.com";

#[test]
fn one_grant_is_counted_as_often_as_it_is_used_and_by_nobody_elses() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":5}"#, r#"{"threshold":7,"auth_token":"bob"}"#]).await;
        stage.is_authorized(&["web"]);
        let (alice, bob) = (Leave::of(ALICE), Leave::of("bob"));
        assert_eq!(stage.admitted_by(&alice, 9, "web", "/").await, 5);
        assert_eq!(stage.admitted_by(&bob, 9, "web", "/").await, 5, "of each of the two");
        assert_eq!(
            stage.admitted_by(&Leave::of(ALICE), 9, "web", "/").await,
            0,
            "another grant of the token"
        );
        let tallies = stage.views.limiter().tallies().all();
        let sums = tallies
            .values()
            .map(|of| (of.sum(Decided::Admitted), of.sum(Decided::Refused)));
        assert_eq!(sums.collect::<Vec<_>>(), [(10, 17), (5, 0)]);
    });
}

#[test]
fn a_change_of_limits_is_seen_by_grants_that_were_used() {
    story(async || {
        let stage = Stage::new(&[r#"{"threshold":3}"#]).await;
        stage.is_authorized(&["web"]);
        let alice = Leave::of(ALICE);
        assert_eq!(stage.admitted_by(&alice, 5, "web", "/").await, 3);
        stage.put(0, r#"{"threshold":6}"#);
        assert_eq!(stage.admitted_by(&alice, 5, "web", "/").await, 3);
        stage.put(1, r#"{"threshold":9,"auth_token":"alice","override":true}"#);
        assert_eq!(stage.admitted_by(&alice, 20, "web", "/").await, 9);
        stage.delete(1);
        assert_eq!(stage.admitted_by(&alice, 2, "web", "/").await, 0);
        stage.delete(0);
        assert_eq!(stage.admitted_by(&alice, 20, "web", "/").await, 20);
    });
}

#[test]
fn each_service_has_its_own_and_so_has_what_is_not_about_the_token_alone() {
    story(async || {
        let limits = [
            r#"{"threshold":3,"service":"web"}"#,
            r#"{"threshold":4,"service":"other"}"#,
            r#"{"threshold":1,"service":"paths","path":"/a"}"#,
            r#"{"threshold":2,"service":"paths"}"#,
        ];
        let stage = Stage::new(&limits).await;
        stage.is_authorized(&["web", "other", "paths"]);
        let alice = Leave::of(ALICE);
        let mut admitted = [0, 0];
        for _ in 0..9 {
            admitted[0] += stage.admitted_by(&alice, 1, "web", "/").await;
            admitted[1] += stage.admitted_by(&alice, 1, "other", "/").await;
        }
        assert_eq!(admitted, [3, 4]);
        let paths = [
            stage.admitted_by(&alice, 9, "paths", "/a").await,
            stage.admitted_by(&alice, 9, "paths", "/b").await,
        ];
        assert_eq!(paths, [1, 1]);
    });
}

#[test]
fn an_authorizer_may_name_what_is_counted_under() {
    story(async || {
        let stage = Stage::new(&[
            r#"{"threshold":4,"key":"limit_key"}"#,
            r#"{"threshold":9,"key":"client_ip"}"#,
        ])
        .await;
        stage.is_authorized(&["web"]);
        let [alice, bob] = ["alice", "bob"].map(|token| Leave::under(token, "company"));
        assert_eq!(stage.admitted_by(&alice, 3, "web", "/").await, 3);
        assert_eq!(stage.admitted_by(&bob, 3, "web", "/").await, 1);
        assert_eq!(
            stage.admitted_by(&Leave::of("company"), 3, "web", "/").await,
            0,
            "the same text"
        );
        assert_eq!(stage.admitted_by(&Leave::of("carol"), 9, "web", "/").await, 4);
        stage.delete(1);
        assert_eq!(
            stage.admitted_by(&Leave::under("dora", "company"), 9, "web", "/").await,
            0
        );
    });
}
