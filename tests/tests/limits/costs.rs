//! Requests that count for more than one, over three proxies: what passes is worth no more than the threshold.

use std::net::SocketAddr;

use serde_json::{Value, json};
use vulcan_tests::limited::Witness;
use vulcan_tests::node::Node;
use vulcan_tests::wire::{Connection, Head, Request};
use vulcan_tests::world::World;

use crate::LIMIT;

struct Fleet {
    control: Node,
    proxies: Vec<Node>,
    witness: Witness,
    _world: World,
}

impl Fleet {
    async fn new(limit: Value) -> Fleet {
        let world = World::new();
        let (control, proxies) = world.fleet(3, &[]).await;
        let witness = Witness::default();
        control.api().service("web", json!({})).await;
        control.api().register("web", "a", witness.serve().await).await;
        control.api().put(LIMIT, limit).await.live();
        Fleet {
            control,
            proxies,
            witness,
            _world: world,
        }
    }

    /// Asks each proxy in turn, as often as is said; how many of them were admitted.
    async fn admits(&self, rounds: usize, name: &str, value: &str) -> usize {
        let mut admitted = 0;
        for _ in 0..rounds {
            for proxy in &self.proxies {
                let head = ask(proxy.http(), name, value).await;
                assert!(matches!(head.status, 200 | 429), "{}", head.status);
                admitted += usize::from(head.status == 200);
            }
        }
        admitted
    }

    async fn usage(&self) -> Value {
        let reply = self.control.api().get(&format!("{LIMIT}/usage?key=")).await;
        reply.expect(200).body["window"]["admitted"].clone()
    }
}

async fn ask(proxy: SocketAddr, name: &str, value: &str) -> Head {
    let mut connection = Connection::connect(proxy).await.unwrap();
    let request = Request::new("GET", "/", "web").with(name, value);
    connection.exchange(&request).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_cost_divides_the_threshold() {
    let fleet = Fleet::new(json!({"threshold": 100, "period": 60, "cost": 30})).await;
    assert_eq!(fleet.admits(5, "x-cost", "1").await, 3);
    assert_eq!(fleet.witness.times("/").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_what_it_costs() {
    let cost = json!({"request_header": "X-Cost", "default": 10});
    let fleet = Fleet::new(json!({"threshold": 100, "period": 60, "cost": cost})).await;
    let proxy = fleet.proxies[0].http();
    let head = ask(proxy, "x-cost", "101").await;
    assert_eq!((head.status, head.field("retry-after")), (429, None), "it never passes");
    assert_eq!(ask(proxy, "x-cost", "all").await.status, 400);
    assert_eq!(ask(proxy, "x-cost", "60").await.status, 200);
    let head = ask(proxy, "x-cost", "60").await;
    assert!(head.status == 429 && head.field("retry-after").is_some());
    // Of the forty that are left.
    assert_eq!(fleet.admits(4, "x-other", "1").await, 4);
    assert_eq!(fleet.usage().await, json!(100));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_did_not_use_is_there_for_others() {
    let cost = json!({"reserve": 40, "settle_header": "x-used"});
    let fleet = Fleet::new(json!({"threshold": 400, "period": 60, "cost": cost})).await;
    let admitted = fleet.admits(20, "x-used", "10").await;
    println!("{admitted} admitted");
    assert!(admitted > 10, "as many as without a word of what was used: {admitted}");
    assert!(admitted <= 40, "{admitted}");
}

/// The control of the test before.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_word_all_that_was_reserved_is_used() {
    let cost = json!({"reserve": 40, "settle_header": "x-used"});
    let fleet = Fleet::new(json!({"threshold": 400, "period": 60, "cost": cost})).await;
    let admitted = fleet.admits(20, "x-nothing", "10").await;
    assert!(admitted <= 10, "{admitted}");
}
