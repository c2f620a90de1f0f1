//! The files of deploy/, and what the guide says to call: they say nothing that the binary does not know, their parts agree,
//! and what they call serves.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod compose;
mod guide;
mod image;
mod invocation;
mod manual;
mod running;
mod unit;
mod yaml;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use compose::Compose;
use image::Image;
use invocation::Invocation;
use manual::Manual;
use running::Bench;
use shared::model::parse_duration;
use unit::Unit;

const COMPOSE: &str = "deploy/compose.yaml";
const IMAGE: &str = "deploy/Containerfile";
const CONTROL_PLANE: &str = "deploy/systemd/vulcan-controlplane.service";
const GUIDE: &str = "docs/operating.md";
const PROXY: &str = "deploy/systemd/vulcan-proxy.service";

/// The most that a process takes for its end beside its drain: stuck workers are given up, goodbye is said.
const FINISH_WITHIN: Duration = Duration::from_secs(25);

/// The default of --drain-timeout.
const DRAIN: Duration = Duration::from_secs(30);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn unit(file: &str) -> Unit {
    Unit::parse(file, &read(file))
}

/// Zero for what drains nothing.
fn drain_timeout(invocation: &Invocation) -> Duration {
    match (invocation.command(), invocation.setting("drain-timeout")) {
        ("controlplane", _) => Duration::ZERO,
        (_, Some(text)) => parse_duration(text).unwrap(),
        (_, None) => DRAIN,
    }
}

fn complaints_of(invocation: &Invocation) -> Vec<String> {
    Manual::of(invocation.command()).complaints(invocation)
}

/// Nothing to complain about.
fn fine(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// `text` with `from` replaced once, and the line of it.
fn instead(text: &str, from: &str, to: &str) -> (String, usize) {
    let at = text.find(from).unwrap_or_else(|| panic!("no {from}"));
    (text.replacen(from, to, 1), text[..at].lines().count().max(1))
}

#[test]
fn every_flag_and_variable_is_known() {
    let mut invocations = Compose::parse(COMPOSE, &read(COMPOSE)).invocations();
    assert_eq!(invocations.len(), 5, "two control planes and three proxies");
    invocations.extend([unit(CONTROL_PLANE).invocation(), unit(PROXY).invocation()]);
    invocations.push(Image::parse(IMAGE, &read(IMAGE)).invocation());
    let examples = guide::invocations(GUIDE, &read(GUIDE));
    assert_eq!(examples.len(), 2, "one of each plane");
    invocations.extend(examples);
    fine(invocations.iter().flat_map(complaints_of).collect());
}

/// Also where it is only spoken of: in comments, and in lines that are there to be uncommented.
#[test]
fn every_name_is_known_wherever_it_stands() {
    let both = ["controlplane", "dataplane"].map(Manual::of);
    let [control, proxy] = [&both[..1], &both[1..]];
    let mut files = vec![(COMPOSE.to_owned(), &both[..]), (IMAGE.to_owned(), &both[..])];
    for entry in std::fs::read_dir(root().join("deploy/systemd")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let manuals = if name.contains("proxy") { proxy } else { control };
        files.push((format!("deploy/systemd/{name}"), manuals));
    }
    assert_eq!(
        files.len(),
        6,
        "{files:?}",
        files = files.iter().map(|(file, _)| file).collect::<Vec<_>>()
    );
    let mut complaints = Vec::new();
    for (file, manuals) in files {
        for (index, line) in read(&file).lines().enumerate() {
            let variables =
                manual::variables(line).filter(|name| !manuals.iter().any(|manual| manual.variables.contains(*name)));
            let flags =
                manual::flags(line).filter(|name| *name != "help" && !manuals.iter().any(|manual| manual.has(name)));
            // In the others stand flags of other programs too.
            let flags = flags.filter(|_| file.contains("systemd"));
            complaints.extend(
                variables
                    .chain(flags)
                    .map(|name| format!("{file}:{}: {name}", index + 1)),
            );
        }
    }
    fine(complaints);
}

#[test]
fn what_is_made_up_is_found() {
    let (text, line) = instead(&read(COMPOSE), "--tokens=", "--tokins=");
    let found: Vec<String> = Compose::parse(COMPOSE, &text)
        .invocations()
        .iter()
        .flat_map(complaints_of)
        .collect();
    assert_eq!(
        found,
        [format!("{COMPOSE}:{line}: `vulcan controlplane` has no flag --tokins")]
    );

    let (text, line) = instead(&read(COMPOSE), "VULCAN_STATUS:", "VULCAN_STATE:");
    let found: Vec<String> = Compose::parse(COMPOSE, &text)
        .invocations()
        .iter()
        .flat_map(complaints_of)
        .collect();
    // All three take it from one place.
    assert_eq!(
        found,
        vec![format!("{COMPOSE}:{line}: `vulcan dataplane` reads no VULCAN_STATE"); 3]
    );

    let (text, line) = instead(&read(PROXY), "VULCAN_TOKEN_FILE=", "VULCAN_TOKEN_FOLDER=");
    let found = complaints_of(&Unit::parse(PROXY, &text).invocation());
    assert_eq!(
        found,
        [format!(
            "{PROXY}:{line}: `vulcan dataplane` reads no VULCAN_TOKEN_FOLDER"
        )]
    );

    let (text, line) = instead(
        &read(CONTROL_PLANE),
        "vulcan controlplane",
        "vulcan controlplane --half-close",
    );
    let found = complaints_of(&Unit::parse(CONTROL_PLANE, &text).invocation());
    assert_eq!(
        found,
        [format!(
            "{CONTROL_PLANE}:{line}: `vulcan controlplane` has no flag --half-close"
        )]
    );
}

#[test]
fn the_parts_of_each_file_agree() {
    let image = Image::parse(IMAGE, &read(IMAGE));
    fine(image.complaints());
    fine(Compose::parse(COMPOSE, &read(COMPOSE)).complaints(&image));
    fine(unit(CONTROL_PLANE).complaints());
    fine(unit(PROXY).complaints());
}

#[test]
fn parts_that_do_not_agree_are_found() {
    let image = Image::parse(IMAGE, &read(IMAGE));
    for (from, to) in [
        ("depends_on: {cassandra:", "depends_on: {casandra:"),
        ("http://controlplane-1:8182,", "http://controlplane-1:8183,"),
        ("--advertise=http://controlplane-2", "--advertise=http://controlplane-1"),
        ("--store=cassandra://cassandra/", "--store=cassandra://elsewhere/"),
        ("--admin=0.0.0.0:8182", "--admin=0.0.0.0:8000"),
        ("/dev/tcp/127.0.0.1/8081", "/dev/tcp/127.0.0.1/8080"),
        ("secrets: [proxy]", "secrets: [peer]"),
        ("proxy-3:/var/lib/vulcan", "proxy-2:/var/lib/vulcan"),
        ("proxy-1:/var/lib/vulcan", "proxy-1:/var/lib/vulkan"),
        ("--name=proxy-3", "--name=proxy-2"),
        ("127.0.0.1:8003:8080", "127.0.0.1:8002:8080"),
        ("127.0.0.1:8003:8080", "8003:8080"),
        ("stop_grace_period: 60s", "stop_grace_period: 30s"),
        ("VULCAN_DRAIN_TIMEOUT: 30s", "VULCAN_DRAIN_TIMEOUT: 60s"),
        ("  cassandra:\n  proxy-1:", "  proxy-1:"),
    ] {
        let (text, _) = instead(&read(COMPOSE), from, to);
        let found = Compose::parse(COMPOSE, &text).complaints(&image);
        assert!(!found.is_empty(), "{to}");
    }
    for (from, to) in [
        ("Type=exec", "Type=notify"),
        ("TimeoutStopSec=60", "TimeoutStopSec=50"),
        ("LoadCredential=token:", "LoadCredential=tokens:"),
        ("StateDirectory=vulcan-proxy", "StateDirectory=vulcan"),
        ("CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "CapabilityBoundingSet="),
        ("RestartPreventExitStatus=2", "RestartPreventExitStatus=1"),
    ] {
        let (text, _) = instead(&read(PROXY), from, to);
        assert!(!Unit::parse(PROXY, &text).complaints().is_empty(), "{to}");
    }
    for (from, to) in [
        ("debian:trixie", "debian:bookworm"),
        ("USER 10001", "USER 0"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL"),
        ("VOLUME /var/lib/vulcan", "VOLUME /data"),
    ] {
        let (text, _) = instead(&read(IMAGE), from, to);
        assert!(!Image::parse(IMAGE, &text).complaints().is_empty(), "{to}");
    }
}

/// Whether the health check of a service holds, asked at `at` instead of the port in it.
fn is_healthy(compose: &Compose, name: &str, port: u16, at: u16) -> bool {
    let words = compose.health_check(name);
    let here = |word: &String| word.replace(&format!("/127.0.0.1/{port} "), &format!("/127.0.0.1/{at} "));
    let output = Command::new(&words[0]).args(words[1..].iter().map(here)).output();
    output.unwrap().status.success()
}

fn with_secrets_of_compose(compose: &Compose) -> Bench {
    let mut bench = Bench::new("cassandra://cassandra/vulcan");
    for (name, file) in compose.secrets() {
        let made = bench.path(file.strip_prefix("./secrets/").unwrap());
        bench.means(&format!("/run/secrets/{name}"), made);
    }
    bench
}

/// The first is the control plane's.
fn with_secrets_of_units(units: &[&Unit]) -> Bench {
    let control = units[0].invocation();
    let mut bench = Bench::new(control.setting("store").unwrap());
    for (id, path) in units.iter().flat_map(|unit| unit.credentials()) {
        let made = bench.path(path.strip_prefix(unit::ETC).unwrap());
        bench.means(&format!("%d/{id}"), made);
    }
    bench.means(control.setting("tokens").unwrap(), bench.path("tokens.toml"));
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_compose_file_calls_serves() {
    let compose = Compose::parse(COMPOSE, &read(COMPOSE));
    let mut bench = with_secrets_of_compose(&compose);
    let addresses = running::addresses::<2>();
    for (n, address) in addresses.iter().enumerate() {
        bench.means(&format!("controlplane-{}:8182", n + 1), address.to_string());
    }
    for port in [8080, 8081] {
        bench.means(&format!("0.0.0.0:{port}"), "127.0.0.1:0");
    }
    let (mut planes, mut proxies) = (Vec::new(), Vec::new());
    for invocation in compose.invocations() {
        if invocation.command() == "controlplane" {
            let address = addresses[planes.len()];
            planes.push((
                bench.start(&invocation, &[("0.0.0.0:8182", address.to_string())]),
                address,
            ));
        } else {
            proxies.push(bench.start(&invocation, &[]));
        }
    }
    for (n, (plane, address)) in planes.iter().enumerate() {
        running::ready(plane).await;
        assert!(is_healthy(
            &compose,
            &format!("controlplane-{}", n + 1),
            8182,
            address.port()
        ));
    }
    let mut last = 0;
    for proxy in &proxies {
        running::ready(proxy).await;
        last = running::listening(proxy, "status").await.port();
        assert!(is_healthy(&compose, &proxy.label, 8081, last), "{}", proxy.label);
    }
    bench.serves(&planes, proxies).await;
    assert!(!is_healthy(&compose, "proxy-3", 8081, last), "nobody is there");
    for (plane, _) in &mut planes {
        running::end(plane).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_units_call_serves() {
    let (control, proxy) = (unit(CONTROL_PLANE), unit(PROXY));
    let (control_call, proxy_call) = (control.invocation(), proxy.invocation());
    let mut bench = with_secrets_of_units(&[&control, &proxy]);
    let [address, nobody] = running::addresses();
    let urls = proxy_call.setting("controlplane").unwrap();
    let (first, second) = urls.split_once(',').expect("two control planes");
    assert_eq!(first, format!("http://{}", control_call.setting("admin").unwrap()));
    bench.means(control_call.setting("admin").unwrap(), address.to_string());
    // A proxy finds the one that is there.
    bench.means(second.trim_start_matches("http://"), nobody.to_string());
    for flag in ["http", "status"] {
        bench.means(proxy_call.setting(flag).unwrap(), "127.0.0.1:0");
    }
    bench.means("%S", bench.folder().to_owned());
    let mut planes = [(bench.start(&control_call, &[]), address)];
    let proxies = vec![bench.start(&proxy_call, &[])];
    bench.serves(&planes, proxies).await;
    running::end(&mut planes[0].0).await;
}

/// What the binary refuses by itself, rather than by a name that it does not know.
#[tokio::test]
async fn what_is_missing_ends_with_the_status_that_is_not_tried_again() {
    let compose = Compose::parse(COMPOSE, &read(COMPOSE));
    let (control, proxy) = (unit(CONTROL_PLANE), unit(PROXY));
    let (in_compose, in_units) = (with_secrets_of_compose(&compose), with_secrets_of_units(&[&control]));
    let plane = &compose.invocations()[0];
    for (bench, invocation, missing) in [
        (&in_compose, plane, "store"),
        (&in_compose, plane, "advertise"),
        (&in_compose, plane, "tokens"),
        (&in_compose, plane, "peer-token-file"),
        (&in_units, &control.invocation(), "store"),
        (&in_units, &control.invocation(), "tokens"),
        (&in_units, &control.invocation(), "peer-token-file"),
        (&in_units, &proxy.invocation(), "controlplane"),
    ] {
        let mut less = invocation.clone();
        less.words
            .retain(|word| !word.text.starts_with(&format!("--{missing}=")));
        less.variables
            .retain(|(name, _)| name.text != invocation::variable(missing));
        assert!(
            invocation.setting(missing).is_some() && less.setting(missing).is_none(),
            "{missing}"
        );
        let mut process = bench.start(&less, &[]);
        let status = process.exit().await;
        let said = process.logged();
        assert!(
            status.code() == Some(2) && said.contains(&format!("--{missing}")),
            "without --{missing}: {status} {said}"
        );
    }
}
