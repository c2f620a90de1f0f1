//! A proxy that only spends: its end of the limits over its real stream, and requests that are counted and go nowhere.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use net::clock::monotonic_raw;
use net::ndjson;
use shared::quota::proxy::{Input, Output, Proxy, Verdict};
use shared::quota::slots::{Decision, Need};
use shared::quota::{AccountId, ProxyId, Rules, Settings, Slots};
use shared::stream::message::{self, Down, Up};
use shared::time::Time;
use tokio::sync::{Notify, mpsc};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::push::tests::stage::{Stage, hello};

pub struct Spender {
    pub id: ProxyId,
    settings: Settings,
    slots: Arc<Slots>,
    machine: Arc<Mutex<Proxy>>,
    woken: Arc<Notify>,
    said: Arc<Mutex<Option<mpsc::Sender<bytes::Bytes>>>>,
    /// Of the stream and of the ticks.
    running: Vec<AbortOnDropHandle<()>>,
}

const TICK: Duration = Duration::from_millis(20);

impl Spender {
    pub async fn new(stage: &Stage, instance: u128, rules: Rules, settings: Settings) -> Spender {
        let id = ProxyId {
            instance: Uuid::from_u128(instance),
            boot: 1,
        };
        let slots = Arc::new(Slots::new(1 << 10));
        let machine = Proxy::new(id, settings, slots.clone(), false, monotonic_raw());
        let mut spender = Spender {
            id,
            settings,
            slots,
            machine: Arc::new(Mutex::new(machine)),
            woken: Arc::default(),
            said: Arc::default(),
            running: Vec::new(),
        };
        spender.hand(Input::Rules(rules));
        spender.connect(stage).await;
        spender
    }

    /// To a control plane that is there, or another one that took its place.
    pub async fn connect(&mut self, stage: &Stage) {
        self.running.clear();
        let mut hello = hello(&self.id.instance.to_string(), self.id.instance.as_u128());
        hello.boot = self.id.boot;
        hello.features.push(message::LIMITS.into());
        let mut stream = stage.proxy(hello).await;
        *self.said.lock().unwrap() = Some(stream.said.clone());
        let reader = self.handle();
        self.running.push(AbortOnDropHandle::new(tokio::spawn(async move {
            while let Some(down) = stream.any().await {
                match down {
                    Down::Limits(down) => reader.hand(Input::Message(*down)),
                    Down::Epochs { shards } => reader.hand(Input::Welcome(shards)),
                    _ => {}
                }
            }
        })));
        let ticker = self.handle();
        self.running.push(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                ticker.hand(Input::Tick);
            }
        })));
    }

    /// The same, without its tasks.
    pub fn handle(&self) -> Spender {
        Spender {
            id: self.id,
            settings: self.settings,
            slots: self.slots.clone(),
            machine: self.machine.clone(),
            woken: self.woken.clone(),
            said: self.said.clone(),
            running: Vec::new(),
        }
    }

    pub fn cut(&mut self) {
        self.running.clear();
        *self.said.lock().unwrap() = None;
    }

    /// It reads, and does nothing by itself.
    pub fn stand_still(&mut self) {
        self.running.truncate(1);
    }

    /// Whether it refuses without asking.
    pub fn refuses(&self, account: AccountId) -> bool {
        let need = Need {
            key: account.key,
            cost: 1,
        };
        matches!(self.slots.decide(&[need], monotonic_raw), Decision::Exhausted { .. })
    }

    pub fn hand(&self, input: Input) {
        let outputs = self.machine.lock().unwrap().handle(input, monotonic_raw());
        self.put_out(outputs);
    }

    /// As a proxy does that drains.
    pub async fn leave(mut self) {
        self.hand(Input::Leave);
        let said = self.said.lock().unwrap().clone();
        if let Some(said) = said {
            said.send(ndjson::encode(&Up::Goodbye {})).await.unwrap();
        }
        let reader = self.running.remove(0);
        let _ = reader.await;
    }

    fn put_out(&self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send(up) => {
                    let said = self.said.lock().unwrap().clone();
                    // One that is cut off speaks to nobody.
                    let _ = said.map(|said| said.try_send(ndjson::encode(&Up::Limits(Box::new(up)))));
                }
                Output::Wake(_) => self.woken.notify_waiters(),
                Output::Mark(_) | Output::Observed { .. } => {}
            }
        }
    }

    /// When it was admitted, if it was; it waits for its turn up to `patience`.
    pub async fn take(&self, account: AccountId, patience: Duration) -> Option<Time> {
        let deadline = tokio::time::Instant::now() + patience;
        let need = Need {
            key: account.key,
            cost: 1,
        };
        loop {
            let woken = self.woken.notified();
            let verdict = match self.slots.decide(&[need], monotonic_raw) {
                Decision::Admitted { at, low, .. } => {
                    if low != 0 {
                        let outputs = {
                            let mut machine = self.machine.lock().unwrap();
                            machine.prefetch(account, monotonic_raw());
                            machine.take_outputs(monotonic_raw())
                        };
                        self.put_out(outputs);
                    }
                    return Some(at);
                }
                Decision::Exhausted { .. } => return None,
                Decision::Short { .. } => {
                    let (verdict, outputs) = {
                        let mut machine = self.machine.lock().unwrap();
                        let verdict = machine.block(account, 1, monotonic_raw());
                        (verdict, machine.take_outputs(monotonic_raw()))
                    };
                    self.put_out(outputs);
                    verdict
                }
            };
            match verdict {
                Verdict::Again => {}
                Verdict::Wait => {
                    let waited = tokio::time::timeout_at(deadline, woken).await;
                    self.machine.lock().unwrap().unqueue(account, 1, waited.is_ok());
                    if waited.is_err() {
                        return None;
                    }
                }
                _ => return None,
            }
        }
    }
}
