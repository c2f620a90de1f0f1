//! A control plane on a store with real proxies, and what they take.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Server, forget_peak, peak};
use crate::report::{Table, megabytes};
use crate::rest::Client;
use crate::vulcan::{ControlPlane, Proxy, Vulcan};

/// A whole configuration is answered in less on any machine.
const PATIENCE: Duration = Duration::from_secs(620);

/// In which what is done after an answer (compaction, what is freed) comes to its end.
const SETTLE: Duration = Duration::from_secs(5);

pub struct World<'a> {
    pub vulcan: &'a Vulcan,
    pub scratch: PathBuf,
    pub plane: ControlPlane,
    pub proxies: Vec<Proxy>,
    pub client: Client,
    /// What was seen of memory and disk.
    pub room: Table,
}

impl World<'_> {
    pub fn start(vulcan: &Vulcan, proxies: usize, scratch: PathBuf) -> io::Result<World<'_>> {
        fs::create_dir_all(&scratch)?;
        let plane = vulcan.control_plane(&scratch, None)?;
        let proxy = |n| vulcan.proxy(&scratch, None, &format!("proxy-{n}"), plane.admin);
        Ok(World {
            proxies: (0..proxies).map(proxy).collect::<io::Result<_>>()?,
            client: Client::patient(plane.admin, PATIENCE),
            vulcan,
            scratch,
            plane,
            room: Table::new([
                "MB",
                "control plane",
                "most until then",
                "each proxy",
                "most until then",
                "store on disk",
                "each proxy's disk",
            ]),
        })
    }

    /// Of the control plane, and of all proxies together.
    pub fn cpu(&self) -> io::Result<(Duration, Duration)> {
        let proxies = self.proxies.iter().map(|proxy| Ok(proxy.server.usage()?.cpu));
        Ok((self.plane.server.usage()?.cpu, proxies.sum::<io::Result<_>>()?))
    }

    /// Notes what memory and disk are taken now, and the most since this was asked before. Of proxies, by the one that
    /// has most.
    pub fn look(&mut self, when: &str) -> io::Result<()> {
        std::thread::sleep(SETTLE);
        let of_most = |what: &dyn Fn(&Server) -> io::Result<u64>| {
            let each = self.proxies.iter().map(|proxy| what(&proxy.server));
            each.collect::<io::Result<Vec<u64>>>()
                .map(|each| each.into_iter().max().unwrap_or(0))
        };
        let now = |server: &Server| Ok(server.usage()?.memory);
        let most = |server: &Server| peak(server.pid());
        let disks = (0..self.proxies.len()).map(|n| disk(&self.scratch.join(format!("proxy-{n}"))));
        let disk_max = disks.collect::<io::Result<Vec<u64>>>()?.into_iter().max().unwrap_or(0);
        let cells = [
            now(&self.plane.server)?,
            most(&self.plane.server)?,
            of_most(&now)?,
            of_most(&most)?,
            disk(&self.scratch.join("store.redb"))?,
            disk_max,
        ];
        let [plane, plane_most, proxy, proxy_most, store, each] = cells.map(megabytes);
        self.room
            .row([when.into(), plane, plane_most, proxy, proxy_most, store, each]);
        let servers = self.proxies.iter().map(|proxy| &proxy.server);
        servers
            .chain([&self.plane.server])
            .try_for_each(|server| forget_peak(server.pid()))
    }
}

/// Bytes that a file takes, or what is below a folder. A file may go while it is looked at.
pub fn disk(path: &Path) -> io::Result<u64> {
    let Ok(about) = fs::metadata(path) else { return Ok(0) };
    if about.is_file() {
        return Ok(about.len());
    }
    fs::read_dir(path)?.map(|entry| disk(&entry?.path())).sum()
}
