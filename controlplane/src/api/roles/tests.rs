use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::{self, Access, Api};
use crate::changelog::Changelog;
use crate::heartbeats::{self, Heartbeats};
use crate::limits::{self, Limits};
use crate::planes;
use crate::push::{self, Fleet};
use crate::store::{self, StoreUrl};

/// Everything that the router takes, as `GET /v1/services`. It can be asked only by how it shows itself to developers.
pub async fn routes() -> BTreeSet<String> {
    let directory = tempfile::tempdir().unwrap();
    let store = StoreUrl::Redb(directory.path().join("log.redb"));
    let log = store::open(&store).await.unwrap();
    let (changelog, _writing) = Changelog::start(log.clone()).await.unwrap();
    let fleet = Fleet::new(changelog.clone(), None);
    let stop = CancellationToken::new();
    let setup = limits::Setup {
        changelog: changelog.clone(),
        fleet: fleet.clone(),
        cells: log.cells().unwrap(),
        clock: Arc::new(limits::MachineClock),
        settings: Default::default(),
        sharing: None,
    };
    let streams = push::router(fleet.clone(), stop.clone())
        .merge(planes::router(fleet.clone(), stop.clone()))
        .merge(Limits::new(setup).router(stop.clone()));
    let heartbeats = Heartbeats::new(changelog.clone(), fleet.clone(), None);
    let streams = streams.merge(heartbeats::router(heartbeats.clone(), stop.clone()));
    let api = Api::new(changelog, fleet, heartbeats, None, "".into(), Default::default(), stop);
    let admin: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let access = Access::of(None, None, admin).unwrap();
    let shown = format!("{:?}", api::router(api, streams, Arc::new(access)));
    // By number first what each takes, then its path; fallbacks come later.
    let (routes, rest) = shown.split_once("node: Node").unwrap();
    let (paths, _) = rest.split_once("fallback_router").unwrap();
    let methods = numbered(routes, "allow_header: Bytes(b\"");
    let paths = numbered(paths, "\"");
    assert!(!paths.is_empty() && methods.keys().eq(paths.keys()), "{shown}");
    let each = paths.iter().flat_map(|(number, path)| {
        let methods = methods[number].split(',').filter(|method| *method != "HEAD");
        methods.map(move |method| format!("{method} {path}"))
    });
    each.collect()
}

/// Of each `RouteId(7): …` what stands in quotation marks after `mark`.
fn numbered<'a>(text: &'a str, mark: &str) -> BTreeMap<u32, &'a str> {
    let of_one = |text: &'a str| {
        let (number, rest) = text.split_once("): ")?;
        let (_, rest) = rest.split_once(mark)?;
        Some((number.parse().ok()?, rest.split_once('"')?.0))
    };
    text.split("RouteId(").skip(1).filter_map(of_one).collect()
}

#[tokio::test]
async fn every_route_has_its_entry_and_every_entry_its_route() {
    let routes = routes().await;
    assert!(routes.contains("DELETE /v1/services/{service}/upstreams/{id}") && routes.contains("GET /healthz"));
    let entries: BTreeSet<String> = TABLE
        .iter()
        .flat_map(|(path, methods)| methods.iter().map(move |(method, _)| format!("{method} {path}")))
        .collect();
    let listed: usize = TABLE.iter().map(|(_, methods)| methods.len()).sum();
    assert_eq!(entries.len(), listed, "one is there twice, and the first one counts");
    assert_eq!(
        routes.difference(&entries).collect::<Vec<_>>(),
        [""; 0],
        "without an entry"
    );
    assert_eq!(entries.difference(&routes).collect::<Vec<_>>(), [""; 0], "of no route");
}

fn deployer() -> Role {
    Role::Deployer(Arc::new(Scope::parse(vec!["web".to_owned()]).unwrap()))
}

#[test]
fn what_is_not_in_the_table_is_for_administrators() {
    assert_eq!(needs(Some("/v1/services"), &Method::POST), None);
    assert_eq!(needs(Some("/v1/nothing"), &GET), None);
    assert_eq!(needs(Some("/v1/services"), &Method::HEAD), Some(Read));
    for role in [deployer(), Role::Proxy, Role::Reader] {
        assert!(!role.may(Admin, Some("web")), "{role}");
    }
    assert!(Role::Admin.may(Admin, None));
    assert!(!Role::Admin.may(Peer, None));
}

#[test]
fn a_deployer_has_its_services() {
    let deployer = deployer();
    for needs in [ReadService, Deploy] {
        assert!(deployer.may(needs, Some("web")));
        assert!(!deployer.may(needs, Some("shop")) && !deployer.may(needs, None));
    }
    let refusal = deployer.refusal(Deploy, format_args!("PUT /v1/services/{{service}}/upstreams/{{id}}"));
    assert_eq!(
        refusal.detail,
        "PUT /v1/services/{service}/upstreams/{id} is for the role admin, and for deployers of the service; \
         this token is that of a deployer of web"
    );
}
