//! The compose file: what its services call, and whether its parts agree with each other and with the image.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::model::parse_duration;

use crate::image::Image;
use crate::invocation::{Invocation, Word};
use crate::yaml::Node;
use crate::{FINISH_WITHIN, drain_timeout};

const SECRETS: &str = "/run/secrets/";

pub struct Compose {
    file: String,
    root: Node,
}

impl Compose {
    pub fn parse(file: &str, text: &str) -> Compose {
        Compose {
            file: file.to_owned(),
            root: Node::parse(file, text),
        }
    }

    fn services(&self) -> &[(String, Node)] {
        self.root.get("services").map_or(&[], Node::entries)
    }

    fn service(&self, name: &str) -> Option<&Node> {
        self.root.get("services")?.get(name)
    }

    /// Of every service that is built here, which are those of the project.
    pub fn invocations(&self) -> Vec<Invocation> {
        let ours = self
            .services()
            .iter()
            .filter(|(_, service)| service.get("build").is_some());
        ours.map(|(name, service)| self.invocation(name, service)).collect()
    }

    fn invocation(&self, name: &str, service: &Node) -> Invocation {
        let place = service.place(&self.file);
        let command = service.get("command").unwrap_or_else(|| panic!("{place}: no command"));
        let variables = service.get("environment").map_or(&[][..], Node::entries);
        let variable = |(name, value): &(String, Node)| {
            let text = value.text().unwrap_or_default().to_owned();
            let place = value.place(&self.file);
            (
                Word {
                    text: name.clone(),
                    place,
                },
                text,
            )
        };
        Invocation {
            name: name.to_owned(),
            words: command.words(&self.file),
            variables: variables.iter().map(variable).collect(),
            place,
        }
    }

    /// The file of each secret, by its name.
    pub fn secrets(&self) -> BTreeMap<String, String> {
        let secrets = self.root.get("secrets").map_or(&[][..], Node::entries);
        let file = |secret: &Node| secret.get("file").and_then(Node::text).unwrap_or_default().to_owned();
        secrets
            .iter()
            .map(|(name, secret)| (name.clone(), file(secret)))
            .collect()
    }

    /// The command of a service's health check.
    pub fn health_check(&self, name: &str) -> Vec<String> {
        let test = self
            .service(name)
            .and_then(|service| service.get("healthcheck")?.get("test"));
        let words = test
            .unwrap_or_else(|| panic!("{name} has no health check"))
            .words(&self.file);
        assert_eq!(words[0].text, "CMD", "{}", words[0].place);
        words[1..].iter().map(|word| word.text.replace("$$", "$")).collect()
    }

    pub fn complaints(&self, image: &Image) -> Vec<String> {
        let mut complaints = Complaints(Vec::new());
        self.names(&mut complaints);
        let mut unique: BTreeSet<(&str, String)> = BTreeSet::new();
        for invocation in self.invocations() {
            let service = self.service(&invocation.name).expect("it is there");
            self.ports(&invocation, service, &mut complaints);
            self.addresses(&invocation, &mut complaints);
            self.mounts(&invocation, service, image, &mut complaints);
            self.end(&invocation, service, &mut complaints);
            for flag in ["name", "advertise"] {
                if let Some(value) = invocation.setting(flag)
                    && !unique.insert((flag, value.to_owned()))
                {
                    complaints
                        .0
                        .push(format!("{}: --{flag} {value} is another's already", invocation.place));
                }
            }
        }
        complaints.0
    }

    /// What is declared is used, and what is used is declared.
    fn names(&self, complaints: &mut Complaints) {
        for kind in ["volumes", "secrets"] {
            let declared: BTreeSet<&str> = self
                .root
                .get(kind)
                .map(Node::names)
                .unwrap_or_default()
                .into_iter()
                .collect();
            let used = self.services().iter().filter_map(|(_, service)| service.get(kind));
            let used: Vec<&str> = used.flat_map(|names| names.names()).map(before_colon).collect();
            let once: BTreeSet<&str> = used.iter().copied().collect();
            complaints.unless(declared == once, &self.file, || {
                format!("{kind} {declared:?} are declared, {once:?} are used")
            });
            let shared = kind == "volumes" && used.len() > once.len();
            complaints.unless(!shared, &self.file, || format!("services share a volume: {used:?}"));
        }
        let mut published = BTreeSet::new();
        for (name, service) in self.services() {
            let place = service.place(&self.file);
            for port in service.get("ports").map(Node::names).unwrap_or_default() {
                let outside = port.rsplit_once(':').map_or(port, |(outside, _)| outside);
                complaints.unless(outside.starts_with("127.0.0.1:"), &place, || {
                    format!("{port} is open to other machines")
                });
                complaints.unless(published.insert(outside), &place, || {
                    format!("{outside} is published twice")
                });
            }
            for needed in service.get("depends_on").map(Node::names).unwrap_or_default() {
                let on = self.service(needed);
                complaints.unless(on.is_some(), &place, || {
                    format!("{name} depends on {needed}, which is not there")
                });
                let condition = service
                    .get("depends_on")
                    .and_then(|on| on.get(needed)?.get("condition")?.text());
                let checked = on.is_some_and(|on| on.get("healthcheck").is_some());
                complaints.unless(condition != Some("service_healthy") || checked, &place, || {
                    format!("{name} waits for the health of {needed}, which nothing checks")
                });
            }
        }
    }

    /// What is published and what is checked is what it listens on.
    fn ports(&self, invocation: &Invocation, service: &Node, complaints: &mut Complaints) {
        let (public, own) = match invocation.command() {
            "controlplane" => ("admin", "admin"),
            _ => ("http", "status"),
        };
        let port = |flag| invocation.port(flag).map(|port| port.to_string());
        let published = service.get("ports").map(Node::names).unwrap_or_default();
        let inside = published.first().and_then(|port| port.rsplit(':').next());
        complaints.unless(
            published.len() == 1 && inside == port(public).as_deref(),
            &invocation.place,
            || {
                format!(
                    "it publishes {published:?}, and its --{public} is on {:?}",
                    port(public)
                )
            },
        );
        let checked = self.health_check(&invocation.name).join(" ");
        let asks = port(own).is_some_and(|port| checked.contains(&format!("/dev/tcp/127.0.0.1/{port} ")));
        complaints.unless(asks, &invocation.place, || {
            format!("its health check does not ask --{own}")
        });
    }

    /// Every address leads to a service that listens there.
    fn addresses(&self, invocation: &Invocation, complaints: &mut Complaints) {
        let there: BTreeSet<String> = self
            .invocations()
            .iter()
            .filter_map(|other| Some(format!("http://{}:{}", other.name, other.port("admin")?)))
            .collect();
        for flag in ["controlplane", "advertise"] {
            let urls = invocation
                .setting(flag)
                .unwrap_or_default()
                .split(',')
                .filter(|url| !url.is_empty());
            for url in urls {
                complaints.unless(there.contains(url), &invocation.place, || {
                    format!("--{flag} {url}: nobody is there")
                });
            }
        }
        if let Some(url) = invocation.setting("advertise") {
            let own = format!("http://{}:", invocation.name);
            complaints.unless(url.starts_with(&own), &invocation.place, || {
                format!("--advertise {url} is another")
            });
        }
        if let Some(store) = invocation.setting("store") {
            let host = store
                .strip_prefix("cassandra://")
                .and_then(|rest| rest.split('/').next());
            let known = host.is_some_and(|host| self.service(host).is_some());
            complaints.unless(known, &invocation.place, || format!("--store {store}: nobody is there"));
        }
    }

    /// A secret is mounted where it is read; a volume is where the data is.
    fn mounts(&self, invocation: &Invocation, service: &Node, image: &Image, complaints: &mut Complaints) {
        let mounted: BTreeSet<&str> = service
            .get("secrets")
            .map(Node::names)
            .unwrap_or_default()
            .into_iter()
            .collect();
        let values = invocation
            .values()
            .map(|value| value.split_once('=').map_or(value, |(_, value)| value));
        let read: BTreeSet<&str> = values.filter_map(|value| value.strip_prefix(SECRETS)).collect();
        complaints.unless(mounted == read, &invocation.place, || {
            format!("the secrets {mounted:?} are mounted, {read:?} are read")
        });
        if invocation.command() == "dataplane" {
            let data = invocation.setting("data").unwrap_or(&image.data);
            let volumes = service.get("volumes").map(Node::names).unwrap_or_default();
            let own = format!("{}:{data}", invocation.name);
            complaints.unless(volumes == [&own], &invocation.place, || {
                format!("it needs the volume {own}, not {volumes:?}")
            });
        }
    }

    fn end(&self, invocation: &Invocation, service: &Node, complaints: &mut Complaints) {
        let grace = service
            .get("stop_grace_period")
            .and_then(|grace| parse_duration(grace.text()?).ok());
        let needed = drain_timeout(invocation) + FINISH_WITHIN;
        complaints.unless(grace >= Some(needed), &invocation.place, || {
            format!(
                "stop_grace_period {:?} is shorter than {needed:?}",
                grace.unwrap_or(Duration::ZERO)
            )
        });
    }
}

struct Complaints(Vec<String>);

impl Complaints {
    fn unless(&mut self, holds: bool, place: &dyn std::fmt::Display, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(format!("{place}: {}", what()));
        }
    }
}

fn before_colon(text: &str) -> &str {
    text.split(':').next().unwrap_or_default()
}
