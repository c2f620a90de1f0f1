//! Constant load on a service through every proxy, each answer checked whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

mod ledger;
mod shape;

pub use ledger::{Failure, Ledger, Outages};
pub use shape::{Client, SHAPES, Shape};

/// What the load is for.
#[derive(Clone, Debug)]
pub struct Target {
    /// Also the host that its requests name.
    pub service: String,
    pub proxies: Vec<SocketAddr>,
    /// Without a pause between one request and the next.
    pub hurry: bool,
}

pub struct Load {
    pub ledger: Arc<Ledger>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Load {
    /// One client for every shape at every proxy.
    pub fn start(target: &Target, shapes: &[Shape], outages: Arc<Outages>) -> Load {
        let ledger = Arc::new(Ledger::new(&target.service, outages));
        let stop = CancellationToken::new();
        let mut clients = JoinSet::new();
        for (index, proxy) in target.proxies.iter().enumerate() {
            for shape in shapes {
                let client = Client::new(*proxy, &target.service, *shape, index as u64 + 1);
                clients.spawn(ask(client, index, target.hurry, ledger.clone(), stop.clone()));
            }
        }
        Load { ledger, stop, clients }
    }

    /// Lets every client finish what it has begun.
    pub async fn stop(mut self) -> Arc<Ledger> {
        self.stop.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a load client does not panic");
        }
        self.ledger.clone()
    }
}

async fn ask(mut client: Client, proxy: usize, hurry: bool, ledger: Arc<Ledger>, stop: CancellationToken) {
    // Clients of one kind do not start in step.
    let interval = if hurry { Duration::ZERO } else { client.shape.interval() };
    let mut next = Instant::now() + interval.mul_f64(proxy as f64 / 3.0) + Duration::from_millis(7);
    while !stop.is_cancelled() {
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = stop.cancelled() => break,
        }
        let begun = Instant::now();
        let outcome = client.run().await;
        ledger.record(client.shape, proxy, begun, client.connected, outcome);
        next = (next + interval).max(Instant::now());
    }
}
