use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

fn header(bytes: usize, whose: Whose) -> Beginning {
    Beginning::Header { bytes, whose }
}

fn of(client: &str) -> Whose {
    Whose::Of(client.parse().unwrap())
}

fn version_2_of(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [SIGNATURE_V2, &[command, family], &length, addresses].concat()
}

#[test]
fn both_versions_are_read() {
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x10, 0, 0, 25];
    let mut v6 = [0; 36];
    v6[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
    v6[15] = 7;
    let with_more = [v4.as_slice(), &[4, 0, 1, 0]].concat();
    let table: Vec<(Vec<u8>, Beginning)> = vec![
        (
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 25\r\nEHLO".to_vec(),
            header(39, of("192.0.2.7")),
        ),
        (
            b"PROXY TCP6 2001:db8::7 ::1 4000 25\r\n".to_vec(),
            header(36, of("2001:db8::7")),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), header(15, Whose::Unknown)),
        (b"PROXY UNKNOWN ffff::1 x\r\n".to_vec(), header(25, Whose::Unknown)),
        (b"PROXY TCP4 2001:db8::7 ::1 4000 25\r\n".to_vec(), Beginning::Malformed),
        (
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 70000\r\n".to_vec(),
            Beginning::Malformed,
        ),
        (b"PROXY TCP4 192.0.2.7\r\n".to_vec(), Beginning::Malformed),
        (
            b"PROXY UDP4 192.0.2.7 10.0.0.1 4000 25\r\n".to_vec(),
            Beginning::Malformed,
        ),
        ([b"PROXY ".as_slice(), &[b'x'; 110]].concat(), Beginning::Malformed),
        (version_2_of(0x21, 0x11, &v4), header(28, of("192.0.2.7"))),
        (version_2_of(0x21, 0x11, &with_more), header(32, of("192.0.2.7"))),
        (version_2_of(0x21, 0x21, &v6), header(52, of("2001:db8::7"))),
        (version_2_of(0x20, 0, &[]), header(16, Whose::Own)),
        (version_2_of(0x20, 0x11, &v4), header(28, Whose::Own)),
        (version_2_of(0x21, 0, &[]), header(16, Whose::Unknown)),
        (version_2_of(0x21, 0x12, &v4), header(28, Whose::Unknown)),
        (version_2_of(0x21, 0x31, &[b'/'; 216]), header(232, Whose::Unknown)),
        (version_2_of(0x21, 0x11, &v4[..11]), Beginning::Malformed),
        (version_2_of(0x11, 0x11, &v4), Beginning::Malformed),
        (version_2_of(0x21, 0x11, &[0; 2_040]), Beginning::Malformed),
        (b"EHLO client\r\n".to_vec(), Beginning::Other),
        (b"\r\nQUIT".to_vec(), Beginning::Other),
        (b"".to_vec(), Beginning::Open),
    ];
    for (bytes, expected) in table {
        assert_eq!(parse(&bytes), expected, "{bytes:?}");
        if let Beginning::Header { bytes: end, .. } = expected {
            for cut in 0..end {
                assert_eq!(parse(&bytes[..cut]), Beginning::Open, "{bytes:?} at {cut}");
            }
        }
    }
}

/// Whose connection it is, and what of its bytes is left for the session. It keeps silent afterwards.
async fn told(parts: &[&[u8]], within: Duration) -> (Option<Whose>, Vec<u8>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let mut balancer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    balancer.set_nodelay(true).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let write = async {
        for part in parts {
            balancer.write_all(part).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (said, ()) = tokio::join!(take(&mut stream, Instant::now() + within), write);
    let mut left = Vec::new();
    if said.is_some() {
        balancer.shutdown().await.unwrap();
        stream.read_to_end(&mut left).await.unwrap();
    }
    (said, left)
}

#[tokio::test]
async fn the_header_is_taken_and_nothing_else() {
    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(50);
    let client = of("192.0.2.7");
    let line: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4000 25\r\n\x16\x03";
    let binary = version_2_of(0x21, 0x11, &[192, 0, 2, 7, 10, 0, 0, 1, 0x10, 0, 0, 25]);
    let rest = b"\x16\x03";
    let passed_on: [&[&[u8]]; 3] = [
        &[line],
        &[&line[..3], &line[3..20], &line[20..]],
        &[&binary[..14], &binary[14..], rest],
    ];
    for parts in passed_on {
        assert_eq!(told(parts, LONG).await, (Some(client), rest.to_vec()));
    }
    assert_eq!(told(&[rest], LONG).await, (Some(Whose::Own), rest.to_vec()));
    assert_eq!(
        told(&[b"PROXY UNKNOWN\r\n", rest], LONG).await,
        (Some(Whose::Unknown), rest.to_vec())
    );
    assert_eq!(told(&[], SHORT).await.0, None);
    assert_eq!(told(&[&line[..20]], SHORT).await.0, None, "half a header");
    assert_eq!(told(&[b"PROXY TCP4 x y z\r\n"], LONG).await.0, None);
}
