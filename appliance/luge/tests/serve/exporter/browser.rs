//! Chromium without a window, by its debugging protocol: JSON objects with a zero after each, over two pipes.

use crate::daemon::{TIMEOUT, command, eventually};
use luge_image::{Cache, Progress, ensure_browser};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Start of Chromium with the pipes that it wants as its descriptors 3 and 4.
const START: &str = "exec 3<&0 4>&1 </dev/null >/dev/null 2>&1; exec chromium \"$@\"";

/// Arguments. The sandbox does not work for root, and nothing of others is shown.
const ARGUMENTS: [&str; 7] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
];

/// A browser with one page.
pub struct Browser {
    child: Child,
    input: ChildStdin,
    answers: Receiver<Value>,
    calls: u64,
    session: Option<String>,
    /// Errors that the page has reported.
    pub errors: Vec<Value>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts the browser, and opens a page.
    pub fn open(url: &str) -> Self {
        let cache = Cache::open().unwrap();
        ensure_browser(&cache, &Progress::to_stderr()).unwrap_or_else(|error| panic!("{error}"));
        let profile = tempfile::tempdir().unwrap();
        let folder = format!("--user-data-dir={}", profile.path().display());
        let mut chromium = command("sh");
        chromium.args(["-c", START, "sh"]).args(ARGUMENTS).arg(folder);
        let mut child = chromium.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, answers) = channel();
        thread::spawn(move || {
            for text in BufReader::new(output).split(0).map_while(Result::ok) {
                let _ = send.send(serde_json::from_slice(&text).unwrap_or_default());
            }
        });
        let errors = Vec::new();
        let mut browser = Self { child, input, answers, calls: 0, session: None, errors, _profile: profile };
        browser.visit(url);
        browser
    }

    fn visit(&mut self, url: &str) {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = self.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        self.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Runtime.enable", "Log.enable"] {
            self.call(domain, json!({}));
        }
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// Value of an expression in the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        self.call("Runtime.evaluate", params)["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, expression: &str) {
        eventually(expression, || self.value(expression) == true);
    }

    /// Sets the size of the page, and `light` or `dark`.
    pub fn show(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", json!({ "features": [feature] }));
    }

    /// Picture of the page, as PNG in base64.
    pub fn picture(&mut self) -> String {
        self.call("Page.captureScreenshot", json!({ "format": "png" }))["data"].as_str().unwrap().to_owned()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": params });
        if let Some(session) = &self.session {
            call["sessionId"] = session.as_str().into();
        }
        self.input.write_all(format!("{call}\0").as_bytes()).unwrap();
        loop {
            let answer = self.answers.recv_timeout(TIMEOUT).unwrap_or_else(|_| panic!("{method}: no answer"));
            if answer["id"] == self.calls {
                assert_eq!(answer["error"], Value::Null, "{method}");
                return answer["result"].clone();
            }
            if ["Runtime.exceptionThrown", "Log.entryAdded"].iter().any(|event| answer["method"] == *event) {
                self.errors.push(answer["params"].clone());
            }
        }
    }
}

impl Drop for Browser {
    /// Ends the browser; a browser that is only killed leaves processes for a moment.
    fn drop(&mut self) {
        let _ = self.input.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let closed = std::iter::from_fn(|| self.answers.recv_timeout(TIMEOUT).ok()).last();
        drop(closed);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
