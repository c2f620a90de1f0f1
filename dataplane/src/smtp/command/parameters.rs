//! What follows the path: ` KEYWORD[=VALUE]`, each once (RFC 5321, 4.1.2).

use super::Mail;
use crate::smtp::{BodyType, Notification, Reply, ReversePath, replies};

/// RFC 3461, 4.4 and 4.2
const ENVID_BYTES_MAX: usize = 100;
const ORIGINAL_BYTES_MAX: usize = 500;
/// RFC 1870, 3
const SIZE_DIGITS_MAX: usize = 20;

type Parameter<'a> = (String, Option<&'a str>);

fn each(text: &str) -> Result<Vec<Parameter<'_>>, Reply> {
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(replies::BAD_PARAMETER);
    }
    let mut all: Vec<Parameter<'_>> = Vec::new();
    for parameter in text.split(' ').filter(|parameter| !parameter.is_empty()) {
        let (keyword, value) = match parameter.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (parameter, None),
        };
        let keyword = keyword.to_ascii_uppercase();
        if all.iter().any(|(other, _)| *other == keyword) {
            return Err(replies::BAD_PARAMETER);
        }
        all.push((keyword, value));
    }
    Ok(all)
}

pub(super) fn mail(sender: ReversePath, text: &str) -> Result<Mail, Reply> {
    let mut mail = Mail {
        sender,
        size: None,
        body: BodyType::SevenBit,
        is_utf8: false,
        ret: None,
        envid: None,
    };
    for (keyword, value) in each(text)? {
        match (keyword.as_str(), value) {
            ("SIZE", Some(value)) => mail.size = Some(size(value)?),
            ("BODY", Some(value)) => mail.body = body(value)?,
            ("SMTPUTF8", None) => mail.is_utf8 = true,
            // RFC 4954, 5: who submitted it elsewhere. We believe nobody.
            ("AUTH", Some(value)) if is_xtext(value) => {}
            ("RET", Some(value)) if is_one_of(value, &["FULL", "HDRS"]) => mail.ret = Some(value.to_owned()),
            ("ENVID", Some(value)) if value.len() <= ENVID_BYTES_MAX && is_xtext(value) => {
                mail.envid = Some(value.to_owned());
            }
            ("SIZE" | "BODY" | "SMTPUTF8" | "AUTH" | "RET" | "ENVID", _) => return Err(replies::BAD_PARAMETER),
            _ => return Err(replies::UNKNOWN_PARAMETER),
        }
    }
    Ok(mail)
}

pub(super) fn recipient(text: &str) -> Result<Notification, Reply> {
    let mut notification = Notification::default();
    for (keyword, value) in each(text)? {
        match (keyword.as_str(), value) {
            ("NOTIFY", Some(value)) if is_notify(value) => notification.notify = Some(value.to_owned()),
            ("ORCPT", Some(value)) if is_original(value) => notification.original = Some(value.to_owned()),
            ("NOTIFY" | "ORCPT", _) => return Err(replies::BAD_PARAMETER),
            _ => return Err(replies::UNKNOWN_PARAMETER),
        }
    }
    Ok(notification)
}

/// More than can be counted is more than is taken anywhere.
fn size(value: &str) -> Result<u64, Reply> {
    let is_number = (1..=SIZE_DIGITS_MAX).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    match is_number {
        true => Ok(value.parse().unwrap_or(u64::MAX)),
        false => Err(replies::BAD_PARAMETER),
    }
}

fn body(value: &str) -> Result<BodyType, Reply> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Ok(BodyType::SevenBit),
        "8BITMIME" => Ok(BodyType::EightBitMime),
        _ => Err(replies::BAD_PARAMETER),
    }
}

fn is_one_of(value: &str, words: &[&str]) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(value))
}

fn is_notify(value: &str) -> bool {
    let mut words = value.split(',');
    let is_list = |word: &str| is_one_of(word, &["SUCCESS", "FAILURE", "DELAY"]);
    is_one_of(value, &["NEVER"]) || value.len() <= "SUCCESS,FAILURE,DELAY".len() && words.all(is_list)
}

/// `rfc822;a@b`. With SMTPUTF8 it may hold more than ASCII (RFC 6533, 3).
fn is_original(value: &str) -> bool {
    let Some((kind, address)) = value.split_once(';') else {
        return false;
    };
    let is_kind = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_fit = |char: char| !char.is_ascii() || char.is_ascii_graphic();
    value.len() <= ORIGINAL_BYTES_MAX
        && !kind.is_empty()
        && kind.bytes().all(is_kind)
        && !address.is_empty()
        && address.chars().all(is_fit)
}

/// RFC 3461, 4: printable, and `+` only before two digits in base 16.
fn is_xtext(value: &str) -> bool {
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let is_fit = match byte {
            b'+' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|digit| digit.is_ascii_hexdigit())),
            b'=' => false,
            _ => byte.is_ascii_graphic(),
        };
        if !is_fit {
            return false;
        }
    }
    !value.is_empty()
}
