//! The form in which paths are compared.

use std::borrow::Cow;

use crate::model::path::normalise;
use crate::model::{BadPath, PathPrefix, PathRegex};

#[test]
fn unreserved_characters_are_decoded_and_nothing_else() {
    for (raw, form) in [
        ("/", "/"),
        ("*", "*"),
        ("/%6Cogin", "/login"),
        ("/%7euser/%2D%5f", "/~user/-_"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb", "/a%2Fb"),
        ("/%25%34%31", "/%2541"),
        ("/%2541", "/%2541"),
        ("//a//", "//a//"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("/.a/a./...", "/.a/a./..."),
        ("/%2e%2e%2e", "/..."),
        ("/..%2f", "/..%2F"),
    ] {
        let normal = normalise(raw).unwrap_or_else(|error| panic!("{raw}: {error}"));
        assert_eq!(normal, form, "{raw}");
        assert_eq!(normalise(&normal).unwrap(), form, "{raw} again");
        assert_eq!(
            matches!(normal, Cow::Borrowed(_)),
            raw == form,
            "{raw} is copied only to change it"
        );
    }
}

#[test]
fn bad_paths_are_told_apart() {
    for (path, bad) in [
        ("", BadPath::NotAbsolute),
        ("a", BadPath::NotAbsolute),
        ("**", BadPath::NotAbsolute),
        ("http://a/", BadPath::NotAbsolute),
        ("/.", BadPath::DotSegment),
        ("/..", BadPath::DotSegment),
        ("/a/./b", BadPath::DotSegment),
        ("/a/..", BadPath::DotSegment),
        ("/%2e", BadPath::DotSegment),
        ("/a/%2E./b", BadPath::DotSegment),
        ("/.%2e/", BadPath::DotSegment),
        ("/%", BadPath::Escape),
        ("/%4", BadPath::Escape),
        ("/%zz", BadPath::Escape),
        ("/%+1", BadPath::Escape),
        ("/%4ä", BadPath::Escape),
    ] {
        assert_eq!(normalise(path), Err(bad), "{path}");
    }
}

#[test]
fn prefixes_end_at_segment_boundaries() {
    for (prefix, path, matches) in [
        ("/v2", "/v2", true),
        ("/v2", "/v2/", true),
        ("/v2/", "/v2", true),
        ("/v2/", "/v2/x", true),
        ("/v2", "/v2x", false),
        ("/v2", "/v", false),
        ("/v2", "/V2", false),
        ("/", "/", true),
        ("/", "/x", true),
        ("/", "*", true),
        ("/v2//", "/v2", false),
        ("/v2//", "/v2/", true),
        ("/%6Cogin", "/login", true),
    ] {
        let prefix = PathPrefix::try_from(prefix).unwrap();
        assert_eq!(prefix.matches(path), matches, "{} {path}", prefix.as_str());
    }
}

#[test]
fn a_regex_matches_the_whole_path() {
    for (regex, path, matches) in [
        ("/a", "/a", true),
        ("/a", "/ab", false),
        ("/a", "x/a", false),
        ("/a|/ab", "/ab", true),
        ("(?i)/A", "/a", true),
        ("(?x) / a ", "/a", true),
        ("(?m)/a$", "/a", true),
        ("(?m)/a$", "/a\nb", false),
        ("", "/", false),
    ] {
        let regex = PathRegex::try_from(regex).unwrap();
        assert_eq!(regex.matches(path), matches, "{} {path}", regex.as_str());
    }
}
