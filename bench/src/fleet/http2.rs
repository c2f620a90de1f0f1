//! As much of HTTP/2 (RFC 9113) as a client with one long request and a few short ones needs, without any I/O: ten
//! thousand of these must leave the processor to the server that is measured.

use std::io;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest window there is (§6.9.1): what is received here is never held back by flow control.
const WINDOW_MAX: u32 = (1 << 31) - 1;
const WINDOW_INITIAL: i64 = 65_535;
/// Windows are topped up after so many bytes.
const TOP_UP: u32 = 1 << 30;
const HEAD: usize = 9;
const FRAME_MAX: usize = 16 * 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;

const SETTING_ENABLE_PUSH: u16 = 2;
const SETTING_INITIAL_WINDOW: u16 = 4;

#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The head of an answer; whether its status is 200.
    Head {
        stream: u32,
        ok: bool,
    },
    Data {
        stream: u32,
        bytes: &'a [u8],
    },
    /// The last there is of this answer.
    End {
        stream: u32,
    },
}

pub struct Http2 {
    /// To be written to the socket.
    pub out: Vec<u8>,
    /// Of a frame that is not complete yet.
    partial: Vec<u8>,
    next_stream: u32,
    /// What the server lets us send: on the connection, and on the one stream that we send on.
    connection_window: i64,
    stream_window: i64,
    initial_window: i64,
    received: u32,
}

impl Default for Http2 {
    fn default() -> Http2 {
        let mut out = PREFACE.to_vec();
        let mut settings = Vec::new();
        for (id, value) in [(SETTING_ENABLE_PUSH, 0), (SETTING_INITIAL_WINDOW, WINDOW_MAX)] {
            settings.extend(id.to_be_bytes());
            settings.extend(value.to_be_bytes());
        }
        frame(&mut out, SETTINGS, 0, 0, &settings);
        frame(
            &mut out,
            WINDOW_UPDATE,
            0,
            0,
            &(WINDOW_MAX - WINDOW_INITIAL as u32).to_be_bytes(),
        );
        Http2 {
            out,
            partial: Vec::new(),
            next_stream: 1,
            connection_window: WINDOW_INITIAL,
            stream_window: WINDOW_INITIAL,
            initial_window: WINDOW_INITIAL,
            received: 0,
        }
    }
}

impl Http2 {
    /// Begins a POST whose body goes on; only the first request of a connection may be one. Its stream is 1.
    pub fn post(&mut self, authority: &str, path: &str, content_type: &str) {
        // Static table (RFC 7541, appendix A): 3 is POST, 6 http, 4 :path, 1 :authority, 31 content-type.
        let mut block = vec![0x83, 0x86];
        literal(&mut block, &[0x04], path);
        literal(&mut block, &[0x01], authority);
        literal(&mut block, &[0x0f, 31 - 15], content_type);
        self.request(&block, END_HEADERS);
    }

    /// The stream of its answer.
    pub fn get(&mut self, authority: &str, path: &str) -> u32 {
        let mut block = vec![0x82, 0x86];
        literal(&mut block, &[0x04], path);
        literal(&mut block, &[0x01], authority);
        self.request(&block, END_HEADERS | END_STREAM)
    }

    fn request(&mut self, block: &[u8], flags: u8) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        frame(&mut self.out, HEADERS, flags, stream, block);
        stream
    }

    /// Bytes of the first request's body; `false`, and nothing is sent, while the server's window is too small.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        let wanted = bytes.len() as i64;
        if self.connection_window.min(self.stream_window) < wanted || bytes.len() > FRAME_MAX {
            return false;
        }
        self.connection_window -= wanted;
        self.stream_window -= wanted;
        frame(&mut self.out, DATA, 0, 1, bytes);
        true
    }

    /// Takes what the socket gave. An error: the connection is of no use any more.
    pub fn feed(&mut self, bytes: &[u8], mut handle: impl FnMut(Event<'_>)) -> io::Result<()> {
        let held = !self.partial.is_empty();
        let mut joined = std::mem::take(&mut self.partial);
        if held {
            joined.extend_from_slice(bytes);
        }
        let mut rest = if held { &joined[..] } else { bytes };
        while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            if length > FRAME_MAX {
                return Err(io::Error::other("a frame beyond SETTINGS_MAX_FRAME_SIZE"));
            }
            let Some((payload, next)) = after.split_at_checked(length) else {
                break;
            };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & WINDOW_MAX;
            self.take(head[3], head[4], stream, payload, &mut handle)?;
            rest = next;
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn take(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
        handle: &mut impl FnMut(Event<'_>),
    ) -> io::Result<()> {
        match kind {
            DATA => {
                self.top_up(stream, payload.len());
                handle(Event::Data {
                    stream,
                    bytes: unpadded(flags, payload)?,
                });
            }
            HEADERS => {
                let block = unpadded(flags, payload)?;
                let block = if flags & PRIORITY > 0 {
                    block.get(5..).unwrap_or_default()
                } else {
                    block
                };
                handle(Event::Head {
                    stream,
                    ok: is_ok(block),
                });
            }
            SETTINGS if flags & ACK == 0 => self.settings(payload),
            PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, payload),
            WINDOW_UPDATE => {
                let increment = i64::from(payload.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)));
                match stream {
                    0 => self.connection_window += increment,
                    1 => self.stream_window += increment,
                    _ => {}
                }
            }
            RESET if stream == 1 => return Err(io::Error::other("the stream was reset")),
            RESET => handle(Event::End { stream }),
            GOAWAY => return Err(io::Error::other("the server sent GOAWAY")),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM > 0 {
            handle(Event::End { stream });
        }
        Ok(())
    }

    fn settings(&mut self, payload: &[u8]) {
        for setting in payload.chunks_exact(6) {
            let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
            if u16::from_be_bytes([setting[0], setting[1]]) == SETTING_INITIAL_WINDOW {
                self.stream_window += i64::from(value) - self.initial_window;
                self.initial_window = i64::from(value);
            }
        }
        frame(&mut self.out, SETTINGS, ACK, 0, &[]);
    }

    /// Only the connection's and the long stream's windows can run low.
    fn top_up(&mut self, stream: u32, length: usize) {
        self.received += length as u32;
        if self.received > TOP_UP {
            let increment = self.received.to_be_bytes();
            self.received = 0;
            frame(&mut self.out, WINDOW_UPDATE, 0, 0, &increment);
            if stream == 1 {
                frame(&mut self.out, WINDOW_UPDATE, 0, 1, &increment);
            }
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A field that is not to be indexed: `name` says its index, the value is sent as it is. At most 126 bytes.
fn literal(block: &mut Vec<u8>, name: &[u8], value: &str) {
    debug_assert!(value.len() < 127);
    block.extend_from_slice(name);
    block.push(value.len() as u8);
    block.extend_from_slice(value.as_bytes());
}

fn unpadded(flags: u8, payload: &[u8]) -> io::Result<&[u8]> {
    if flags & PADDED == 0 {
        return Ok(payload);
    }
    let (padding, rest) = payload.split_first().ok_or(io::ErrorKind::InvalidData)?;
    let length = rest
        .len()
        .checked_sub(usize::from(*padding))
        .ok_or(io::ErrorKind::InvalidData)?;
    Ok(&rest[..length])
}

/// `:status: 200` is entry 8 of the static table, and every encoder takes it; a change of the dynamic table's size
/// (001xxxxx) may stand before it.
fn is_ok(block: &[u8]) -> bool {
    block.iter().find(|byte| **byte >> 5 != 1) == Some(&0x88)
}

#[cfg(test)]
mod tests;
