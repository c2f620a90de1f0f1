use http::Method;
use serde_json::json;

use super::{BESIDE_WAIT, WAIT, with_timeout, written};
use crate::args::Succeed;
use crate::client::Client;
use crate::failure::Failure;
use crate::waiting::{self, About};

pub fn run(args: Succeed) -> Result<(), Failure> {
    let remote = &args.write.remote;
    let client = Client::new(remote)?;
    let path = with_timeout("/v1/fleet/succeed", args.write.timeout);
    let body = json!({ "epoch": args.epoch });
    let patience = args.write.timeout.unwrap_or(WAIT) + BESIDE_WAIT;
    let answer = waiting::during(remote, About::All, || {
        client.call_with(Method::POST, &path, Some(&body), patience)
    })?;
    written::report(&format!("epoch {} succeeded", args.epoch), remote.output, &answer)
}
