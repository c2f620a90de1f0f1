//! What routing needs to know of a request.

/// Borrowed views of one request.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// As received: port, final dot and upper case are understood.
    pub host: &'a str,
    /// As received or as `path::normalise` made it, without the query.
    pub path: &'a str,
    pub method: &'a str,
    pub headers: &'a dyn Headers,
}

/// A request's headers.
pub trait Headers {
    /// The value of the header with this name, which is in lower case; the first one when there are several. None also
    /// for a value that is no visible ASCII.
    fn header(&self, name: &str) -> Option<&str>;
}

/// No headers at all.
impl Headers for () {
    fn header(&self, _: &str) -> Option<&str> {
        None
    }
}

impl Headers for &[(&str, &str)] {
    fn header(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }
}
