use serde_json::json;
use vulcan_tests::world::World;

use crate::browser;

/// `printf secret-of-mine | sha256sum`
const TOKENS: &str = "[[token]]\nname = \"ann\"\nrole = \"admin\"\n\
                      sha256 = \"f2503ac13be999f85d3232ba05a38cd45832f7d30b3eaa0efcf5e6e470111d6e\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_kept_in_the_tab_alone() {
    let world = World::new();
    let tokens = world.path("tokens.toml");
    std::fs::write(&tokens, TOKENS).unwrap();
    let control = world
        .control_plane("control", &["--tokens", tokens.to_str().unwrap()])
        .await;
    let api = control.api().with_token("secret-of-mine");
    api.put("/v1/services/web", json!({"match": []})).await.live();
    let mut browser = browser(&world).await;
    let mut page = browser.open(&api.url()).await;
    page.shows("dialog", "Who are you?").await;
    page.shows("#connection", "Token needed").await;
    // It is not in the way of nobody: it comes again.
    page.key("Escape").await;
    page.key("Escape").await;
    page.shows("dialog", "Who are you?").await;
    page.fill("Token", "another").await;
    page.press("button", "Enter").await;
    page.shows("dialog", "the token is not known").await;
    assert_eq!(page.eval("sessionStorage.length").await, 0, "a wrong one is forgotten");
    page.fill("Token", "secret-of-mine").await;
    page.key("Enter").await;
    page.shows("#connection", "Live").await;
    page.shows(".latest", "by ann").await;
    page.go(&format!("{}/#/services", api.url())).await;
    page.shows("main table", "web").await;

    // As long as the tab: also when it is loaded again, and in no other one.
    page.call("Page.reload", json!({})).await;
    page.shows("#connection", "Live").await;
    let kept = "localStorage.length + document.cookie.length";
    assert_eq!(page.eval(kept).await, 0);
    let named: Vec<String> = page.addresses().await;
    assert!(
        named.iter().all(|address| !address.contains("secret-of-mine")),
        "{named:?}"
    );
    assert_eq!(page.complaints().await, [] as [String; 0]);
    drop(page);
    let mut other = browser.open(&api.url()).await;
    other.fill("Token", "secret-of-mine").await;
    other.press("button", "Enter").await;
    other.shows("#connection", "Live").await;
    other.press("button", "Forget token").await;
    other.shows("dialog", "Who are you?").await;
    assert_eq!(other.eval("sessionStorage.length").await, 0);
}

/// `printf secret-of-shop | sha256sum`
const DEPLOYER: &str = "[[token]]\nname = \"shop-ci\"\nrole = \"deployer\"\nservices = [\"shop\"]\n\
                        sha256 = \"12f27fa94cbef259460ca7b4abf73b50ab8ade216ef714aeec3f7957ac270e63\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_a_token_showed_goes_with_it_and_what_another_may_not_see_is_said_to_be_refused() {
    let world = World::new();
    let tokens = world.path("tokens.toml");
    std::fs::write(&tokens, format!("{TOKENS}{DEPLOYER}")).unwrap();
    let control = world
        .control_plane("control", &["--tokens", tokens.to_str().unwrap()])
        .await;
    let api = control.api().with_token("secret-of-mine");
    for service in ["shop", "unheard-of"] {
        api.put(&format!("/v1/services/{service}"), json!({"match": []}))
            .await
            .live();
    }
    let mut browser = browser(&world).await;
    let mut page = browser.open(&api.url()).await;
    page.fill("Token", "secret-of-mine").await;
    page.press("button", "Enter").await;
    page.shows(".latest", "create service unheard-of").await;
    page.shows(".worries", "No proxy has joined yet.").await;
    page.press("button", "Forget token").await;
    page.shows("dialog", "Who are you?").await;
    let seen = "document.documentElement.textContent.includes('unheard-of')";
    assert_eq!(page.eval(seen).await, false, "it goes at once");
    assert_eq!(page.eval("document.querySelector('main').innerText").await, "");

    page.fill("Token", "secret-of-shop").await;
    page.press("button", "Enter").await;
    page.shows("#connection", "Not allowed").await;
    let reason = "this token is that of a deployer of shop";
    page.shows(".worries", reason).await;
    for view in ["Services", "Fleet", "Limits"] {
        page.press("link", view).await;
        page.shows("h1", view).await;
        page.shows("main .foot", reason).await;
    }
    page.press("link", "Revisions").await;
    page.shows("main .card", reason).await;
    assert_eq!(page.eval(seen).await, false);
    // What is its own is there.
    page.go(&format!("{}/#/services/shop", api.url())).await;
    page.shows("main .foot", "No upstream is registered").await;
    page.shows("main", "That is not known now").await;
    assert_eq!(page.complaints().await, [] as [String; 0]);
}
