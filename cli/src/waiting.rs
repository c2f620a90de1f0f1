//! For whom a call waits, told to whoever sits in front of it.
//!
//! A write names who is not there yet when it gives up. Until then, where stderr is a terminal, one line that is written over
//! and over says so: a second thread asks for the fleet beside the call.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::Value;

use crate::args::Remote;
use crate::client::{Client, encode, items, plain};
use crate::terminal;

const EVERY: Duration = Duration::from_secs(1);
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
/// Who is named; the others are counted.
const NAMED: usize = 4;

/// What the line and the end of the call agree on.
#[derive(Default)]
struct Line {
    over: bool,
    shown: bool,
}

/// What a call is about, and so which proxies it may wait for.
#[derive(Clone, Debug)]
pub enum About {
    /// What drains and warms, whatever it is.
    All,
    /// What drains and warms of a service, or of `service/id`.
    Upstreams(String),
    /// What is in flight at a service's upstreams, all of which stay.
    Held(String),
}

/// Makes the call.
pub fn during<T>(remote: &Remote, about: About, call: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return call();
    }
    let line = Arc::new(Mutex::new(Line::default()));
    if let Ok(client) = Client::new(remote) {
        let line = line.clone();
        // It is not waited for: the process may end while it asks.
        thread::spawn(move || tell(&client, &about, &line));
    }
    let done = call();
    let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
    line.over = true;
    if line.shown {
        draw("");
    }
    done
}

fn tell(client: &Client, about: &About, line: &Mutex<Line>) {
    let began = Instant::now();
    loop {
        thread::sleep(EVERY);
        let ask = |path: &str| {
            client
                .call(Method::GET, path, LOOK_PATIENCE)
                .map_or(Value::Null, |answer| answer.body)
        };
        let mut names = behind(&ask("/v1/fleet?limit=1000"), about);
        if let About::Held(service) = about {
            let path = format!("/v1/services/{}/upstreams?status=true&limit=1000", encode(service));
            names.extend(in_flight(&ask(&path)));
        }
        let seconds = began.elapsed().as_secs();
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.over {
            return;
        }
        line.shown = true;
        draw(&sentence(seconds, &names));
    }
}

fn draw(text: &str) {
    let width = terminal::width(&io::stderr());
    let text: String = text.chars().take(width.saturating_sub(1)).collect();
    let _ = write!(io::stderr(), "\r{text}\x1b[K");
}

fn sentence(seconds: u64, names: &[String]) -> String {
    let mut text = format!("waiting, {seconds} s");
    if !names.is_empty() {
        text.push_str(&format!(": {}", names[..names.len().min(NAMED)].join(", ")));
    }
    if names.len() > NAMED {
        text.push_str(&format!(", and {} more", names.len() - NAMED));
    }
    text
}

/// Who is behind the head, and what still drains or warms of what it is about.
fn behind(fleet: &Value, about: &About) -> Vec<String> {
    let concerns = |of: &Value| {
        let upstream = of["upstream"].as_str().unwrap_or_default();
        match about {
            About::All => true,
            About::Upstreams(of) => {
                upstream == of || upstream.strip_prefix(&**of).is_some_and(|id| id.starts_with('/'))
            }
            About::Held(_) => false,
        }
    };
    let mut names = Vec::new();
    // Those beyond their lease are not waited for.
    for proxy in items(&fleet["items"])
        .iter()
        .filter(|proxy| proxy["state"] != "detached")
    {
        let name = plain(&proxy["name"]);
        if proxy["lag"].as_u64().is_some_and(|lag| lag > 0) {
            names.push(format!(
                "{name} is {}, {} behind",
                plain(&proxy["state"]),
                plain(&proxy["lag"])
            ));
        }
        for of in items(&proxy["draining"]).iter().filter(|of| concerns(of)) {
            let (upstream, count) = (plain(&of["upstream"]), plain(&of["in_flight"]));
            names.push(format!("{name} drains {upstream} ({count} in flight)"));
        }
        for of in items(&proxy["warming"]).iter().filter(|of| concerns(of)) {
            names.push(format!(
                "{name} warms {} ({})",
                plain(&of["upstream"]),
                plain(&of["last"])
            ));
        }
    }
    names
}

/// Who still has something in flight at these upstreams.
fn in_flight(upstreams: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for of in items(&upstreams["items"]) {
        for proxy in items(&of["status"]) {
            if let Some(count @ 1..) = proxy["in_flight"].as_u64() {
                let (name, service, id) = (plain(&proxy["proxy"]), plain(&of["service"]), plain(&of["id"]));
                names.push(format!("{name} drains {service}/{id} ({count} in flight)"));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_names_who_is_behind_and_what_drains_of_the_service() {
        let proxy = |name: &str, state: &str, lag: u64, drains: &str| json!({"name": name, "state": state, "lag": lag, "draining": [{"upstream": drains, "in_flight": 2}]});
        let fleet = json!({"items": [
            proxy("edge-1", "present", 0, "web/a"), proxy("edge-2", "absent", 3, "web-2/a"),
            proxy("edge-3", "detached", 9, "web/a"),
        ]});
        let upstreams = |of: &str| About::Upstreams(of.to_owned());
        assert_eq!(
            behind(&fleet, &upstreams("web")),
            ["edge-1 drains web/a (2 in flight)", "edge-2 is absent, 3 behind"]
        );
        assert_eq!(behind(&fleet, &upstreams("web/b")), ["edge-2 is absent, 3 behind"]);
        assert_eq!(behind(&fleet, &About::All).len(), 3);
    }

    #[test]
    fn of_a_held_service_it_names_who_has_something_in_flight() {
        let seen = |proxy: &str, count: u64| json!({"proxy": proxy, "health": "up", "in_flight": count});
        let upstreams = json!({"items": [
            {"service": "web", "id": "a", "status": [seen("edge-1", 0), seen("edge-2", 3)]},
            {"service": "web", "id": "b", "status": [{"proxy": "edge-1", "health": null}]},
        ]});
        assert_eq!(in_flight(&upstreams), ["edge-2 drains web/a (3 in flight)"]);
        assert_eq!(in_flight(&Value::Null), Vec::<String>::new());
    }

    #[test]
    fn many_are_counted() {
        let names: Vec<String> = (1..=6).map(|n| format!("edge-{n}")).collect();
        assert_eq!(
            sentence(3, &names),
            "waiting, 3 s: edge-1, edge-2, edge-3, edge-4, and 2 more"
        );
        assert_eq!(sentence(3, &[]), "waiting, 3 s");
    }
}
