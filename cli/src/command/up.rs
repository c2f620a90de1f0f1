//! Both planes in one process. The proxy is one like any other: it reaches the control plane by its admin port.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use ::controlplane::StoreUrl;
use net::announce::Announce;
use tokio_util::sync::CancellationToken;

use super::{control_config, proxy_config};
use crate::args::Up;
use crate::failure::Failure;
use crate::process;

/// For the control plane to open its store and its port.
const START: Duration = Duration::from_secs(60);

pub fn run(args: Up) -> Result<(), Failure> {
    let data = &args.proxy.data;
    let store = args
        .control
        .store
        .clone()
        .unwrap_or_else(|| StoreUrl::Redb(data.join("controlplane").join("log.redb")));
    let control = control_config(&args.control, &args.tls, store)?;
    let trust = match &args.control.admin_tls_cert {
        Some(chain) => super::tls::trust_itself(chain.clone(), &args.tls)?,
        None => Default::default(),
    };
    // The address follows once the control plane is bound.
    let proxy = proxy_config(&args.proxy, Vec::new(), trust, &data.join("dataplane"))?;
    if args.control.admin_client_ca.is_some() && args.tls.client_cert.is_none() {
        return Err(Failure::usage(
            "--admin-client-ca also asks the proxy for a certificate: give it by --client-cert and --client-key",
        ));
    }
    if control.tokens.is_some() && proxy.token.is_none() {
        return Err(Failure::usage(
            "--tokens also asks the proxy for one: give it by --token-file or VULCAN_TOKEN",
        ));
    }
    process::run(&args.process, async |stop| serve(control, proxy, stop).await)
}

async fn serve(
    control: ::controlplane::Config,
    mut proxy: ::dataplane::Config,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let announce = Announce::stdout();
    let for_proxy = announce.part();
    // Not children of `stop`: the proxy goes first, and the control plane hears its goodbye.
    let (stop_control, stop_proxy) = (CancellationToken::new(), CancellationToken::new());
    let scheme = if control.tls.is_some() { "https" } else { "http" };
    let control = async {
        ::controlplane::run(control, announce, stop_control.clone())
            .await
            .map_err(Failure::refused)
    };
    let proxy = async {
        let bound = tokio::select! {
            bound = tokio::time::timeout(START, for_proxy.bound("admin")) => bound,
            () = stop_proxy.cancelled() => return Ok(()),
        };
        let admin = bound.map_err(|_| Failure::refused("the control plane did not open its port"))?;
        proxy.controlplanes = vec![format!("{scheme}://{}", reachable(admin))];
        ::dataplane::run(proxy, for_proxy, stop_proxy.clone())
            .await
            .map_err(Failure::refused)
    };
    in_order(control, &stop_control, proxy, &stop_proxy, &stop).await
}

/// Runs both until `stop` or the end of either, and ends the proxy before the control plane.
async fn in_order(
    control: impl Future<Output = Result<(), Failure>>,
    stop_control: &CancellationToken,
    proxy: impl Future<Output = Result<(), Failure>>,
    stop_proxy: &CancellationToken,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let (mut control, mut proxy) = (pin!(control), pin!(proxy));
    let mut control_end = None;
    let mut proxy_end = None;
    tokio::select! {
        end = &mut control => control_end = Some(end),
        end = &mut proxy => proxy_end = Some(end),
        () = stop.cancelled() => {}
    }
    stop_proxy.cancel();
    while proxy_end.is_none() {
        tokio::select! {
            end = &mut control, if control_end.is_none() => control_end = Some(end),
            end = &mut proxy => proxy_end = Some(end),
        }
    }
    stop_control.cancel();
    let control_end = match control_end {
        Some(end) => end,
        None => control.await,
    };
    control_end.and(proxy_end.unwrap_or(Ok(())))
}

/// Where this process reaches what it bound at `address`: nobody connects to 0.0.0.0.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn the_proxy_ends_before_the_control_plane() {
        let order = Mutex::new(Vec::new());
        let (stop_control, stop_proxy, stop) = (
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let control = async {
            stop_control.cancelled().await;
            order.lock().unwrap().push("control plane");
            Ok(())
        };
        let proxy = async {
            stop_proxy.cancelled().await;
            tokio::task::yield_now().await;
            order.lock().unwrap().push("proxy");
            Ok(())
        };
        stop.cancel();
        assert_eq!(
            in_order(control, &stop_control, proxy, &stop_proxy, &stop).await,
            Ok(())
        );
        assert_eq!(*order.lock().unwrap(), ["proxy", "control plane"]);
    }

    #[tokio::test]
    async fn a_control_plane_that_fails_ends_the_proxy() {
        let (stop_control, stop_proxy, stop) = (
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        let control = async { Err(Failure::refused("the store is locked")) };
        let proxy = async {
            stop_proxy.cancelled().await;
            Ok(())
        };
        let end = in_order(control, &stop_control, proxy, &stop_proxy, &stop).await;
        assert_eq!(end, Err(Failure::refused("the store is locked")));
    }

    #[test]
    fn a_wildcard_is_reached_by_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:8182"), "127.0.0.1:8182");
        assert_eq!(reach("[::]:8182"), "[::1]:8182");
        assert_eq!(reach("192.0.2.7:8182"), "192.0.2.7:8182");
    }
}
