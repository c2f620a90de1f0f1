//! A real Chromium without a window, driven by its DevTools protocol over two pipes.

mod devtools;
mod page;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use devtools::Devtools;
pub use page::Page;
use serde_json::json;

pub struct Browser {
    devtools: Devtools,
}

/// Where it is, found or installed now.
fn installed() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser/chromium");
        let output = Command::new(script).output().expect("sh runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "no browser: {complaint}");
        let place = String::from_utf8(output.stdout).expect("a path in UTF-8");
        PathBuf::from(place.trim_end())
    })
}

/// What runs it: the protocol has descriptors 3 and 4, which become its stdin and stdout here.
const LAUNCH: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >&2"#;

impl Browser {
    /// One with a profile of its own in `directory`.
    pub async fn start(directory: &Path) -> Browser {
        let place = tokio::task::spawn_blocking(installed).await.expect("it is looked for");
        let mut command = Command::new("sh");
        command.arg("-c").arg(LAUNCH).arg(place).args([
            "--headless",
            // Root has no sandbox, and nothing but the page under test is opened.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--no-default-browser-check",
            "--hide-scrollbars",
            "--lang=en-US",
            "--remote-debugging-pipe",
        ]);
        let profile = directory.join("profile");
        command.arg(format!("--user-data-dir={}", profile.display()));
        command.arg("about:blank");
        // It keeps more there than in its profile.
        command.env("HOME", directory).env("TZ", "UTC");
        let log = directory.join("chromium.log");
        Browser {
            devtools: Devtools::launch(command, &log),
        }
    }

    /// A new tab at this address.
    pub async fn open(&mut self, url: &str) -> Page<'_> {
        let target = self
            .devtools
            .call(None, "Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.devtools.call(None, "Target.attachToTarget", attach).await;
        let session = session["sessionId"].as_str().expect("a session").to_owned();
        let mut page = Page::new(&mut self.devtools, session);
        page.listen().await;
        page.go(url).await;
        page
    }
}
