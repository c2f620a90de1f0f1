//! A control plane, three proxies before one origin, and a limit for each lane.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::edge::{Edges, HOST, Witness, path};
use super::lane::{CALLERS, Lane, PERIOD};
use super::relay::Relay;
use crate::rest::Client;
use crate::vulcan::{ControlPlane, Proxy, Vulcan, address};

pub struct World {
    plane: ControlPlane,
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
            plane,
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
        let mut used = Used {
            plane: self.plane.server.usage()?.cpu,
            proxies: Duration::ZERO,
            written: self.plane.server.written()?,
        };
        for proxy in &self.proxies {
            used.proxies += proxy.server.usage()?.cpu;
        }
        Ok(used)
    }

    /// SIGKILL for the control plane, which owns all limits, and at once the next one on its store.
    pub fn kill_and_restart(&mut self) -> io::Result<()> {
        self.plane.server.kill()?;
        self.plane = self.vulcan.control_plane(&self.scratch, None)?;
        self.relay.lead_to(self.plane.admin);
        Ok(())
    }
}
