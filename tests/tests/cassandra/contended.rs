//! Two control planes and one object: conditions hold across them, and neither decides from a memory that lags.

use std::time::Duration;

use serde_json::{Value, json};
use vulcan_tests::api::{Api, Reply};
use vulcan_tests::cassandra::link::{Link, Mode};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

use super::{Store, the_node};

const SERVICE: &str = "/v1/services/web?wait=none";
const UPSTREAM: &str = "/v1/services/web/upstreams/a?wait=none";

struct Pair {
    _world: World,
    _planes: [Node; 2],
    _link: Link,
    _store: Store,
    one: Api,
    /// It is as far behind as the relay makes it.
    other: Api,
}

impl Pair {
    async fn new(mode: Mode) -> Pair {
        let world = World::new();
        let store = Store::empty().await;
        let link = Link::to(the_node());
        let mut one = world.control_plane_on("one", &store.url(), &[]);
        one.ready().await;
        let mut other = world.control_plane_on("other", &store.at(link.address), &[]);
        other.ready().await;
        link.set(mode);
        let pair = Pair {
            one: one.api(),
            other: other.api(),
            _planes: [one, other],
            _world: world,
            _link: link,
            _store: store,
        };
        pair.one.put(SERVICE, json!({"match": []})).await.expect(202);
        pair
    }
}

fn upstream(port: u32) -> Value {
    json!({"address": format!("127.0.0.1:{port}")})
}

async fn put_if(api: &Api, etag: &str, body: Value) -> Reply {
    let request = api.with_json("PUT", UPSTREAM, &body.to_string());
    api.send(&request.with("if-match", etag)).await
}

/// The one operation of a revision.
async fn operation(api: &Api, revision: u64) -> Value {
    let found = api.get(&format!("/v1/revisions/{revision}")).await.expect(200);
    found.body["ops"][0].clone()
}

#[tokio::test]
async fn of_two_writers_with_one_tag_exactly_one_wins() {
    let pair = Pair::new(Mode::Pass).await;
    let mut etag = pair.one.put(UPSTREAM, upstream(1)).await.expect(202).etag();
    let mut wins = [0, 0];
    for round in 1..=60 {
        let bodies = [upstream(2 * round), upstream(2 * round + 1)];
        let (first, second) = tokio::join!(
            put_if(&pair.one, &etag, bodies[0].clone()),
            put_if(&pair.other, &etag, bodies[1].clone())
        );
        let winner = usize::from(first.status != 202);
        let (won, lost) = if winner == 0 { (first, second) } else { (second, first) };
        let won = won.expect(202);
        let lost = lost.problem(412, "precondition-failed");
        assert_eq!(lost.body["current"]["revision"], won.revision(), "{}", lost.text);
        assert_eq!(
            lost.body["current"]["address"], bodies[winner]["address"],
            "{}",
            lost.text
        );
        wins[winner] += 1;
        etag = won.etag();
    }
    assert!(wins[0] + wins[1] == 60, "{wins:?}");
}

async fn a_delete_right_after_a_put_deletes(mode: Mode, rounds: u32) {
    let pair = Pair::new(mode).await;
    for round in 1..=rounds {
        let put = pair.one.put(UPSTREAM, upstream(round)).await.expect(202).revision();
        let deleted = pair.other.delete(UPSTREAM).await.expect(202).revision();
        assert!(deleted > put, "round {round}: {deleted} is not after {put}");
        let operation = operation(&pair.other, deleted).await;
        assert_eq!(operation["verb"], "delete", "round {round}");
        assert_eq!(operation["before"]["revision"], put, "round {round}");
        // Deleted already, and the log is not longer for it.
        assert!(
            pair.one.delete(UPSTREAM).await.expect(202).revision() == deleted,
            "round {round}"
        );
        pair.one
            .get("/v1/services/web/upstreams/a")
            .await
            .problem(404, "not-found");
    }
}

#[tokio::test]
async fn a_delete_through_one_sees_a_put_through_the_other() {
    a_delete_right_after_a_put_deletes(Mode::Pass, 60).await;
}

#[tokio::test]
async fn a_delete_through_one_that_lags_sees_a_put_through_the_other() {
    a_delete_right_after_a_put_deletes(Mode::DelayReads(Duration::from_millis(600)), 12).await;
}

/// The other way round: what one remembers as standing is gone.
async fn a_put_right_after_a_delete_puts(mode: Mode, rounds: u32) {
    let pair = Pair::new(mode).await;
    for round in 1..=rounds {
        let put = pair.other.put(UPSTREAM, upstream(1)).await.expect(202).revision();
        let deleted = pair.one.delete(UPSTREAM).await.expect(202).revision();
        assert!(deleted > put, "round {round}: {deleted} is not after {put}");
        let again = pair.other.put(UPSTREAM, upstream(1)).await.expect(202).revision();
        assert!(again > deleted, "round {round}: {again} is not after {deleted}");
        // Of what one has not heard of, it does not say that it is absent.
        let seen = pair.one.get("/v1/services/web/upstreams/a").await.expect(200);
        assert_eq!(seen.body["revision"], again, "round {round}");
        pair.one.delete(UPSTREAM).await.expect(202);
        pair.other.delete(UPSTREAM).await.expect(202);
    }
}

#[tokio::test]
async fn a_put_through_one_sees_a_delete_through_the_other() {
    a_put_right_after_a_delete_puts(Mode::Pass, 40).await;
}

#[tokio::test]
async fn a_put_through_one_that_lags_sees_a_delete_through_the_other() {
    a_put_right_after_a_delete_puts(Mode::DelayReads(Duration::from_millis(600)), 8).await;
}
