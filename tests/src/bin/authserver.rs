//! `vulcan-authserver USERS ADDRESS`: an authorization server for examples and tests, with a file of users.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use tokio::net::TcpListener;
use vulcan_tests::authserver;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(users), Some(listen)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: vulcan-authserver USERS ADDRESS");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = TcpListener::bind(&listen).await.expect("the address is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        println!("listening authserver {address}");
        authserver::serve(listener, users.into(), Duration::ZERO, Default::default()).await;
    });
}
