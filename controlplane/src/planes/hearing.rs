//! Listening to one other control plane.

use std::sync::Arc;
use std::time::Duration;

use net::clock::boottime;
use net::duplex::{Address, Credentials, Duplex, Event};
use net::ndjson;
use shared::stream::planes::PlaneId;
use shared::stream::planes::listener::{Input, Listener, Output};
use shared::stream::planes::message::Told;
use shared::stream::subscriber::Disconnected;
use tokio::time::MissedTickBehavior;

use super::Sharing;
use crate::changelog::Changelog;
use crate::push::Fleet;

const TICK: Duration = Duration::from_millis(200);

pub(super) struct Hearing {
    listener: Listener,
    url: Arc<str>,
    credentials: Credentials,
    changelog: Arc<Changelog>,
    fleet: Arc<Fleet>,
    link: Option<Duplex<Told>>,
    /// What was complained of last.
    complaint: String,
}

impl Hearing {
    pub(super) fn new(
        id: PlaneId,
        url: &Arc<str>,
        sharing: &Sharing,
        changelog: Arc<Changelog>,
        fleet: Arc<Fleet>,
    ) -> Hearing {
        Hearing {
            listener: Listener::new(id, sharing.id.0.as_u64_pair().1, boottime()),
            url: url.clone(),
            credentials: sharing.credentials.clone(),
            changelog,
            fleet,
            link: None,
            complaint: String::new(),
        }
    }

    /// Until it is dropped.
    pub(super) async fn run(mut self) {
        let address = match Address::parse(&self.url) {
            Ok(address) => address,
            Err(error) => {
                tracing::error!(%error, "another control plane says that it is reached there");
                return std::future::pending().await;
            }
        };
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                _ = ticks.tick() => Input::Tick,
                event = next(&mut self.link) => self.input(event),
            };
            let listener = &mut self.listener;
            let outputs = self.fleet.with(|hub| listener.handle(input, hub, boottime()));
            for output in outputs.unwrap_or_default() {
                match output {
                    Output::Connect => {
                        self.link = Some(Duplex::open(address.clone(), "/v1/peers", self.credentials.clone()));
                    }
                    Output::Send(line) => {
                        // One that takes no more is left by its silence.
                        let _ = self.link.as_ref().map(|link| link.send(ndjson::encode(&line)));
                    }
                    Output::Close => self.link = None,
                    Output::Moved(_) => self.changelog.look(),
                }
            }
        }
    }

    fn input(&mut self, event: Event<Told>) -> Input {
        match event {
            Event::Connected => Input::Connected,
            Event::Lines(lines) => {
                if !self.complaint.is_empty() {
                    tracing::info!(url = %self.url, "the other control plane is heard again");
                    self.complaint.clear();
                }
                Input::Lines(lines)
            }
            Event::Disconnected(why) => {
                let complaint = match why {
                    Disconnected::Refused { status, detail, .. } => format!("it answers {status}: {detail}"),
                    Disconnected::Lost(detail) => detail,
                };
                if complaint != self.complaint {
                    tracing::warn!(url = %self.url, "another control plane is not heard: {complaint}");
                    self.complaint = complaint;
                }
                self.link = None;
                Input::Disconnected
            }
        }
    }
}

async fn next(link: &mut Option<Duplex<Told>>) -> Event<Told> {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
