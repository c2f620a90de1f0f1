use super::apply::{Wish, submit};
use crate::args::Revert;
use crate::failure::Failure;

pub fn run(args: Revert) -> Result<(), Failure> {
    let path = format!("/v1/revisions/{}/revert", args.revision);
    let wish = Wish {
        dry_run: args.dry_run,
        wait: args.wait,
        timeout: args.timeout,
    };
    submit(&args.remote, &path, Vec::new(), None, &wish)
}
