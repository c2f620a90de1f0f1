//! `hello ADDRESS`: something to proxy to, for the tours in README.md and docs/authorizing.md. Every GET is answered at
//! once, by the name that an authorizer gave the client; a path that begins with /slow takes two seconds.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address)?;
    println!("hello answers at {address}");
    for connection in listener.incoming() {
        let address = address.clone();
        thread::spawn(move || serve(connection?, &address));
    }
    Ok(())
}

/// One connection, kept open for as many requests as come. Requests with bodies are not read right.
fn serve(connection: TcpStream, address: &str) -> io::Result<()> {
    let mut out = connection.try_clone()?;
    let mut lines = BufReader::new(connection).lines();
    while let Some(request) = lines.next().transpose()? {
        let mut user = String::new();
        while let Some(field) = lines.next().transpose()?.filter(|field| !field.is_empty()) {
            if let Some((_, token)) = field
                .split_once(": ")
                .filter(|(name, _)| *name == "x-vulcan-auth-token")
            {
                user = format!(" {token}");
            }
        }
        if request.split(' ').nth(1).is_some_and(|path| path.starts_with("/slow")) {
            thread::sleep(Duration::from_secs(2));
        }
        let body = format!("hello{user} from {address}\n");
        write!(
            out,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
    Ok(())
}
