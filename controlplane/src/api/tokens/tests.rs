use super::*;

// printf secret | sha256sum
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

// printf '' | sha256sum
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn name_of(tokens: &Tokens, presented: &str) -> Option<Arc<str>> {
    tokens.find(&Secret::of(presented)).map(|caller| caller.name)
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn entry(name: &str, sha256: &str, role: &str) -> String {
    format!("[[token]]\nname = \"{name}\"\nsha256 = \"{sha256}\"\nrole = \"{role}\"\n")
}

#[test]
fn a_token_is_known_by_its_hash_alone() {
    let (_directory, path) = file(&entry("ci", SECRET, "admin"));
    let tokens = Tokens::open(&path).unwrap();
    assert_eq!(name_of(&tokens, "secret").as_deref(), Some("ci"));
    for other in ["Secret", "", SECRET] {
        assert_eq!(name_of(&tokens, other), None);
    }
}

#[test]
fn nobody_is_called_as_what_acts_by_itself() {
    for name in ["local", "heartbeat-ttl", "restore"] {
        let (_directory, path) = file(&entry(name, SECRET, "admin"));
        let refused = Tokens::open(&path).err().unwrap().to_string();
        assert!(refused.contains(&format!("the name {name} is reserved")), "{refused}");
    }
}

#[test]
fn a_token_has_its_role() {
    let roles = [
        ("ci", "admin", "one"),
        ("edge", "proxy", "two"),
        ("you", "reader", "three"),
    ];
    let digest = |token: &str| {
        Sha256::digest(token)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let mut text: String = roles
        .iter()
        .map(|(name, role, token)| entry(name, &digest(token), role))
        .collect();
    text += &format!(
        "{}services = [\"web\", \"mail-*\"]\n",
        entry("cd", &digest("four"), "deployer")
    );
    let (_directory, path) = file(&text);
    let tokens = Tokens::open(&path).unwrap();
    let role = |token| tokens.find(&Secret::of(token)).map(|caller| caller.role);
    assert_eq!(
        [role("one"), role("two"), role("three")],
        [Role::Admin, Role::Proxy, Role::Reader].map(Some)
    );
    assert_eq!(role("four").unwrap().to_string(), "a deployer of web, mail-*");
}

#[test]
fn a_file_that_says_anything_else_is_refused() {
    let twice = entry("ci", SECRET, "admin").repeat(2);
    for text in [
        "",
        "token = 1",
        &entry("", SECRET, "admin"),
        &entry("ci", "12", "admin"),
        &entry("ci", SECRET, "writer"),
        &entry("ci", SECRET, "deployer"),
        &format!("{}services = [\"web\"]\n", entry("ci", SECRET, "admin")),
        &format!("{}services = []\n", entry("ci", SECRET, "deployer")),
        &entry("ci", NOTHING, "admin"),
        &twice,
        &format!("{}{}", entry("ci", SECRET, "admin"), entry("cd", SECRET, "reader")),
        &format!("{}#{}", entry("ci", SECRET, "admin"), "x".repeat(1 << 20)),
    ] {
        let (_directory, path) = file(text);
        assert!(Tokens::open(&path).is_err(), "{text}");
    }
    assert!(Tokens::open(Path::new("/nonexistent/tokens.toml")).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_change_is_taken_over_and_a_bad_one_is_not() {
    let (_directory, path) = file(&entry("ci", SECRET, "admin"));
    let tokens = Arc::new(Tokens::open(&path).unwrap());
    let stop = CancellationToken::new();
    let following = tokio::spawn({
        let (tokens, stop) = (tokens.clone(), stop.clone());
        async move { tokens.follow(stop).await }
    });
    std::fs::write(&path, "nonsense").unwrap();
    tokio::time::sleep(LOOK_EVERY * 3).await;
    assert!(name_of(&tokens, "secret").is_some());
    std::fs::write(&path, entry("cd", SECRET, "admin")).unwrap();
    while name_of(&tokens, "secret").as_deref() != Some("cd") {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    stop.cancel();
    following.await.unwrap();
}

#[test]
fn what_is_open_by_a_token_ends_with_it_and_with_no_other() {
    let digest = |token: &str| {
        Sha256::digest(token)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let [kept, gone, changed] = ["kept", "gone", "changed"].map(|name| entry(name, &digest(name), "reader"));
    let (_directory, path) = file(&[kept.clone(), gone, changed].concat());
    let tokens = Tokens::open(&path).unwrap();
    let withdrawn =
        ["kept", "gone", "changed"].map(|token| tokens.find(&Secret::of(token)).unwrap().withdrawn.unwrap());
    assert!(!tokens.take_over(parse(&load(&path).unwrap()).unwrap()));
    let changed = entry("changed", &digest("changed"), "admin");
    assert!(tokens.take_over(parse(&[changed, kept].concat()).unwrap()));
    assert_eq!(withdrawn.map(|token| token.is_cancelled()), [false, true, true]);
    assert!(
        !tokens
            .find(&Secret::of("kept"))
            .unwrap()
            .withdrawn
            .unwrap()
            .is_cancelled()
    );
    assert!(
        !tokens
            .find(&Secret::of("changed"))
            .unwrap()
            .withdrawn
            .unwrap()
            .is_cancelled()
    );
    assert!(tokens.find(&Secret::of("gone")).is_none());
}
