//! What patterns take, and what is known of them, beside the regular expressions that they are.

use regex::RegexBuilder;

use super::{Case, Form, Pattern, Precision, Several};

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text, Case::Matters).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The plainest reading: `^` before it, and the case as said.
fn takes(text: &str, case: Case, of: &str) -> bool {
    let expression = RegexBuilder::new(&format!(r"\A(?:{text})"))
        .case_insensitive(case == Case::Ignored)
        .build();
    expression.unwrap().is_match(of)
}

const PATTERNS: [&str; 51] = [
    "",
    ".*",
    "^.*$",
    "^",
    "$",
    "^$",
    "a",
    "abc",
    "abc$",
    "^abc$",
    r"\Aabc\z",
    "(abc)",
    "(?:abc)$",
    "abc.*",
    "abc.*$",
    "a|ab|abc",
    "a|ab$",
    "(a|ab|abc)$",
    "a$|abc",
    "GET|POST",
    "(GET|POST)$",
    "[ab]c",
    "[a-z]+",
    "a?b",
    "(a|b)*",
    "ab*",
    "ab+c",
    "a{2}",
    r"alice@example\.com",
    r"alice@example\.com$",
    "alice@example.com",
    "a.b.c$",
    "a..",
    ".c$",
    ".*c.d",
    r".*@example\.com$",
    r".+@example\.(com|org)$",
    ".+",
    ".",
    "(?i)abc",
    "(?-i)abc",
    "ab(?i)c",
    r"abc\b",
    r"\babc",
    r"\Babc",
    "/v1/",
    "/v[12]/x",
    "/%2F",
    "é",
    "é|e",
    "a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r",
];

const TEXTS: [&str; 27] = [
    "",
    "a",
    "A",
    "ab",
    "abc",
    "ABC",
    "aBc",
    "abcd",
    "abc d",
    "b",
    "bc",
    "abbbc",
    "aa",
    "GET",
    "get",
    "POST",
    "alice@example.com",
    "alice@exampleXcom",
    "alice@example.com.evil",
    "bob@example.org",
    "/v1/",
    "/v1",
    "/v2/x",
    "/%2F",
    "é",
    "é abc",
    "e",
];

#[test]
fn a_pattern_takes_what_its_expression_takes_at_the_start() {
    for case in [Case::Matters, Case::Ignored] {
        for text in PATTERNS {
            let parsed = Pattern::parse(text, case).unwrap_or_else(|error| panic!("{text}: {error}"));
            for of in TEXTS {
                assert_eq!(
                    parsed.matches(of),
                    takes(text, case, of),
                    "{text:?} {case:?} {of:?} {:?}",
                    parsed.form()
                );
            }
        }
    }
}

#[test]
fn several_take_what_each_takes() {
    let all: Vec<Pattern> = PATTERNS.iter().map(|text| pattern(text)).collect();
    let several = Several::of(all.iter()).unwrap();
    for of in TEXTS {
        let mut found = Vec::new();
        several.matching(of, |index| found.push(index));
        let expected: Vec<usize> = (0..all.len()).filter(|index| all[*index].matches(of)).collect();
        assert_eq!(found, expected, "{of}");
    }
}

#[test]
fn no_beginning_is_missed_and_none_is_there_twice() {
    for text in PATTERNS {
        let parsed = pattern(text);
        let begins: Vec<Vec<u8>> = match parsed.form() {
            Form::Any => continue,
            Form::Literals(literals) => literals.iter().map(|literal| literal.text.to_vec()).collect(),
            Form::Dotted { parts, .. } => vec![parts[0].to_vec()],
            Form::Regex { begins, .. } => begins.iter().map(|begin| begin.to_vec()).collect(),
        };
        for of in TEXTS.iter().filter(|of| parsed.matches(of)) {
            let fitting = begins.iter().filter(|begin| of.as_bytes().starts_with(begin)).count();
            assert!(begins.is_empty() || fitting > 0, "{text:?} {of:?} {begins:?}");
        }
    }
}

#[test]
fn what_needs_not_be_run_is_not() {
    let known = |text: &str| match pattern(text).form() {
        Form::Any => "any".to_owned(),
        Form::Literals(literals) => {
            let shown = literals.iter().map(|literal| {
                let end = if literal.is_whole { "$" } else { "" };
                format!("{}{end}", String::from_utf8_lossy(&literal.text))
            });
            shown.collect::<Vec<_>>().join(" ")
        }
        Form::Dotted { parts, is_whole } => {
            let shown: Vec<_> = parts.iter().map(|part| String::from_utf8_lossy(part)).collect();
            shown.join(" . ") + if *is_whole { "$" } else { "" }
        }
        Form::Regex { begins, .. } => {
            let shown = begins.iter().map(|begin| String::from_utf8_lossy(begin));
            format!("run: {}", shown.collect::<Vec<_>>().join(" "))
        }
    };
    for (text, expected) in [
        ("^.*", "any"),
        ("(a|b)*", "any"),
        ("abc", "abc"),
        ("^abc$", "abc$"),
        ("^$", "$"),
        ("abc.*", "run: abc"),
        ("a|ab|abc", "a"),
        ("(a|ab|abc)$", "a$ ab$ abc$"),
        ("a|b", "a b"),
        (r"alice@example\.com", "alice@example.com"),
        ("alice@example.com", "alice@example . com"),
        ("^alice.b@example.com$", "alice . b@example . com$"),
        ("(?s)a.b", "run: a"),
        ("(?i)ab", "AB Ab aB ab"),
        (r".*@example\.com$", "run: "),
        ("a$|abc", "run: a"),
    ] {
        assert_eq!(known(text), expected, "{text}");
    }
}

#[test]
fn what_says_more_is_more_precise() {
    let precision = |text: &str| pattern(text).precision();
    assert_eq!(precision("^abc$"), Precision::Whole);
    assert_eq!(precision("abc"), Precision::Prefix);
    assert_eq!(precision("abc.*d"), Precision::Regex);
    assert_eq!(precision("^.*$"), Precision::Any);
    assert!(Precision::Whole < Precision::Prefix && Precision::Prefix < Precision::Regex);
    assert!(Precision::Regex < Precision::Any);
}
