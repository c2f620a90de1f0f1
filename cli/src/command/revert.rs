use super::apply::submit;
use crate::args::Revert;
use crate::failure::Failure;

pub fn run(args: Revert) -> Result<(), Failure> {
    let path = format!("/v1/revisions/{}/revert", args.revision);
    submit(&args.remote, &path, Vec::new(), None, args.dry_run, args.timeout)
}
