//! One token of each role.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use vulcan_tests::api::Api;
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

pub const ADMIN: &str = "the-word-of-root";
pub const DEPLOYER: &str = "the-word-of-deploy";
pub const PROXY: &str = "the-word-of-edge";
pub const READER: &str = "the-word-of-look";
pub const ALL: [&str; 4] = [ADMIN, DEPLOYER, PROXY, READER];

fn entry(name: &str, token: &str, rest: &str) -> String {
    let digest: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[[token]]\nname = \"{name}\"\nsha256 = \"{digest}\"\n{rest}\n")
}

/// The file of all of them, in which `root` has the token `admin`.
pub fn write(directory: &Path, admin: &str) -> PathBuf {
    let path = directory.join("tokens.toml");
    let text = [
        entry("root", admin, "role = \"admin\""),
        entry(
            "deploy",
            DEPLOYER,
            "role = \"deployer\"\nservices = [\"web\", \"mail-*\"]",
        ),
        entry("edge", PROXY, "role = \"proxy\""),
        entry("look", READER, "role = \"reader\""),
    ];
    std::fs::write(&path, text.concat()).unwrap();
    path
}

/// A file that holds this token.
pub fn token_file(world: &World, token: &str) -> String {
    let path = world.path(&format!("{token}.token"));
    std::fs::write(&path, format!("{token}\n")).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A control plane that knows them.
pub async fn control_plane(world: &World, extra: &[&str]) -> Node {
    let tokens = write(&world.path(""), ADMIN);
    let mut arguments = vec!["--tokens", tokens.to_str().unwrap()];
    arguments.extend(extra);
    world.control_plane("control", &arguments).await
}

pub fn with(node: &Node, token: &str) -> Api {
    node.api().with_token(token)
}

/// None of the tokens stands in the log of a process.
#[track_caller]
pub fn assert_discreet(node: &Node) {
    let logged = node.logged();
    for token in ALL {
        assert!(!logged.contains(token), "{}: {logged}", node.name);
    }
}
