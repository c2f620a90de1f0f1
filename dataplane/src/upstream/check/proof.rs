//! Whether an upstream that was set aside is well again: by what it failed to do before, so that no request is spent on it.

use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use http::{Method, Uri};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::probe::{BODY_BYTES_MAX, request};
use crate::upstream::connect::{ConnectError, connect};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::health::Doubt;
use crate::upstream::talk::converse;
use crate::upstream::trial::Probe;

pub(super) async fn make(probe: Probe) {
    let endpoint = &probe.endpoint;
    // Whoever retires it waits for this as well.
    let Ok(_in_flight) = endpoint.clone().enter_to_check().confirm() else {
        return;
    };
    tokio::select! {
        biased;
        () = endpoint.retired_token().cancelled() => {}
        () = find_out(&probe) => {}
    }
}

async fn find_out(probe: &Probe) {
    let (endpoint, timeouts) = (&probe.endpoint, &probe.timeouts);
    let health = endpoint.health();
    let stream = match connect(endpoint, timeouts.connect).await {
        Ok(stream) => stream,
        Err(ConnectError::Cut) => return,
        // A lack of this proxy's own, too, is left to pass.
        Err(_) => return health.failed(StdInstant::now()),
    };
    if health.doubt() <= Some(Doubt::Connects) {
        return health.connected();
    }
    match answers(endpoint, stream, timeouts.response).await {
        Ok(()) => health.proven(),
        Err(why) => {
            tracing::debug!(upstream = %endpoint.identity().address, %why, "it is not well yet");
            set_aside(endpoint);
        }
    }
}

/// Any answer that is whole, whatever it says: this asks nothing of any resource (RFC 9110, 9.3.7: "a ping").
async fn answers(endpoint: &Endpoint, stream: TcpStream, within: Duration) -> Result<(), String> {
    let request = request(endpoint, Method::OPTIONS, Uri::from_static("*")).map_err(|error| error.to_string())?;
    let exchange = async { converse(stream, request).await?.drain(BODY_BYTES_MAX).await };
    let answered = timeout(within, exchange).await;
    let answered = answered.map_err(|_| "no answer in time".to_owned())?;
    answered.map_err(|error| error.to_string())
}

/// For the next pause. Where the service cannot spare it for its answers it is as if it were up.
fn set_aside(endpoint: &Arc<Endpoint>) {
    let now = StdInstant::now();
    let doubt = endpoint.health().doubt().unwrap_or(Doubt::Answers);
    if !endpoint.care().suspend(endpoint, doubt, now) && endpoint.health().doubt().is_some() {
        endpoint.health().reset(now);
    }
}
