use net::announce::Announce;

use super::control_config;
use crate::args::Controlplane;
use crate::failure::Failure;
use crate::process;

pub fn run(args: Controlplane) -> Result<(), Failure> {
    let store = args
        .control
        .store
        .clone()
        .ok_or_else(|| Failure::usage("--store is missing, as in redb:PATH or cassandra://HOST/KEYSPACE"))?;
    let config = control_config(&args.control, &args.tls, store)?;
    process::run(&args.process, async |stop| {
        ::controlplane::run(config, Announce::stdout(), stop)
            .await
            .map_err(Failure::refused)
    })
}
