use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use super::load::{Load, Mode, Outcome};
use super::origin::Origin;
use super::relay;

fn origin() -> SocketAddr {
    let origin = Origin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = origin.address().unwrap();
    std::thread::spawn(|| origin.run());
    address
}

fn load(target: SocketAddr, mode: Mode) -> Outcome {
    Load::new(target, "bench.test", mode, 5)
        .unwrap()
        .run(Duration::from_millis(200))
        .unwrap()
}

#[test]
fn every_mode_passes_straight_and_through_the_relay() {
    let origin = origin();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let through = listener.local_addr().unwrap();
    std::thread::spawn(move || relay::run(listener, origin));
    for target in [origin, through] {
        for mode in [Mode::Small, Mode::Large, Mode::Upload] {
            let outcome = load(target, mode);
            assert!(
                outcome.latencies.count() > 5,
                "{mode:?}: {} answers",
                outcome.latencies.count()
            );
            assert_eq!((outcome.failures, outcome.failure), (0, None), "{mode:?}");
        }
    }
}

/// Otherwise errors would count as speed.
#[test]
fn answers_that_are_not_right_are_failures() {
    for answer in [
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 120\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 119\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            listener.incoming().flatten().try_for_each(|mut client| {
                let _request = std::io::Read::read(&mut client, &mut [0; 4096])?;
                std::io::Write::write_all(&mut client, answer.as_bytes())?;
                std::io::Write::write_all(&mut client, &[b'x'; 120])
            })
        });
        let result = Load::new(target, "bench.test", Mode::Small, 1)
            .unwrap()
            .run(Duration::from_millis(100));
        assert!(result.is_err() || result.is_ok_and(|outcome| outcome.failures > 0 && outcome.latencies.count() == 0));
    }
}
