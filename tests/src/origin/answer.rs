//! What an origin answers, by path:
//!
//! | path | answer |
//! |---|---|
//! | `/bytes?n=&head=&half=&chunked=` | `n` patterned bytes; `head` ms before the head, `half` ms between the halves |
//! | `/digest` | reads the upload to its end, then tells its length and sum |
//! | `/echo` | sends the upload back while it comes |
//! | `/early` | answers 200 before it reads the upload |
//! | `/tunnel` | 101, then every byte back until `bye\n` or the peer's end |
//! | `/reflect` | the request's head as it arrived, as text |
//! | `/status?code=` | that status, without a body |
//!
//! `x-token` seeds the pattern. Every answer says `x-origin`.

use std::io;
use std::time::Duration;

use crate::pattern::{self, Sum};
use crate::wire::{Body, Connection, Fields, RequestLine, invalid};

/// Answers one request; false when the connection cannot carry another.
pub(super) async fn answer(to: &mut Connection, id: &str, line: &RequestLine, fields: &Fields) -> io::Result<bool> {
    let mut body = Body::of_request(fields)?;
    if fields.lists("expect", "100-continue") && line.path() != "/early" {
        to.writer.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    match line.path() {
        "/bytes" => {
            body.all(&mut to.reader).await?;
            bytes(to, id, line, fields).await?;
        }
        "/digest" => digest(to, id, &mut body).await?,
        "/echo" => echo(to, id, &mut body).await?,
        "/early" => {
            whole(to, id, "200 OK", b"early").await?;
            body.all(&mut to.reader).await?;
        }
        "/tunnel" => return tunnel(to, id, fields).await,
        "/reflect" => {
            body.all(&mut to.reader).await?;
            let mut text = format!("{} {}\n", line.method, line.target);
            fields
                .0
                .iter()
                .for_each(|(name, value)| text.push_str(&format!("{name}: {value}\n")));
            whole(to, id, "200 OK", text.as_bytes()).await?;
        }
        "/status" => {
            body.all(&mut to.reader).await?;
            let code = line.number("code");
            let length = if code == 204 || code == 304 {
                ""
            } else {
                "content-length: 0\r\n"
            };
            to.writer
                .send(format!("HTTP/1.1 {code} Told\r\nx-origin: {id}\r\n{length}\r\n").as_bytes())
                .await?;
        }
        _ => {
            body.all(&mut to.reader).await?;
            whole(to, id, "404 Not Found", b"no such path at the origin").await?;
        }
    }
    Ok(true)
}

async fn whole(to: &mut Connection, id: &str, status: &str, body: &[u8]) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nx-origin: {id}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    to.writer.send(&[head.as_bytes(), body].concat()).await
}

/// Waits, unless the client goes away: what nobody waits for is not in flight any more.
async fn pause(to: &mut Connection, ms: u64) -> io::Result<()> {
    if ms == 0 {
        return Ok(());
    }
    tokio::select! {
        () = tokio::time::sleep(Duration::from_millis(ms)) => Ok(()),
        () = to.reader.gone() => Err(invalid("the client went away")),
    }
}

async fn bytes(to: &mut Connection, id: &str, line: &RequestLine, fields: &Fields) -> io::Result<()> {
    let seed = fields.one("x-token").and_then(|token| token.parse().ok()).unwrap_or(0);
    let content = pattern::bytes(seed, line.number("n") as usize);
    let chunked = line.number("chunked") == 1;
    pause(to, line.number("head")).await?;
    let framing = if chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {}", content.len())
    };
    let mut head = format!("HTTP/1.1 200 OK\r\nx-origin: {id}\r\n{framing}\r\n\r\n").into_bytes();
    if line.method == "HEAD" {
        return to.writer.send(&head).await;
    }
    let (first, second) = content.split_at(content.len() / 2);
    if chunked {
        to.writer.send(&head).await?;
        to.writer.chunk(first).await?;
        pause(to, line.number("half")).await?;
        to.writer.chunk(second).await?;
        return to.writer.send(b"0\r\n\r\n").await;
    }
    head.extend_from_slice(first);
    if line.number("half") > 0 {
        to.writer.send(&head).await?;
        pause(to, line.number("half")).await?;
        return to.writer.send(second).await;
    }
    head.extend_from_slice(second);
    to.writer.send(&head).await
}

async fn digest(to: &mut Connection, id: &str, body: &mut Body) -> io::Result<()> {
    let (mut length, mut sum) = (0, Sum::default());
    while let Some(piece) = body.next(&mut to.reader).await? {
        length += piece.len();
        sum.add(&piece);
    }
    whole(to, id, "200 OK", format!("{length} {sum}").as_bytes()).await
}

async fn echo(to: &mut Connection, id: &str, body: &mut Body) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nx-origin: {id}\r\ntransfer-encoding: chunked\r\n\r\n");
    to.writer.send(head.as_bytes()).await?;
    while let Some(piece) = body.next(&mut to.reader).await? {
        to.writer.chunk(&piece).await?;
    }
    to.writer.send(b"0\r\n\r\n").await
}

async fn tunnel(to: &mut Connection, id: &str, fields: &Fields) -> io::Result<bool> {
    if !fields.lists("connection", "upgrade") || fields.one("upgrade").is_none() {
        whole(to, id, "426 Upgrade Required", b"").await?;
        return Ok(true);
    }
    let upgrade = fields.one("upgrade").unwrap_or_default();
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nx-origin: {id}\r\nconnection: upgrade\r\nupgrade: {upgrade}\r\n\r\n"
    );
    to.writer.send(head.as_bytes()).await?;
    loop {
        let piece = to.reader.some(64 * 1024).await?;
        to.writer.send(&piece).await?;
        if piece.is_empty() || piece.ends_with(b"bye\n") {
            to.writer.close().await?;
            return Ok(false);
        }
    }
}
