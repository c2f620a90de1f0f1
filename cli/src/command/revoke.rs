use http::Method;
use serde_json::{Value, json};

use super::{BESIDE_WAIT, WAIT, given, with_timeout, written};
use crate::args::Revoke;
use crate::client::{Client, encode};
use crate::failure::Failure;
use crate::waiting::{self, About};

pub fn run(args: Revoke) -> Result<(), Failure> {
    let remote = &args.write.remote;
    let body = whose(&args)?;
    let client = Client::new(remote)?;
    let path = format!("/v1/authorizers/{}/revoke", encode(&args.authorizer));
    let path = with_timeout(&path, args.write.timeout);
    let patience = args.write.timeout.unwrap_or(WAIT) + BESIDE_WAIT;
    let answer = waiting::during(remote, About::All, || {
        client.call_with(Method::POST, &path, Some(&body), patience)
    })?;
    written::report(&format!("revocation at {}", args.authorizer), remote.output, &answer)
}

fn whose(args: &Revoke) -> Result<Value, Failure> {
    match (&args.auth_token, &args.auth_token_file, &args.username) {
        (Some(token), _, _) => Ok(json!({ "auth_token": token })),
        (_, Some(file), _) => {
            let token = given::secret("--auth-token-file", file)?;
            // What came of a variable that is not set, most likely.
            match token.is_empty() {
                true => Err(Failure::usage("--auth-token-file: the token is empty")),
                false => Ok(json!({ "auth_token": token })),
            }
        }
        (_, _, Some(username)) => Ok(json!({ "username": username })),
        // --all: clap takes care that something was said.
        (None, None, None) => Ok(json!({})),
    }
}
