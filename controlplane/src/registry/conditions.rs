//! Conditional requests (RFC 9110, 13): the revision of an object is its entity tag, and always a strong one.

use shared::change::Revision;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    pub if_match: Option<Tags>,
    pub if_none_match: Option<Tags>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: any object, as long as there is one.
    Any,
    List(Vec<Tag>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub weak: bool,
    pub opaque: String,
}

impl Conditions {
    pub fn hold(&self, current: Option<Revision>) -> bool {
        let found = |tags: &Tags, strong: bool| current.is_some_and(|revision| tags.name(revision, strong));
        self.if_match.as_ref().is_none_or(|tags| found(tags, true))
            && self.if_none_match.as_ref().is_none_or(|tags| !found(tags, false))
    }
}

impl Tags {
    /// Of a header's value; several fields of one name are joined by commas. `None`: it is no list of tags.
    pub fn parse(text: &str) -> Option<Tags> {
        if text.trim() == "*" {
            return Some(Tags::Any);
        }
        let mut tags = Vec::new();
        let mut rest = text;
        loop {
            rest = rest.trim_start_matches([' ', '\t']);
            let (weak, quoted) = match rest.strip_prefix("W/") {
                Some(quoted) => (true, quoted),
                None => (false, rest),
            };
            let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
            tags.push(Tag {
                weak,
                opaque: opaque.to_owned(),
            });
            rest = after.trim_start_matches([' ', '\t']);
            if rest.is_empty() {
                return Some(Tags::List(tags));
            }
            rest = rest.strip_prefix(',')?;
        }
    }

    /// Strong comparison wants a tag that is not weak; weak comparison does not care.
    fn name(&self, revision: Revision, strong: bool) -> bool {
        match self {
            Tags::Any => true,
            Tags::List(tags) => {
                let own = revision.to_string();
                tags.iter().any(|tag| tag.opaque == own && !(strong && tag.weak))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(if_match: Option<&str>, if_none_match: Option<&str>, current: Option<u64>) -> bool {
        let tags = |text: Option<&str>| text.map(|text| Tags::parse(text).unwrap());
        let conditions = Conditions {
            if_match: tags(if_match),
            if_none_match: tags(if_none_match),
        };
        conditions.hold(current.map(Revision))
    }

    #[test]
    fn if_match_compares_strongly_and_needs_an_object() {
        assert!(hold(Some("\"7\""), None, Some(7)));
        assert!(hold(Some("\"6\", W/\"7\" ,\"7\""), None, Some(7)));
        assert!(hold(Some("*"), None, Some(7)));
        assert!(!hold(Some("W/\"7\""), None, Some(7)));
        assert!(!hold(Some("\"70\""), None, Some(7)));
        assert!(!hold(Some("*"), None, None));
        assert!(!hold(Some("\"7\""), None, None));
    }

    #[test]
    fn if_none_match_creates_only() {
        assert!(hold(None, Some("*"), None));
        assert!(!hold(None, Some("*"), Some(7)));
        assert!(!hold(None, Some("W/\"7\""), Some(7)));
        assert!(hold(None, Some("\"6\""), Some(7)));
    }

    #[test]
    fn what_is_no_list_of_tags_is_told() {
        for text in ["", "7", "\"7", "\"7\",", "\"7\" \"8\"", "w/\"7\"", "*, \"7\""] {
            assert_eq!(Tags::parse(text), None, "{text}");
        }
    }
}
