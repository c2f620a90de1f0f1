//! `<local@domain>` (RFC 5321, 4.1.2; RFC 6531, 3.3).

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::smtp::{Mailbox, ReversePath};

/// RFC 5321, 4.5.3.1 wants at least 64: senders that write the recipient or a signature into theirs need more.
const LOCAL_BYTES_MAX: usize = 256;
const DOMAIN_BYTES_MAX: usize = 255;

/// The path that the text begins with, and what follows it.
pub(super) fn reverse(text: &str) -> Option<(ReversePath, &str)> {
    if let Some(rest) = text.strip_prefix("<>") {
        return Some((ReversePath::Null, rest));
    }
    let (mailbox, rest) = bracketed(text)?;
    // Nobody can answer to it.
    (!mailbox.domain().is_empty()).then_some((ReversePath::Of(mailbox), rest))
}

pub(super) fn forward(text: &str) -> Option<(Mailbox, &str)> {
    bracketed(text)
}

fn bracketed(text: &str) -> Option<(Mailbox, &str)> {
    let text = unrouted(text.strip_prefix('<')?)?;
    let local = local(text)?;
    let after = &text[local..];
    if let Some(rest) = after.strip_prefix('>') {
        // RFC 5321, 4.1.1.3: the one recipient without a domain.
        let is_postmaster = text[..local].eq_ignore_ascii_case("postmaster");
        return is_postmaster.then(|| (Mailbox::of(&text[..local]), rest));
    }
    let after = after.strip_prefix('@')?;
    let domain = after.find('>')?;
    let is_valid = (1..=LOCAL_BYTES_MAX).contains(&local) && is_domain(&after[..domain]);
    is_valid.then(|| (Mailbox::of(&text[..local + 1 + domain]), &after[domain + 1..]))
}

/// Source routes are to be taken and forgotten (RFC 5321, appendix C): `@one,@two:`.
fn unrouted(text: &str) -> Option<&str> {
    if !text.starts_with('@') {
        return Some(text);
    }
    let (route, rest) = text.split_once(':')?;
    let is_route = route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(is_domain));
    is_route.then_some(rest)
}

/// The length of the local part that the text begins with.
fn local(text: &str) -> Option<usize> {
    if text.starts_with('"') {
        return quoted(text);
    }
    // Two dots in a row are no address by the book, and are somebody's.
    let is_atom =
        |char: char| char.is_ascii_alphanumeric() || !char.is_ascii() || "!#$%&'*+-/=?^_`{|}~.".contains(char);
    let end = text.find(|char| !is_atom(char))?;
    (end > 0).then_some(end)
}

/// Controls have been refused before.
fn quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn is_domain(text: &str) -> bool {
    if let Some(literal) = text.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(is_address);
    }
    let is_label = |label: &str| {
        let is_fit = |char: char| {
            char.is_ascii_alphanumeric() || "-_".contains(char) || !char.is_ascii() && !char.is_whitespace()
        };
        !label.is_empty() && label.chars().all(is_fit)
    };
    text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(is_label)
}

fn is_address(text: &str) -> bool {
    match text.split_at_checked("IPv6:".len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().is_ok(),
        _ => text.parse::<Ipv4Addr>().is_ok(),
    }
}
