//! `vulcan-origin ID ADDRESS`: an origin for the tests. Reads `mark` and `count` from stdin and answers each with one
//! line of JSON; ends with its stdin, so that it never outlives the test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::BufRead;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use vulcan_tests::origin::{Tally, serve};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(id), Some(listen)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: vulcan-origin ID ADDRESS");
        std::process::exit(2);
    };
    let tally = Arc::new(Tally::default());
    let (sender, commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || read(&sender));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let listener = bind(&listen).await;
        println!(
            "listening origin {}",
            listener.local_addr().expect("a bound listener has an address")
        );
        tokio::join!(serve(listener, &id, tally.clone()), obey(commands, &tally));
    });
}

/// An address that another origin has just left may be some connection's own for a moment.
async fn bind(listen: &str) -> TcpListener {
    let mut tries = 0;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => return listener,
            Err(error) => assert!(tries < 50, "{listen}: {error}"),
        }
        tries += 1;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

fn read(commands: &mpsc::UnboundedSender<String>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        commands.send(line).expect("the origin serves for ever");
    }
    std::process::exit(0);
}

/// On the thread that answers requests: no answer is between its last byte and its count when this one looks.
async fn obey(mut commands: mpsc::UnboundedReceiver<String>, tally: &Tally) {
    while let Some(line) = commands.recv().await {
        let count = if line == "mark" { tally.mark() } else { tally.count() };
        println!("{}", serde_json::to_string(&count).expect("numbers are JSON"));
    }
}
