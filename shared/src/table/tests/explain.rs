use super::*;
use crate::table::explain::Why;

fn told(table: &Table, method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> Vec<String> {
    let explained = table.explain(&Query {
        host,
        path,
        method,
        headers: &headers,
    });
    let winner = explained.winner().map(|winner| winner.service.to_string());
    assert_eq!(winner, route_with(table, method, host, path, &headers));
    let line =
        |candidate: &crate::table::Candidate| format!("{}[{}]: {}", candidate.service, candidate.index, candidate.why);
    explained.candidates.iter().map(line).collect()
}

#[test]
fn each_match_is_told_why_it_wins_or_does_not() {
    let table = table(&[
        ("any", "[{}]"),
        ("deep", r#"[{"hosts": ["a.test"], "path_prefix": "/v1/x"}]"#),
        (
            "first",
            r#"[{"hosts": ["a.test"], "path_prefix": "/v1", "priority": 5}]"#,
        ),
        (
            "get",
            r#"[{"hosts": ["a.test"], "path_prefix": "/v1", "methods": ["POST"]}, {"hosts": ["b.test"]}]"#,
        ),
        ("header", r#"[{"hosts": ["a.test"], "headers": {"x-tenant": "blue"}}]"#),
        ("regex", r#"[{"hosts": ["a.test"], "path_regex": "/v1/.*"}]"#),
        ("wild", r#"[{"hosts": ["*.test"]}]"#),
    ]);
    assert_eq!(
        told(&table, "GET", "A.test:80", "/v1/x", &[]),
        [
            "first[0]: it fits, and goes before all others that do",
            "regex[0]: it fits, and the winner has a higher priority",
            "deep[0]: it fits, and the winner has a higher priority",
            "wild[0]: it fits, and the winner names the host more closely",
            "any[0]: it fits, and the winner names the host more closely",
            "header[0]: the header x-tenant is absent, or another",
            "get[0]: it names other methods",
            "get[1]: it is about other hosts",
        ]
    );
    let other = told(&table, "GET", "a.test", "/v2", &[("X-Tenant", "blue")]);
    assert_eq!(other[0], "header[0]: it fits, and goes before all others that do");
    assert!(other.contains(&"deep[0]: it is about other paths".to_owned()));
    assert_eq!(told(&table, "GET", "a.test", "/../x", &[]), [""; 0]);
}

#[test]
fn a_recipient_is_told_likewise_and_a_long_list_ends() {
    let names: Vec<String> = (0..150).map(|n| format!("s{n}")).collect();
    let matches: Vec<String> = (0..150)
        .map(|n| format!(r#"[{{"recipients": ["d{n}.test"]}}]"#))
        .collect();
    let services: Vec<(&str, &str)> = names.iter().zip(&matches).map(|(name, of)| (&**name, &**of)).collect();
    let mut all = services.clone();
    all.push(("box", r#"[{"recipients": ["a@d1.test"]}, {"recipients": ["*.test"]}]"#));
    let table = table(&all);
    let explained = table.explain_mail("A@d1.test");
    assert_eq!((explained.candidates.len(), explained.more), (100, 52));
    let first: Vec<(&str, usize)> = explained
        .candidates
        .iter()
        .map(|c| (c.service.as_str(), c.index))
        .take(3)
        .collect();
    assert_eq!(first, [("box", 0), ("s1", 0), ("box", 1)]);
    assert_eq!(explained.candidates[3].why, Why::Recipient);
    assert!(table.explain_mail("nobody@elsewhere.org").winner().is_none());
}
