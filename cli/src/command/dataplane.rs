use net::announce::Announce;

use super::proxy_config;
use crate::args::Dataplane;
use crate::failure::Failure;
use crate::process;

pub fn run(args: Dataplane) -> Result<(), Failure> {
    let controlplanes: Vec<String> = args.uplink.controlplane.iter().map(ToString::to_string).collect();
    if controlplanes.is_empty() {
        return Err(Failure::usage("--controlplane is missing, as in http://127.0.0.1:8182"));
    }
    let config = proxy_config(&args.proxy, controlplanes, super::trust(&args.tls)?, &args.proxy.data)?;
    process::run(&args.process, async |stop| {
        ::dataplane::run(config, Announce::stdout(), stop)
            .await
            .map_err(Failure::refused)
    })
}
