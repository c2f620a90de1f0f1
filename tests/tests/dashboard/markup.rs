use serde_json::json;
use vulcan_tests::world::World;

use crate::{assert_calm, browser, open};

const MARKUP: &str = "<img src=x onerror='window.isTaken=true'><script>window.isTaken=true</script>";
/// `printf secret | sha256sum`
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

/// What markup would have become, had it been markup.
const TAKEN: &str =
    "window.isTaken === true || document.querySelector('img, main script, dialog script, iframe') !== null";

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_stays_text() {
    let world = World::new();
    let tokens = world.path("tokens.toml");
    let entry = format!("[[token]]\nname = \"{MARKUP}\"\nsha256 = \"{SECRET}\"\nrole = \"admin\"\n");
    std::fs::write(&tokens, entry).unwrap();
    let control = world
        .control_plane("control", &["--tokens", tokens.to_str().unwrap()])
        .await;
    let api = control.api().with_token("secret");
    let limit = "0198b8a4-5b7e-7c3a-9f2e-1d4c5b6a7980";
    let written = json!({"match": [{"path_prefix": "/x", "headers": {"x-a": MARKUP}}]});
    api.put("/v1/services/web", written).await.live();
    let written = json!({"auth_token": MARKUP, "period": 60, "threshold": 5});
    api.put(&format!("/v1/limits/{limit}"), written).await.live();

    let mut browser = browser(&world).await;
    let mut page = browser.open(&api.url()).await;
    page.fill("Token", "secret").await;
    page.press("button", "Enter").await;
    page.shows("#connection", "Live").await;
    page.shows(".latest", MARKUP).await;
    for (place, selector) in [
        ("services/web", "main .settings"),
        ("limits", "main table"),
        (&format!("limits/{limit}"), "main .facts"),
        ("revisions/1", "main .diff"),
        ("revisions", ".history"),
    ] {
        page.go(&format!("{}/#/{place}", api.url())).await;
        page.shows(selector, "").await;
        page.until(&format!(
            "document.querySelector('main').innerText.includes({})",
            json!("window.isTaken=true")
        ))
        .await;
        assert_eq!(page.eval(TAKEN).await, false, "{place}");
    }
    // What a link carries, too.
    let carried: String = MARKUP.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for place in ["services", "fleet", "limits", "revisions"] {
        page.go(&format!("{}/#/{place}/{carried}", api.url())).await;
        page.until("document.querySelector('main .bad:not([hidden])')").await;
        assert_eq!(page.eval(TAKEN).await, false, "{place}");
    }
    assert_eq!(page.complaints().await, [] as [String; 0]);

    // The control: a page that made markup of it would be stopped, and seen here.
    let made = format!(
        "try {{ document.body.innerHTML = {}; 'made' }} catch (error) {{ error.name }}",
        json!(MARKUP)
    );
    assert_eq!(page.eval(&made).await, "TypeError", "the policy forbids it");
    let inline = "const it = document.createElement('img'); document.querySelector('main').append(it)";
    page.eval(inline).await;
    assert_eq!(page.eval(TAKEN).await, true, "what is looked for is found where it is");
    assert!(!page.complaints().await.is_empty(), "what is forbidden is a complaint");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_loaded_from_elsewhere() {
    let world = World::new();
    let control = world.control_plane("control", &[]).await;
    let mut browser = browser(&world).await;
    let mut page = open(&mut browser, &control).await;
    let own = format!("{}/", control.api().url());
    let addresses = page.addresses().await;
    assert!(addresses.len() > 15, "{addresses:?}");
    let others: Vec<&String> = addresses.iter().filter(|address| !address.starts_with(&own)).collect();
    assert!(others.is_empty(), "{others:?}");
    let fetched = "fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')";
    assert_eq!(page.eval(fetched).await, "refused");
    let complaints = page.complaints().await;
    assert!(
        complaints.iter().any(|it| it.contains("Content Security Policy")),
        "{complaints:?}"
    );
    drop(page);
    let mut page = open(&mut browser, &control).await;
    assert_calm(&mut page, &[]).await;
}
