//! `vulcan-origin ID ADDRESS [closed|unwell MS]`: an origin for the tests, that is not well before so many milliseconds.
//! Reads `mark`, `count` and `fault FAULT|none` from stdin and answers each with one line of JSON; ends with its stdin, so
//! that it never outlives the test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::sleep;
use vulcan_tests::origin::{Fault, Tally, serve};

const BACKLOG: u32 = 1024;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(id), Some(listen)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: vulcan-origin ID ADDRESS [closed|unwell MS]");
        std::process::exit(2);
    };
    let slow = arguments.next();
    let ms = arguments.next().map_or(0, |ms| ms.parse().expect("milliseconds"));
    let until_well = Duration::from_millis(ms);
    let tally = Arc::new(Tally::default());
    let (sender, commands) = mpsc::unbounded_channel();
    std::thread::spawn(move || read(&sender));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let socket = bind(&listen).await;
        println!(
            "listening origin {}",
            socket.local_addr().expect("a bound socket has an address")
        );
        let serving = async {
            if slow.as_deref() == Some("closed") {
                sleep(until_well).await;
            }
            let listener = socket.listen(BACKLOG).expect("a bound socket listens");
            serve(listener, &id, tally.clone()).await;
        };
        let healing = async {
            if slow.as_deref() == Some("unwell") {
                tally.set_fault(Some(Fault::Unwell));
                sleep(until_well).await;
                tally.set_fault(None);
            }
        };
        tokio::join!(healing, serving, obey(commands, &tally));
    });
}

/// An address that another origin has just left may be some connection's own for a moment. It is refused until the socket
/// listens.
async fn bind(listen: &str) -> TcpSocket {
    let address = listen.parse().expect("an address");
    let mut tries = 0;
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("an option");
        match socket.bind(address) {
            Ok(()) => return socket,
            Err(error) => assert!(tries < 50, "{listen}: {error}"),
        }
        tries += 1;
        sleep(Duration::from_millis(100)).await;
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
        let count = match line.split_once(' ') {
            Some((_, name)) => {
                tally.set_fault((name != "none").then(|| name.parse().expect("a fault")));
                tally.count()
            }
            None if line == "mark" => tally.mark(),
            None => tally.count(),
        };
        println!("{}", serde_json::to_string(&count).expect("numbers are JSON"));
    }
}
