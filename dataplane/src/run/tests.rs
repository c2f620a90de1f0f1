use std::io;

use super::*;
use crate::fixture::config;

/// How a proxy ends that nobody stops.
async fn end(config: Config) -> Error {
    let running = run(config, Announce::to(io::sink()), CancellationToken::new());
    let ended = tokio::time::timeout(Duration::from_secs(60), running);
    ended.await.unwrap().unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_ends_the_proxy_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&directory.path().join("data"));

    let no_url = Config {
        controlplanes: vec!["ftp://somewhere".into()],
        ..config.clone()
    };
    assert!(matches!(end(no_url).await, Error::Sync(sync::Error::Address { .. })));

    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let no_directory = Config {
        data: file,
        ..config.clone()
    };
    assert!(matches!(
        end(no_directory).await,
        Error::Sync(sync::Error::Directory { .. })
    ));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let no_port = Config {
        status: taken.local_addr().ok(),
        ..config
    };
    assert!(matches!(end(no_port).await, Error::Status(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_proxies_never_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let announce = Announce::to(io::sink());
    let first = tokio::spawn(run(config(directory.path()), announce.clone(), stop.clone()));
    announce.bound("status").await;
    // The first may not have its lock yet: one of the two has it in the end.
    let second = tokio::spawn(run(config(directory.path()), Announce::to(io::sink()), stop.clone()));
    let either = async {
        tokio::select! {
            first = first => first,
            second = second => second,
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(60), either)
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(ended, Err(Error::Sync(sync::Error::InUse { .. }))),
        "{ended:?}"
    );
    stop.cancel();
}
