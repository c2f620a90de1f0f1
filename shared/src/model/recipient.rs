//! Addresses of recipients (RFC 5321, 4.1.2; RFC 6531, 3.3) and the patterns that match them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::host::is_dns_name;

/// RFC 5321, 4.5.3.1.1 and 4.5.3.1.2
const LOCAL_BYTES_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 255;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecipientPattern {
    /// One mailbox, in canonical form.
    Address(Arc<str>),
    /// Every mailbox of a domain, which is in canonical form.
    Domain(Arc<str>),
    /// `*.example.org`, held as `example.org`: any number of labels before it, not the domain itself.
    Subdomains(Arc<str>),
    /// `*`
    Any,
}

impl fmt::Display for RecipientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecipientPattern::Address(address) => match address.rsplit_once('@') {
                Some((local, domain)) if !is_dot_string(local) => write!(f, "\"{}\"@{domain}", escaped(local)),
                _ => f.write_str(address),
            },
            RecipientPattern::Domain(domain) => f.write_str(domain),
            RecipientPattern::Subdomains(suffix) => write!(f, "*.{suffix}"),
            RecipientPattern::Any => f.write_str("*"),
        }
    }
}

impl TryFrom<&str> for RecipientPattern {
    type Error = &'static str;

    fn try_from(text: &str) -> Result<RecipientPattern, &'static str> {
        if text == "*" {
            return Ok(RecipientPattern::Any);
        }
        let of = Canonical::of(text);
        let Some(local) = of.local() else {
            return match of.domain().strip_prefix("*.") {
                Some(suffix) if is_domain(suffix) => Ok(RecipientPattern::Subdomains(suffix.into())),
                None if is_domain(of.domain()) => Ok(RecipientPattern::Domain(of.domain().into())),
                _ => Err(RULE),
            };
        };
        if local == "*" {
            return Err("all addresses of a domain are written as the domain alone");
        }
        let given = text.rsplit_once('@').map_or("", |(local, _)| local);
        let is_local = local.len() <= LOCAL_BYTES_MAX && (is_dot_string(given) || is_quoted_string(given));
        match is_local && !local.is_empty() && is_domain(of.domain()) {
            true => Ok(RecipientPattern::Address(of.as_str().into())),
            false => Err(RULE),
        }
    }
}

const RULE: &str = "a recipient is an address, a domain, \"*.\" and a domain, or \"*\"";

/// An address in the form in which recipients are compared: quotes that say nothing and one final dot of the domain
/// removed, in lower case. International domains are not translated: one that may come in both forms stands in both.
pub struct Canonical {
    text: String,
    /// Where the `@` stands; none: the whole is a domain, or no address.
    at: Option<usize>,
}

impl Canonical {
    /// Of an address as sent, without angle brackets.
    pub fn of(raw: &str) -> Canonical {
        let (local, domain) = match raw.rsplit_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, raw),
        };
        let domain = domain.strip_suffix('.').unwrap_or(domain).to_lowercase();
        let Some(local) = local else {
            return Canonical { text: domain, at: None };
        };
        let mut text = unquoted(local).to_lowercase();
        let at = Some(text.len());
        text.push('@');
        text.push_str(&domain);
        Canonical { text, at }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn local(&self) -> Option<&str> {
        Some(&self.text[..self.at?])
    }

    pub fn domain(&self) -> &str {
        self.at.map_or(&self.text, |at| &self.text[at + 1..])
    }
}

/// RFC 5321, 4.1.2: a quoted string means what it holds.
fn unquoted(local: &str) -> Cow<'_, str> {
    let inner = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else {
        return Cow::Borrowed(local);
    };
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '\\' => chars.next().unwrap_or('\\'),
            c => c,
        });
    }
    Cow::Owned(text)
}

fn escaped(local: &str) -> String {
    let escape = |c: char| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]);
    local.chars().flat_map(escape).collect()
}

fn is_dot_string(text: &str) -> bool {
    let is_atext = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    text.split('.')
        .all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
        && !text.chars().any(char::is_control)
}

fn is_quoted_string(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inner) = inner else { return false };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let meant = if c == '\\' {
            chars.next()
        } else {
            Some(c).filter(|c| *c != '"')
        };
        if meant.is_none_or(char::is_control) {
            return false;
        }
    }
    true
}

/// In lower case. Labels of an international domain are only held to be no other part of an address.
fn is_domain(name: &str) -> bool {
    if name.is_ascii() {
        return is_dns_name(name);
    }
    let is_inner =
        |c: char| c.is_alphanumeric() || c == '-' || c == '_' || !(c.is_ascii() || c.is_control() || c.is_whitespace());
    name.len() <= DOMAIN_BYTES_MAX
        && name
            .split('.')
            .all(|label| !label.is_empty() && label.chars().all(is_inner))
}
