//! `hold` and `resume`: what stands between them is a service whose new requests wait.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use shared::model::format_duration;

use super::{BESIDE_WAIT, WAIT, print, with_timeout, written};
use crate::args::{Hold, Output, Resume};
use crate::client::{Answer, Client, encode, holdouts, plain};
use crate::failure::Failure;
use crate::waiting::{self, About};

const LOOK_PATIENCE: Duration = Duration::from_secs(10);

pub fn run(args: Hold) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let path = path(&args.service, "hold", args.timeout);
    let body = json!({ "max": format_duration(args.max) });
    let patience = args.timeout.unwrap_or(args.max) + BESIDE_WAIT;
    let began = Instant::now();
    let answer = waiting::during(&args.remote, About::Held(args.service.clone()), || {
        client.call_with(Method::POST, &path, Some(&body), patience)
    });
    let answer = answer.map_err(|failure| match began.elapsed() < args.max {
        true => still_held(&client, &args.service, failure),
        false => over(args.max, failure),
    })?;
    report(
        &args.service,
        "held, and nothing in flight",
        args.remote.output,
        &answer,
    )?;
    if let Some(note) = written::nobody_asked(&answer.body) {
        eprintln!("{note}");
    }
    Ok(())
}

pub fn resume(args: Resume) -> Result<(), Failure> {
    let client = Client::new(&args.remote)?;
    let path = path(&args.service, "resume", args.timeout);
    let patience = args.timeout.unwrap_or(WAIT) + BESIDE_WAIT;
    let resume = || client.call_with(Method::POST, &path, None, patience);
    let answer = waiting::during(&args.remote, About::All, resume)?;
    report(&args.service, "resumed", args.remote.output, &answer)
}

fn path(service: &str, verb: &str, timeout: Option<Duration>) -> String {
    with_timeout(&format!("/v1/services/{}/{verb}", encode(service)), timeout)
}

/// What was not reached in time stands nevertheless, and whoever reads the failure must know.
fn still_held(client: &Client, service: &str, failure: Failure) -> Failure {
    let Failure::Refused(detail) = failure else {
        return failure;
    };
    let hold = client.call(
        Method::GET,
        &format!("/v1/services/{}/hold", encode(service)),
        LOOK_PATIENCE,
    );
    match hold {
        Ok(hold) => Failure::Refused(format!(
            "{detail}\n{service} is held, for {} at most: `vulcan resume {service}` ends it",
            plain(&hold.body["max"])
        )),
        Err(_) => Failure::Refused(detail),
    }
}

/// Its time began with the call, and the wait was no shorter.
fn over(max: Duration, failure: Failure) -> Failure {
    let Failure::Refused(detail) = failure else {
        return failure;
    };
    let max = format_duration(max);
    Failure::Refused(format!(
        "{detail}\nthe hold is over: it lasted {max}, and requests were still in flight"
    ))
}

fn report(service: &str, what: &str, output: Output, answer: &Answer) -> Result<(), Failure> {
    match output {
        Output::Json => print(&answer.text)?,
        Output::Table => print(&table(service, what, &answer.body))?,
    }
    // 202 is a success that waited for nothing.
    match answer.body["wait"]["reached"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(Failure::refused("the control plane does not say that it was reached")),
    }
}

fn table(service: &str, what: &str, body: &Value) -> String {
    let (reached, members) = (plain(&body["fleet"]["reached"]), plain(&body["fleet"]["members"]));
    let (revision, took) = (plain(&body["revision"]), plain(&body["wait"]["took_ms"]));
    let mut lines = vec![format!(
        "{service}: {what} on {reached} of {members} proxies at revision {revision} in {took} ms"
    )];
    lines.extend(holdouts(&body["fleet"]));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_whose_time_is_over_is_not_said_to_stand() {
        let failure = over(Duration::from_secs(2), Failure::refused("Not yet true on every proxy"));
        let told = "Not yet true on every proxy\nthe hold is over: it lasted 2s, and requests were still in flight";
        assert_eq!(failure, Failure::refused(told));
    }

    #[test]
    fn the_report_says_what_came_about_and_who_was_not_asked() {
        let body = json!({
            "revision": 42, "committed": true, "wait": {"for": "drained", "reached": true, "took_ms": 38},
            "fleet": {"members": 3, "reached": 2, "lagging": [], "detached": ["edge-9"]}, "also_in": []
        });
        assert_eq!(
            table("web", "held, and nothing in flight", &body),
            "web: held, and nothing in flight on 2 of 3 proxies at revision 42 in 38 ms\n  edge-9 is detached: beyond \
             its lease, not waited for"
        );
        assert_eq!(
            path("web-1", "resume", Some(Duration::from_secs(2))),
            "/v1/services/web%2D1/resume?timeout=2000ms"
        );
    }
}
