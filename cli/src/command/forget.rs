use std::time::Duration;

use http::Method;

use super::{BESIDE_WAIT, WAIT, print, with_timeout};
use crate::args::{Forget, Output};
use crate::client::{Client, encode, plain};
use crate::failure::Failure;

pub fn run(args: Forget) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let path = with_timeout(&format!("/v1/fleet/{}", encode(&args.proxy)), args.timeout);
    let patience: Duration = args.timeout.unwrap_or(WAIT) + BESIDE_WAIT;
    let answer = client.call(Method::DELETE, &path, patience)?;
    match args.remote.output {
        Output::Json => print(&answer.text)?,
        Output::Table => print(&format!(
            "{}: not on the roster at revision {}",
            args.proxy,
            plain(&answer.body["revision"])
        ))?,
    }
    Ok(())
}
