//! What one requester has used of a limit.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::Target;
use crate::args::{AccountKey, Output, Remote};
use crate::client::{Client, encode, plain};
use crate::columns;
use crate::command::{given, print};
use crate::failure::Failure;

/// Control planes are asked, and for a reset all proxies.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn usage(limit: &Target, account: &AccountKey, remote: &Remote) -> Result<(), Failure> {
    let key = key(account)?.unwrap_or_default();
    let path = format!("{}/usage?key={}", limit.path, encode(&key));
    let answer = Client::new(remote)?.call(Method::GET, &path, PATIENCE)?;
    match remote.output {
        Output::Json => print(&answer.text)?,
        Output::Table => print(&windows(&answer.body))?,
    }
    Ok(())
}

pub fn reset(limit: &Target, account: &AccountKey, remote: &Remote) -> Result<(), Failure> {
    let missing = || Failure::usage("whose count begins anew is missing: --key KEY, or --key-file FILE");
    let key = key(account)?.ok_or_else(missing)?;
    let path = format!("{}/usage?key={}", limit.path, encode(&key));
    let answer = Client::new(remote)?.call(Method::DELETE, &path, PATIENCE)?;
    let fleet = &answer.body["fleet"];
    match remote.output {
        Output::Json => print(&answer.text)?,
        Output::Table => print(&format!(
            "{}: the count begins anew, and {} of {} proxies know",
            limit.name,
            plain(&fleet["reached"]),
            plain(&fleet["members"])
        ))?,
    }
    match answer.body["reset"].as_bool() {
        Some(true) => Ok(()),
        _ => Err(Failure::refused(
            "the control plane does not say that the count begins anew",
        )),
    }
}

fn key(account: &AccountKey) -> Result<Option<String>, Failure> {
    match (&account.key, &account.key_file) {
        (Some(key), _) => Ok(Some(key.clone())),
        (None, Some(file)) => given::secret("--key-file", file).map(Some),
        (None, None) => Ok(None),
    }
}

fn windows(usage: &Value) -> String {
    let observed = usage["window"].get("would_refuse").is_some();
    let shown: &[&str] = match observed {
        true => &["from", "to", "admitted", "would_refuse"],
        false => &["from", "to", "admitted", "refused"],
    };
    let row = |title: &str, window: &Value| {
        let cells = shown.iter().map(|of| plain(&window[*of]));
        std::iter::once(title.to_owned()).chain(cells).collect()
    };
    let last = if observed { "WOULD REFUSE" } else { "REFUSED" };
    let rows = [row("previous", &usage["previous"]), row("now", &usage["window"])];
    columns::render(&["WINDOW", "FROM", "TO", "ADMITTED", last], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_windows_are_shown_as_far_as_they_are_known() {
        let window = json!({"from": "A", "to": "B", "admitted": 12, "refused": null});
        let usage = json!({"limit": "l", "key": "k", "window": window, "previous": null});
        let expected = "\
WINDOW    FROM  TO  ADMITTED  REFUSED
previous  -     -          -  -
now       A     B         12  -
";
        assert_eq!(windows(&usage), expected);
        let observed = json!({"window": {"from": "A", "to": "B", "admitted": 3, "refused": 0, "would_refuse": 9}});
        assert!(windows(&observed).contains("WOULD REFUSE\n"));
        assert!(windows(&observed).ends_with("             9\n"));
    }
}
