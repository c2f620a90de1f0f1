//! Request paths: the form in which they are compared, and what a match demands of them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use regex::Regex;

/// A path that is answered 400 instead of routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// It begins neither with `/` nor is it the `*` of OPTIONS.
    NotAbsolute,
    /// `.` or `..`, in any spelling: what the upstream makes of it is not what was compared.
    DotSegment,
    /// A `%` without two hexadecimal digits behind it.
    Escape,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadPath::NotAbsolute => "the path does not begin with a slash",
            BadPath::DotSegment => "the path holds a dot segment",
            BadPath::Escape => "the path holds a percent sign without two hexadecimal digits",
        })
    }
}

impl std::error::Error for BadPath {}

/// The form in which paths are compared: percent-encoded unreserved characters decoded, the remaining escapes in upper
/// case (RFC 3986, 6.2.2). `%2F` is no separator and `//` stays. Idempotent; allocates only where it changes something.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if !path.starts_with('/') && path != "*" {
        return Err(BadPath::NotAbsolute);
    }
    let path = if path.contains('%') {
        decode(path)?
    } else {
        Cow::Borrowed(path)
    };
    match has_dot_segment(&path) {
        true => Err(BadPath::DotSegment),
        false => Ok(path),
    }
}

fn has_dot_segment(path: &str) -> bool {
    path.contains("/.") && path.split('/').any(|segment| segment == "." || segment == "..")
}

/// Whether every `%` has two hexadecimal digits behind it.
pub fn is_escaped(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let code = rest.as_bytes().get(..2);
        code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit))
    })
}

fn decode(path: &str) -> Result<Cow<'_, str>, BadPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        let code = escape
            .get(1..3)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .ok_or(BadPath::Escape)?;
        let byte = u8::from_str_radix(code, 16).map_err(|_| BadPath::Escape)?;
        decoded.push_str(before);
        if is_unreserved(byte) {
            decoded.push(char::from(byte));
        } else {
            decoded.push('%');
            decoded.push_str(&code.to_ascii_uppercase());
        }
        rest = &escape[3..];
    }
    decoded.push_str(rest);
    Ok(if decoded == path {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(decoded)
    })
}

/// RFC 3986, 2.3
pub(super) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What a match demands of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// Nothing.
    Any,
    Prefix(PathPrefix),
    Regex(PathRegex),
}

/// A prefix that ends at a segment boundary: `/v2` and `/v2/` both match `/v2` and `/v2/x`, not `/v2x`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix {
    given: Arc<str>,
    /// As paths are compared, and without one final slash; empty for `/`.
    compared: Arc<str>,
}

impl PathPrefix {
    const BYTES_MAX: usize = 2048;

    pub fn as_str(&self) -> &str {
        &self.given
    }

    /// In the form of `normalise`, without one final slash.
    pub fn compared(&self) -> &Arc<str> {
        &self.compared
    }

    /// Whether it matches a path in the form of `normalise`.
    pub fn matches(&self, path: &str) -> bool {
        path.strip_prefix(&*self.compared)
            .is_some_and(|rest| self.compared.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }
}

impl TryFrom<&str> for PathPrefix {
    type Error = String;

    fn try_from(text: &str) -> Result<PathPrefix, String> {
        if text.len() > Self::BYTES_MAX {
            return Err(format!("at most {} bytes are accepted", Self::BYTES_MAX));
        }
        if !text.starts_with('/') {
            return Err("a prefix begins with a slash".to_owned());
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#') {
            return Err(
                "a prefix holds no query, fragment, white space or bytes that a URL percent-encodes".to_owned(),
            );
        }
        let compared = normalise(text).map_err(|bad| bad.to_string())?;
        Ok(PathPrefix {
            given: text.into(),
            compared: compared.strip_suffix('/').unwrap_or(&compared).into(),
        })
    }
}

/// A regular expression that must match the whole path (syntax of the `regex` crate).
#[derive(Clone, Debug)]
pub struct PathRegex {
    source: Arc<str>,
    compiled: Regex,
}

impl PathRegex {
    const BYTES_MAX: usize = 4096;
    /// Compiled programs above it are refused; one service must not cost the fleet its memory.
    const PROGRAM_BYTES_MAX: usize = 1 << 19;

    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether it matches a path in the form of `normalise`, whole.
    pub fn matches(&self, path: &str) -> bool {
        self.compiled.is_match(path)
    }
}

impl TryFrom<&str> for PathRegex {
    type Error = String;

    fn try_from(text: &str) -> Result<PathRegex, String> {
        if text.len() > Self::BYTES_MAX {
            return Err(format!("at most {} bytes are accepted", Self::BYTES_MAX));
        }
        let compile = |pattern: &str| {
            regex::RegexBuilder::new(pattern)
                .size_limit(Self::PROGRAM_BYTES_MAX)
                .dfa_size_limit(Self::PROGRAM_BYTES_MAX)
                .nest_limit(64)
                .build()
                .map_err(|error| error.to_string())
        };
        // By itself first: "a)|(b" is valid only between the parentheses that anchor it.
        compile(text)?;
        let compiled = compile(&format!(r"\A(?:{text})\z"))?;
        Ok(PathRegex {
            source: text.into(),
            compiled,
        })
    }
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &PathRegex) -> bool {
        self.source == other.source
    }
}

impl Eq for PathRegex {}
