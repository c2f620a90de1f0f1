//! What goes wrong, all the time and at random: in the network, with control planes, with nodes of Cassandra.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vulcan_tests::cassandra::Cassandra;
use vulcan_tests::cassandra::link::{Link, Mode};
use vulcan_tests::dice::Dice;
use vulcan_tests::node::Node;

/// In ms. A fault of the network lasts longer than a write is waited for.
const CALM: (u64, u64) = (3_000, 12_000);
const CLEAR: (u64, u64) = (5_000, 18_000);
const STORM: (u64, u64) = (3_200, 4_500);
const LATE: (u64, u64) = (1_100, 2_200);
const STANDSTILL: (u64, u64) = (300, 5_000);
const DOWN: (u64, u64) = (50, 1_000);

pub struct Faults {
    links: Vec<Arc<Link>>,
    /// With whoever hurts them, meanwhile.
    planes: Option<Vec<Node>>,
    cassandra: Arc<Cassandra>,
    seed: u64,
    counts: Arc<Counts>,
    stop: CancellationToken,
    running: Option<Running>,
}

struct Running {
    network: Vec<JoinHandle<()>>,
    planes: JoinHandle<Vec<Node>>,
    nodes: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    planes_killed: AtomicU64,
    planes_frozen: AtomicU64,
    nodes_killed: AtomicU64,
    nodes_frozen: AtomicU64,
}

impl Faults {
    pub fn new(links: Vec<Link>, planes: Vec<Node>, cassandra: Arc<Cassandra>, seed: u64) -> Faults {
        Faults {
            links: links.into_iter().map(Arc::new).collect(),
            planes: Some(planes),
            cassandra,
            seed,
            counts: Arc::default(),
            stop: CancellationToken::new(),
            running: None,
        }
    }

    pub fn begin(&mut self) {
        self.stop = CancellationToken::new();
        self.seed += 1_000;
        let mut seeds = self.seed..;
        let mut chance = || Chance {
            dice: Dice::new(seeds.next().unwrap()),
            stop: self.stop.clone(),
        };
        let network = self
            .links
            .iter()
            .map(|link| tokio::spawn(network(link.clone(), chance())));
        let network = network.collect();
        let planes = self.planes.take().expect("the last faults have ended");
        self.running = Some(Running {
            network,
            planes: tokio::spawn(hurt_planes(planes, chance(), self.counts.clone())),
            nodes: tokio::spawn(hurt_nodes(self.cassandra.clone(), chance(), self.counts.clone())),
        });
    }

    /// Everything runs and goes on afterwards.
    pub async fn end(&mut self) {
        self.stop.cancel();
        let Running { network, planes, nodes } = self.running.take().expect("faults began");
        for one in network {
            one.await.unwrap();
        }
        self.planes = Some(planes.await.unwrap());
        nodes.await.unwrap();
    }

    pub fn counts(&self) -> String {
        let sum = |of: fn(&Link) -> u64| self.links.iter().map(|link| of(link)).sum::<u64>();
        let count = |count: &AtomicU64| count.load(SeqCst);
        format!(
            "answers lost: {}, appends late: {}, of them arrived: {}, control planes killed: {}, frozen: {}, \
             nodes killed: {}, frozen: {}",
            sum(Link::dropped),
            sum(Link::delayed),
            sum(Link::arrived_late),
            count(&self.counts.planes_killed),
            count(&self.counts.planes_frozen),
            count(&self.counts.nodes_killed),
            count(&self.counts.nodes_frozen),
        )
    }

    /// A run without faults proves nothing.
    pub fn were_there(&self) {
        let network = self.links.iter().all(|link| link.dropped() + link.arrived_late() > 0);
        let signals = [
            &self.counts.planes_killed,
            &self.counts.planes_frozen,
            &self.counts.nodes_frozen,
        ];
        assert!(
            network && signals.iter().all(|count| count.load(SeqCst) > 0),
            "{}",
            self.counts()
        );
    }
}

struct Chance {
    dice: Dice,
    stop: CancellationToken,
}

impl Chance {
    /// Between so many ms; tells whether to go on.
    async fn rest(&mut self, (from, to): (u64, u64)) -> bool {
        let time = self.time((from, to));
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            () = self.stop.cancelled() => false,
        }
    }

    fn time(&mut self, (from, to): (u64, u64)) -> Duration {
        Duration::from_millis(self.dice.between(from, to))
    }
}

async fn network(link: Arc<Link>, mut chance: Chance) {
    while chance.rest(CLEAR).await {
        let late = chance.time(LATE);
        link.set(match chance.dice.below(5) {
            0 | 1 => Mode::DropAnswers,
            2 | 3 => Mode::Delay(late),
            _ => Mode::Mixed {
                dropped: 10,
                late: 10,
                by: late,
            },
        });
        chance.rest(STORM).await;
        link.set(Mode::Pass);
    }
}

async fn hurt_planes(mut planes: Vec<Node>, mut chance: Chance, counts: Arc<Counts>) -> Vec<Node> {
    while chance.rest(CALM).await {
        let index = chance.dice.index(planes.len());
        let plane = &mut planes[index];
        if chance.dice.percent(50) {
            counts.planes_killed.fetch_add(1, SeqCst);
            plane.kill();
            chance.rest(DOWN).await;
            plane.start();
            plane.ready().await;
        } else {
            counts.planes_frozen.fetch_add(1, SeqCst);
            plane.freeze();
            chance.rest(STANDSTILL).await;
            plane.thaw();
        }
    }
    planes
}

/// One at a time: the others are a quorum.
async fn hurt_nodes(cassandra: Arc<Cassandra>, mut chance: Chance, counts: Arc<Counts>) {
    while chance.rest(CALM).await {
        let node = chance.dice.index(3) + 1;
        if chance.dice.percent(30) {
            counts.nodes_killed.fetch_add(1, SeqCst);
            tell(&cassandra, "kill", node).await;
            chance.rest(DOWN).await;
            let cassandra = cassandra.clone();
            tokio::task::spawn_blocking(move || cassandra.restart()).await.unwrap();
        } else {
            counts.nodes_frozen.fetch_add(1, SeqCst);
            tell(&cassandra, "freeze", node).await;
            chance.rest(STANDSTILL).await;
            tell(&cassandra, "thaw", node).await;
        }
    }
}

async fn tell(cassandra: &Arc<Cassandra>, verb: &'static str, node: usize) {
    let cassandra = cassandra.clone();
    let told = tokio::task::spawn_blocking(move || cassandra.tell(verb, node));
    told.await.unwrap();
}
