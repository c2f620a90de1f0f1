//! One tab: what stands in it, and what a person does there.

use std::path::Path;

use serde_json::{Value, json};

use super::devtools::Devtools;

pub struct Page<'a> {
    devtools: &'a mut Devtools,
    session: String,
}

/// What a person can see and press, by its name: an accessible one, or its text.
const NAMED: &str = r#"
    (role, name) => {
        const places = {button: "button", link: "a", summary: "summary", field: "input"};
        const within = document.querySelector("dialog[open]") ?? document;
        const label = (it) => it.getAttribute("aria-label") ?? (role === "field" ? it.labels[0]?.textContent : it.textContent);
        const isThere = (it) => it.checkVisibility() && !it.disabled && label(it)?.trim() === name;
        return [...within.querySelectorAll(places[role])].find(isThere) ?? null;
    }"#;

impl<'a> Page<'a> {
    pub(super) fn new(devtools: &'a mut Devtools, session: String) -> Page<'a> {
        Page { devtools, session }
    }

    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.devtools.call(Some(&self.session), method, params).await
    }

    pub(super) async fn listen(&mut self) {
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), json!({})).await;
        }
        self.size(1_280, 900).await;
    }

    pub async fn size(&mut self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    pub async fn go(&mut self, url: &str) {
        let gone = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(gone["errorText"].is_null(), "{url}: {gone}");
    }

    /// The value of an expression, awaited.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", asked).await;
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, expression: &str) {
        let begun = std::time::Instant::now();
        while self.eval(&format!("Boolean({expression})")).await != true {
            if begun.elapsed() > crate::process::PATIENCE {
                let text = self.eval("document.body.innerText").await;
                panic!(
                    "never came true: {expression}; the page: {}",
                    text.as_str().unwrap_or("")
                );
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    /// Waits until a text stands in what a selector finds first.
    pub async fn shows(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!(
            "document.querySelector({selector})?.innerText.includes({text})"
        ))
        .await;
    }

    /// Presses the button, link or summary of this name, once it is there.
    pub async fn press(&mut self, role: &str, name: &str) {
        let found = format!("({NAMED})({}, {})", json!(role), json!(name));
        self.until(&found).await;
        self.eval(&format!("{found}.click()")).await;
    }

    /// Types into the field with this label, in place of what is there.
    pub async fn fill(&mut self, label: &str, text: &str) {
        let found = format!("({NAMED})(\"field\", {})", json!(label));
        self.until(&found).await;
        self.eval(&format!("{found}.select()")).await;
        self.call("Input.insertText", json!({ "text": text })).await;
    }

    /// A key of the keyboard, by its name: `Tab`, `Enter`, `Escape`.
    pub async fn key(&mut self, name: &str) {
        let (code, text) = match name {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            _ => panic!("the key {name} is not known here"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({"type": kind, "key": name, "code": name, "windowsVirtualKeyCode": code, "text": text});
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Writes what is to be seen, as PNG.
    pub async fn picture(&mut self, file: &Path) {
        let answer = self.call("Page.captureScreenshot", json!({"format": "png"})).await;
        let bytes = base64(answer["data"].as_str().expect("a picture"));
        std::fs::write(file, bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// What the browser complained of: errors of scripts, and what the page's policy forbade. That a request was refused is
    /// in `refused`.
    pub async fn complaints(&mut self) -> Vec<String> {
        self.eval("null").await;
        let thrown = self.devtools.events(&self.session, "Runtime.exceptionThrown");
        let said = self.devtools.events(&self.session, "Runtime.consoleAPICalled");
        let logged = self.devtools.events(&self.session, "Log.entryAdded");
        let is_error = |event: &&Value| ["error", "assert", "warning"].iter().any(|kind| event["type"] == *kind);
        let is_complaint = |event: &&Value| event["entry"]["level"] == "error" && event["entry"]["source"] != "network";
        thrown
            .chain(said.filter(is_error))
            .chain(logged.filter(is_complaint))
            .map(Value::to_string)
            .collect()
    }

    /// The status and path of each answer that refused something.
    pub async fn refused(&mut self) -> Vec<(u64, String)> {
        self.eval("null").await;
        let answers = self.devtools.events(&self.session, "Network.responseReceived");
        let refused = answers.map(|event| &event["response"]).filter_map(|answer| {
            let (status, url) = (answer["status"].as_u64()?, answer["url"].as_str()?);
            let path = url.splitn(4, '/').nth(3)?;
            (status >= 400).then(|| (status, format!("/{path}")))
        });
        refused.collect()
    }

    /// Every address that was asked for.
    pub async fn addresses(&mut self) -> Vec<String> {
        self.eval("null").await;
        let sent = self.devtools.events(&self.session, "Network.requestWillBeSent");
        sent.filter_map(|event| event["request"]["url"].as_str().map(str::to_owned))
            .collect()
    }
}

/// Bytes from their base64 (RFC 4648).
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(digit).collect();
    let group = |group: &[u8]| {
        let bits = group.iter().fold(0_u32, |bits, digit| bits << 6 | u32::from(*digit));
        let bits = bits << (6 * (4 - group.len()));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
