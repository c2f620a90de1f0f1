//! A control plane, three proxies before one origin, and a limit for each lane.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::http::{Edges, HOST, Witness, path};
use super::lane::{CALLERS, Lane, PERIOD};
use super::relay::Relay;
use crate::rest::Client;
use crate::vulcan::{ControlPlane, Proxy, Vulcan, address};

pub struct World {
    plane: Mutex<Option<ControlPlane>>,
    pub relay: Relay,
    pub proxies: Vec<Proxy>,
    pub witness: Witness,
    vulcan: Vulcan,
    scratch: PathBuf,
}

/// What the fleet's processes have used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub plane: Duration,
    pub proxies: Duration,
    /// Bytes that the control plane gave to its disk.
    pub written: u64,
}

impl World {
    /// All limits are in force on every proxy when this returns.
    pub fn start(vulcan: &Vulcan, scratch: &Path, lanes: &[Lane]) -> io::Result<World> {
        let plane = vulcan.control_plane(scratch, None)?;
        let relay = Relay::start(plane.admin)?;
        let proxy = |n| vulcan.proxy(scratch, None, &format!("p{n}"), relay.address());
        let proxies = (0..CALLERS).map(proxy).collect::<io::Result<Vec<Proxy>>>()?;
        let witness = Witness::start()?;
        let mut client = Client::new(plane.admin);
        let service = format!(r#"{{"match":[{{"hosts":["{HOST}"]}}]}}"#);
        client.put("/v1/services/limits", &service)?.success()?;
        let upstream = address(witness.address(), 1);
        client.put("/v1/services/limits/upstreams/a", &upstream)?.success()?;
        for (n, lane) in lanes.iter().enumerate() {
            let Some((threshold, algorithm)) = lane.limit else {
                continue;
            };
            let limit = format!(
                r#"{{"path":"{}","threshold":{threshold},"period":{},"algorithm":"{}","key":"client_ip"}}"#,
                path(n),
                PERIOD.as_secs(),
                algorithm.name(),
            );
            let at = format!("/v1/limits/00000000-0000-4000-8000-{n:012}");
            client.put(&at, &limit)?.success()?;
        }
        Ok(World {
            plane: Mutex::new(Some(plane)),
            relay,
            proxies,
            witness,
            vulcan: vulcan.clone(),
            scratch: scratch.into(),
        })
    }

    pub fn edges(&self) -> Edges {
        Edges(self.proxies.iter().map(|proxy| proxy.http).collect())
    }

    pub fn used(&self) -> io::Result<Used> {
        let mut used = Used::default();
        if let Some(plane) = &*self.lock()? {
            used.plane = plane.server.usage()?.cpu;
            used.written = plane.server.written()?;
        }
        for proxy in &self.proxies {
            used.proxies += proxy.server.usage()?.cpu;
        }
        Ok(used)
    }

    /// SIGKILL for the control plane, which owns all limits, and at once the next one on its store.
    pub fn kill_and_restart(&self) -> io::Result<()> {
        let mut held = self.lock()?;
        if let Some(plane) = held.take() {
            plane.server.kill()?;
        }
        let plane = self.vulcan.control_plane(&self.scratch, None)?;
        self.relay.lead_to(plane.admin);
        *held = Some(plane);
        Ok(())
    }

    fn lock(&self) -> io::Result<std::sync::MutexGuard<'_, Option<ControlPlane>>> {
        self.plane
            .lock()
            .map_err(|_| io::Error::other("a panic beside the fleet"))
    }
}
