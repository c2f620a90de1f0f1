//! Bodies: their framing (RFC 9112, section 6), read piece by piece.

use std::io;

use super::{Fields, Head, Reader, invalid};

const BODY_MAX: usize = 64 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// Between chunks.
    Chunked,
    /// So many bytes of the current chunk are left.
    Chunk(u64),
    /// Until the connection ends; answers only.
    Close,
}

#[derive(Debug)]
pub struct Body {
    pub framing: Framing,
    pub trailers: Fields,
}

impl Body {
    fn new(framing: Framing) -> Body {
        Body {
            framing,
            trailers: Fields::default(),
        }
    }

    fn framed(fields: &Fields) -> io::Result<Option<Framing>> {
        let coded: Vec<&str> = fields.all("transfer-encoding").collect();
        match (coded.as_slice(), fields.length()?) {
            ([], None) => Ok(None),
            ([], Some(length)) => Ok(Some(Framing::Length(length))),
            ([coding], None) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
            _ => Err(invalid(format!("framing: {coded:?} with a content-length"))),
        }
    }

    /// Of the answer to a request of this method.
    pub fn of_answer(head: &Head, method: &str) -> io::Result<Body> {
        let framing = Body::framed(&head.fields)?;
        let bodiless = method == "HEAD" || matches!(head.status, 100..200 | 204 | 304);
        Ok(Body::new(if bodiless {
            Framing::Length(0)
        } else {
            framing.unwrap_or(Framing::Close)
        }))
    }

    pub fn of_request(fields: &Fields) -> io::Result<Body> {
        Ok(Body::new(Body::framed(fields)?.unwrap_or(Framing::Length(0))))
    }

    /// The next bytes as they came; `None` at the body's proper end, an error at any other end.
    pub async fn next(&mut self, reader: &mut Reader) -> io::Result<Option<Vec<u8>>> {
        loop {
            match self.framing {
                Framing::Length(0) => return Ok(None),
                Framing::Length(left) => {
                    let piece = piece(reader, left).await?;
                    self.framing = Framing::Length(left - piece.len() as u64);
                    return Ok(Some(piece));
                }
                Framing::Close => {
                    let piece = reader.some(usize::MAX).await?;
                    return Ok(if piece.is_empty() { None } else { Some(piece) });
                }
                Framing::Chunked => {
                    let line = reader
                        .line()
                        .await?
                        .ok_or_else(|| invalid("the end came between chunks"))?;
                    let size = u64::from_str_radix(line.split(';').next().unwrap_or_default(), 16);
                    match size.map_err(|_| invalid(format!("no chunk size: `{line}`")))? {
                        0 => {
                            self.trailers = reader.fields().await?;
                            self.framing = Framing::Length(0);
                        }
                        size => self.framing = Framing::Chunk(size),
                    }
                }
                Framing::Chunk(left) => {
                    let piece = piece(reader, left).await?;
                    match left - piece.len() as u64 {
                        0 if reader.exact(2).await? == b"\r\n" => self.framing = Framing::Chunked,
                        0 => return Err(invalid("no CRLF after a chunk")),
                        left => self.framing = Framing::Chunk(left),
                    }
                    return Ok(Some(piece));
                }
            }
        }
    }

    pub async fn all(&mut self, reader: &mut Reader) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next(reader).await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > BODY_MAX {
                return Err(invalid("a body without an end"));
            }
        }
        Ok(bytes)
    }
}

async fn piece(reader: &mut Reader, left: u64) -> io::Result<Vec<u8>> {
    let piece = reader.some(left.min(usize::MAX as u64) as usize).await?;
    if piece.is_empty() {
        Err(invalid(format!("the body ended {left} bytes early")))
    } else {
        Ok(piece)
    }
}
