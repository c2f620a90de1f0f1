//! The document of the API against the API itself: schemathesis makes requests up by it, those it allows and those it does
//! not, and no answer may be one that it does not describe.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use vulcan_tests::node::Node;
use vulcan_tests::world::World;

const PATIENCE: Duration = Duration::from_secs(600);
const SEED: &str = "9";

/// What it says of `control`, which it tries by `document`.
async fn tried(world: &World, control: &Node, name: &str, document: &Value) -> Output {
    let path = world.path(&format!("{name}.json"));
    std::fs::write(&path, document.to_string()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/schemathesis");
    let mut command = Command::new("timeout");
    command
        .arg(PATIENCE.as_secs().to_string())
        .arg(script)
        .arg("run")
        .arg(control.api().url());
    command.arg(&path).arg(SEED).current_dir(world.path(""));
    let running = tokio::task::spawn_blocking(move || command.output());
    running.await.unwrap().expect("it runs")
}

async fn document(control: &Node) -> Value {
    control.api().get("/openapi.json").await.expect(200).body
}

/// Every third path of it, from the one at `first` on.
fn part(document: &Value, first: usize) -> Value {
    let mut part = document.clone();
    let paths = document["paths"].as_object().unwrap().iter().skip(first).step_by(3);
    let paths = paths.map(|(path, methods)| (path.clone(), methods.clone()));
    part["paths"] = Value::Object(paths.collect());
    part
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_one_that_the_document_does_not_describe() {
    let world = World::new();
    let (control, _proxies) = world.fleet(1, &[]).await;
    let document = document(&control).await;
    assert!(document["paths"].as_object().unwrap().len() > 30);
    // Beside each other: it mostly waits.
    let documents = [part(&document, 0), part(&document, 1), part(&document, 2)];
    let [one, two, three] = &documents;
    let outputs = tokio::join!(
        tried(&world, &control, "one", one),
        tried(&world, &control, "two", two),
        tried(&world, &control, "three", three),
    );
    for output in [outputs.0, outputs.1, outputs.2] {
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && said.contains("Test cases"),
            "{said}{complaint}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_described_is_found() {
    let world = World::new();
    let (control, _proxies) = world.fleet(1, &[]).await;
    let mut document = document(&control).await;
    const PATH: &str = "/v1/services/{service}";
    let mut one = document["paths"][PATH]["get"].take();
    one["responses"].as_object_mut().unwrap().remove("404");
    document["paths"] = json!({PATH: {"get": one}});
    let output = tried(&world, &control, "one", &document).await;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        !output.status.success() && said.contains("Undocumented status code"),
        "{said}"
    );
}
