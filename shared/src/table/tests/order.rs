//! Which match wins, rule by rule.

use super::{route, route_with, table};

#[test]
fn exact_host_before_longest_wildcard_before_any() {
    let table = table(&[
        ("any", r#"[{}]"#),
        ("short", r#"[{"hosts":["*.org"]}]"#),
        ("long", r#"[{"hosts":["*.example.org"]}]"#),
        ("exact", r#"[{"hosts":["a.example.org"]}]"#),
    ]);
    for (host, expected) in [
        ("a.example.org", "exact"),
        ("A.Example.ORG.:8080", "exact"),
        ("b.example.org", "long"),
        ("b.a.example.org", "long"),
        ("example.org", "short"),
        (".example.org", "short"),
        ("org", "any"),
        ("", "any"),
        ("[::1]:80", "any"),
    ] {
        assert_eq!(route(&table, host, "/").as_deref(), Some(expected), "{host}");
    }
}

#[test]
fn a_host_that_is_too_long_is_any_host() {
    let table = table(&[("any", "[{}]"), ("wild", r#"[{"hosts":["*.example.org"]}]"#)]);
    let host = format!("{}example.org", "a.".repeat(200));
    assert_eq!(route(&table, &host, "/").as_deref(), Some("any"));
}

#[test]
fn the_host_outranks_the_priority() {
    let table = table(&[
        ("any", r#"[{"priority":1000}]"#),
        ("exact", r#"[{"hosts":["a.example"],"priority":-1000}]"#),
    ]);
    assert_eq!(route(&table, "a.example", "/").as_deref(), Some("exact"));
}

#[test]
fn priority_then_regex_then_longer_prefix() {
    let table = table(&[
        ("root", r#"[{"path_prefix":"/"}]"#),
        ("short", r#"[{"path_prefix":"/v2"}]"#),
        ("long", r#"[{"path_prefix":"/v2/users/"}]"#),
        ("regex", r#"[{"path_regex":"/v2/users/[0-9]+"}]"#),
        ("first", r#"[{"path_prefix":"/v2/users/7","priority":1}]"#),
    ]);
    for (path, expected) in [
        ("/", "root"),
        ("*", "root"),
        ("/v2", "short"),
        ("/v2/", "short"),
        ("/v2x", "root"),
        ("/v2//users", "short"),
        ("/v2%2Fusers", "root"),
        ("/v2/users", "long"),
        ("/v2/users/x", "long"),
        ("/v2/users/8", "regex"),
        ("/v2/users/%38", "regex"),
        ("/v2/users/8/x", "long"),
        ("/v2/users/7", "first"),
    ] {
        assert_eq!(route(&table, "h", path).as_deref(), Some(expected), "{path}");
    }
}

#[test]
fn more_headers_then_named_methods_then_the_name() {
    let table = table(&[
        ("plain", r#"[{}]"#),
        ("get", r#"[{"methods":["GET"]}]"#),
        ("blue", r#"[{"headers":{"X-Tenant":"blue"}}]"#),
        ("blue-beta", r#"[{"headers":{"x-tenant":"blue","x-beta":"1"}}]"#),
        ("beta", r#"[{"headers":{"x-beta":"1"}}]"#),
    ]);
    for (method, headers, expected) in [
        ("POST", &[][..], "plain"),
        ("GET", &[][..], "get"),
        ("get", &[][..], "plain"),
        ("GET", &[("x-tenant", "red")][..], "get"),
        ("GET", &[("X-Tenant", "blue")][..], "blue"),
        ("GET", &[("x-tenant", "Blue")][..], "get"),
        ("GET", &[("x-tenant", "blue"), ("x-beta", "1")][..], "blue-beta"),
        ("GET", &[("x-tenant", "red"), ("x-beta", "1")][..], "beta"),
        ("GET", &[("x-tenant", "blue"), ("x-beta", "2")][..], "blue"),
    ] {
        assert_eq!(
            route_with(&table, method, "h", "/", &headers).as_deref(),
            Some(expected),
            "{method} {headers:?}"
        );
    }
}

#[test]
fn equal_ranks_go_by_name() {
    let table = table(&[
        ("b", r#"[{"headers":{"x-b":"1"}}]"#),
        ("a", r#"[{"headers":{"x-a":"1"}}]"#),
        ("d", r#"[{"path_regex":"/r/.*"}]"#),
        ("c", r#"[{"path_regex":"/.*"}]"#),
    ]);
    let both: &[(&str, &str)] = &[("x-a", "1"), ("x-b", "1")];
    assert_eq!(route_with(&table, "GET", "h", "/r/x", &both).as_deref(), Some("c"));
    assert_eq!(route_with(&table, "GET", "h", "*", &both).as_deref(), Some("a"));
}

#[test]
fn what_fails_in_method_header_or_path_falls_through_across_hosts() {
    let table = table(&[
        ("any", r#"[{"path_prefix":"/files"}]"#),
        ("wild", r#"[{"hosts":["*.example.org"],"headers":{"x-a":"1"}}]"#),
        (
            "exact",
            r#"[{"hosts":["a.example.org"],"methods":["GET"],"path_prefix":"/api"}]"#,
        ),
    ]);
    let tagged: &[(&str, &str)] = &[("x-a", "1")];
    assert_eq!(route(&table, "a.example.org", "/api").as_deref(), Some("exact"));
    assert_eq!(
        route_with(&table, "POST", "a.example.org", "/api", &tagged).as_deref(),
        Some("wild")
    );
    assert_eq!(
        route_with(&table, "POST", "a.example.org", "/files/x", &()).as_deref(),
        Some("any")
    );
    assert_eq!(route_with(&table, "POST", "a.example.org", "/api", &()), None);
}

#[test]
fn no_match_at_all_is_internal_and_a_bad_path_is_no_route() {
    let table = table(&[("internal", "[]")]);
    assert_eq!(route(&table, "h", "/"), None);
    assert!(table.entry("internal").is_some());
    let open = super::table(&[("any", "[{}]")]);
    for path in ["", "x", "/a/../b", "/a/%2e%2E", "/%zz"] {
        assert_eq!(route(&open, "h", path), None, "{path}");
    }
}
