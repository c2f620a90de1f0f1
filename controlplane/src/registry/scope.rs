//! Some services, by name or by how their names begin.

use std::fmt;

/// Patterns of one token.
const PATTERNS_MAX: usize = 256;

/// `web`, or `mail-*` for all whose names begin so; `*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Vec<Box<str>>);

impl Scope {
    /// At least one, and each of what names of services are made of.
    pub fn parse(patterns: Vec<String>) -> Result<Scope, String> {
        if patterns.is_empty() || patterns.len() > PATTERNS_MAX {
            return Err(format!("services: 1 to {PATTERNS_MAX} of them are expected"));
        }
        for pattern in &patterns {
            let name = pattern.strip_suffix('*').unwrap_or(pattern);
            let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
            if pattern.is_empty() || name.len() > 63 || !name.bytes().all(fits) {
                return Err(format!(
                    "services: {pattern:?} is neither the name of a service nor, with * at its end, how names begin"
                ));
            }
        }
        Ok(Scope(patterns.into_iter().map(String::into_boxed_str).collect()))
    }

    pub fn has(&self, service: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(beginning) => service.starts_with(beginning),
            None => **pattern == *service,
        })
    }

    /// By the key of an upstream, `service/id`.
    pub fn has_upstream(&self, key: &str) -> bool {
        key.split_once('/').is_some_and(|(service, _)| self.has(service))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(patterns: &[&str]) -> Result<Scope, String> {
        Scope::parse(patterns.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn names_are_whole_and_stars_are_beginnings() {
        let some = scope(&["web", "mail-*"]).unwrap();
        for name in ["web", "mail-", "mail-in"] {
            assert!(some.has(name), "{name}");
        }
        for name in ["", "we", "web2", "mail", "xmail-in"] {
            assert!(!some.has(name), "{name}");
        }
        assert!(scope(&["*"]).unwrap().has("anything"));
        assert!(some.has_upstream("web/10.0.0.1:80") && !some.has_upstream("shop/web") && !some.has_upstream("web"));
    }

    #[test]
    fn what_can_be_no_name_is_refused() {
        for wrong in [&[][..], &[""], &["Web"], &["w*b"], &["**"], &["a/b"], &["web", " "]] {
            assert!(scope(wrong).is_err(), "{wrong:?}");
        }
    }
}
