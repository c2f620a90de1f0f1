//! A message out of what follows DATA (RFC 5321, 4.1.1.4 and 4.5.2).
//!
//! It ends at CRLF.CRLF and nowhere else: who takes anything less for the end reads the rest as commands, which somebody
//! else wrote into a message (CVE-2023-51764).

use memchr::memchr3;

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    LineStart,
    /// After a dot at a line's start.
    Dot,
    /// After a dot alone and its CR.
    DotCr,
    Text,
    /// After a CR.
    Cr,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All was read, and the end is not there.
    More,
    /// The message has ended.
    End,
    /// A bare CR, a bare LF or a NUL: nobody knows any more what is text and what commands.
    Malformed,
}

#[derive(Default)]
pub struct Scanner(Place);

impl Scanner {
    /// Reads on. Appends the message's bytes to `message`; says how many bytes of `input` belonged to it, the end's too.
    pub fn scan(&mut self, input: &[u8], message: &mut Vec<u8>) -> (usize, Progress) {
        let mut read = 0;
        while let Some(&byte) = input.get(read) {
            self.0 = match (self.0, byte) {
                (Place::End, _) => return (read, Progress::End),
                (Place::LineStart, b'.') => Place::Dot,
                (Place::Dot, b'\r') => Place::DotCr,
                (Place::DotCr, b'\n') => {
                    self.0 = Place::End;
                    return (read + 1, Progress::End);
                }
                (Place::Cr, b'\n') => {
                    message.extend_from_slice(b"\r\n");
                    Place::LineStart
                }
                (Place::DotCr | Place::Cr, _) | (_, b'\n' | 0) => return (read, Progress::Malformed),
                (Place::LineStart | Place::Text, b'\r') => Place::Cr,
                (Place::LineStart | Place::Dot | Place::Text, _) => {
                    let rest = &input[read..];
                    let text = memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                    message.extend_from_slice(&rest[..text]);
                    read += text;
                    self.0 = Place::Text;
                    continue;
                }
            };
            read += 1;
        }
        (read, Progress::More)
    }
}

#[cfg(test)]
mod tests;
