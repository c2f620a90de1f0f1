//! The page itself: open to all, whole in the binary, and nothing but it may run in it.

use crate::plane::{Plane, Reply};

/// What the page and its files name: `href`, `src`, and what modules import.
fn named(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (mark, folder) in [("href=\"/", "/"), ("src=\"/", "/"), (" from \"./", "/dashboard/")] {
        for rest in text.split(mark).skip(1) {
            let name = rest.split('"').next().unwrap();
            found.push(format!("{folder}{name}"));
        }
    }
    found
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.headers[name].to_str().unwrap()
}

const TOKENS: &str = "[[token]]\nname = \"ci\"\nrole = \"admin\"\n\
                      sha256 = \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"\n";

#[tokio::test]
async fn every_file_of_the_page_is_there_and_guarded() {
    for plane in [Plane::start().await, Plane::start_with_tokens(TOKENS).await] {
        let mut seen = vec!["/".to_owned(), "/docs".to_owned()];
        let mut at = 0;
        while let Some(path) = seen.get(at).cloned() {
            at += 1;
            let reply = plane.get(&path).await.expect(200);
            assert_eq!(header(&reply, "x-content-type-options"), "nosniff", "{path}");
            assert_eq!(header(&reply, "cache-control"), "no-cache", "{path}");
            let policy = header(&reply, "content-security-policy");
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}");
            assert!(!policy.contains("unsafe"), "{path}");
            for name in named(&reply.text) {
                if !seen.contains(&name) {
                    seen.push(name);
                }
            }
        }
        assert!(seen.len() > 15, "{seen:?}");
    }
}

#[tokio::test]
async fn the_document_of_the_api_is_open_to_all() {
    let plane = Plane::start_with_tokens(TOKENS).await;
    let reply = plane.get("/openapi.json").await.expect(200);
    assert_eq!(header(&reply, "content-type"), "application/json");
    assert_eq!(reply.json["openapi"], "3.1.0");
    let known = format!("if-none-match: {}", header(&reply, "etag"));
    plane.send("GET", "/openapi.json", &known, "").await.expect(304);
}

#[tokio::test]
async fn a_file_that_is_known_is_not_sent_again() {
    let plane = Plane::start().await;
    let reply = plane.get("/dashboard/app.js").await.expect(200);
    assert_eq!(header(&reply, "content-type"), "text/javascript; charset=utf-8");
    let tag = header(&reply, "etag").to_owned();
    let again = async |tags: &str| {
        let header = format!("if-none-match: {tags}");
        plane.send("GET", "/dashboard/app.js", &header, "").await
    };
    for tags in [tag.clone(), format!("\"other\", W/{tag}")] {
        let reply = again(&tags).await.expect(304);
        assert_eq!((reply.text.as_str(), header(&reply, "etag")), ("", tag.as_str()));
    }
    again("\"other\"").await.expect(200);
    let head = plane.send("HEAD", "/", "", "").await.expect(200);
    assert_eq!(head.text, "");
    plane.post("/", "{}").await.expect_problem(405, "method-not-allowed");
}

#[tokio::test]
async fn without_tokens_its_own_page_may_write_and_no_other() {
    let plane = Plane::start().await;
    let own = format!("http://{}", plane.admin);
    let port = plane.admin.port();
    let put = async |headers: String| {
        let headers = format!("{headers}\ncontent-type: application/json");
        plane
            .send("PUT", "/v1/services/web", &headers, r#"{"match": []}"#)
            .await
    };
    for origin in [
        format!("https://{}", plane.admin),
        format!("http://localhost:{port}"),
        "http://127.0.0.1".to_owned(),
        format!("{own}/"),
        format!("{own}.example.com"),
        "null".to_owned(),
        "http://example.com".to_owned(),
        format!("{own}\norigin: http://example.com"),
        format!("http://example.com\norigin: {own}"),
    ] {
        put(format!("origin: {origin}")).await.expect_problem(403, "forbidden");
    }
    // After DNS rebinding a page from elsewhere has the origin and the host of elsewhere.
    put("origin: http://example.com\nhost: example.com".to_owned())
        .await
        .expect_problem(403, "forbidden");
    assert_eq!(plane.head().await, 0, "nothing was written");
    put(format!("origin: {own}")).await.expect(200);
    put(format!("origin: http://localhost:{port}\nhost: localhost:{port}"))
        .await
        .expect(200);
}
