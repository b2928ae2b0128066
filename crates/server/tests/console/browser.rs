//! A Chromium without a window, driven through ChromeDriver's HTTP interface (W3C WebDriver).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::process::{Scratch, can_run};

/// How long the page may take to become what a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at the page.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Keys that are no letters, as WebDriver names them.
pub const ENTER: &str = "\u{e007}";
pub const ESCAPE: &str = "\u{e00c}";
pub const TAB: &str = "\u{e004}";
pub const END: &str = "\u{e010}";
pub const HOME: &str = "\u{e011}";
pub const UP: &str = "\u{e013}";
pub const DOWN: &str = "\u{e015}";
pub const RIGHT: &str = "\u{e014}";
pub const LEFT: &str = "\u{e012}";

/// One browser at a time: each takes a core while it starts.
static TURN: Mutex<()> = Mutex::new(());

/// A browser with one window. It ends with the value.
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    _profile: Scratch,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Starts one; `None` after saying what is missing.
    pub fn open() -> Option<Self> {
        let what_for = "the web console is not tested in a browser";
        if !can_run("chromium", what_for) || !can_run("chromedriver", what_for) {
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let profile = Scratch::new();
        let mut driver = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let output = BufReader::new(driver.stdout.take().expect("piped"));
        let port = output.lines().map_while(Result::ok).find_map(|line| port_of(&line));
        let address = format!("127.0.0.1:{}", port.expect("chromedriver says its port"));
        let mut browser = Self { driver, address, session: String::new(), _profile: profile, _turn: turn };
        browser.session = browser.begin();
        Some(browser)
    }

    fn begin(&self) -> String {
        let profile = self._profile.path().join("chromium");
        let args = [
            "--headless=new",
            // Tests may run as root, in containers, without a graphics card and without a network.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let answer = request(&self.address, "POST", "/session", &capabilities);
        answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}")).to_owned()
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        request(&self.address, method, &format!("/session/{}{path}", self.session), body)
    }

    /// Opens a page.
    pub fn goto(&self, url: &str) {
        self.command("POST", "/url", &json!({ "url": url }));
    }

    /// The value of an expression of JavaScript.
    pub fn value(&self, expression: &str) -> Value {
        self.command(
            "POST",
            "/execute/sync",
            &json!({ "script": format!("return ({expression});"), "args": [] }),
        )
    }

    /// The text of the first element that fits.
    pub fn text(&self, selector: &str) -> String {
        let value = self.value(&format!("document.querySelector({})?.innerText ?? ''", json!(selector)));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.value(&format!("Boolean({expression})")) != json!(true) {
            let shown = || self.text("body");
            assert!(
                Instant::now() < deadline,
                "not so: {expression}\nthe page shows:\n{}\n{:?}",
                shown(),
                self.log()
            );
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until the first element that fits shows a text.
    #[track_caller]
    pub fn wait_for(&self, selector: &str, text: &str) {
        self.wait(&format!(
            "document.querySelector({})?.innerText.includes({})",
            json!(selector),
            json!(text)
        ));
    }

    #[track_caller]
    fn element(&self, selector: &str) -> String {
        self.wait(&format!("document.querySelector({})", json!(selector)));
        let found = self.command("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        id.unwrap_or_else(|| panic!("no {selector}: {found}")).to_owned()
    }

    /// Clicks on the first element that fits.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        self.act(selector, "click", &json!({}));
    }

    /// Empties a field and types into it.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        self.act(selector, "clear", &json!({}));
        self.act(selector, "value", &json!({ "text": text }));
    }

    /// Does something to the first element that fits, or to the one in its place if the page is drawn anew meanwhile.
    #[track_caller]
    fn act(&self, selector: &str, action: &str, body: &Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let path = format!("/session/{}/element/{}/{action}", self.session, self.element(selector));
            let answer = exchange(&self.address, "POST", &path, body).expect("chromedriver answers");
            if answer["value"]["error"] != "stale element reference" || Instant::now() > deadline {
                accepted(&format!("POST {path}"), &answer);
                return;
            }
        }
    }

    /// Presses keys, one after the other, whatever has the focus.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let actions = keys.chars().flat_map(|key| {
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        });
        let source = json!({ "type": "key", "id": "keyboard", "actions": actions.collect::<Vec<_>>() });
        self.command("POST", "/actions", &json!({ "actions": [source] }));
    }

    /// Gives the page another size.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.chromium("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Says what the user's system prefers.
    pub fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", &features);
    }

    fn chromium(&self, command: &str, params: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    /// A picture of the whole page in the folder that `WINDLASS_SCREENSHOTS` names, for people; none without it.
    pub fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("WINDLASS_SCREENSHOTS").map(PathBuf::from) else { return };
        let shot = self.chromium("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let data = BASE64_STANDARD.decode(shot["data"].as_str().expect("a picture")).expect("is base64");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.png")), data).expect("written");
    }

    /// What the browser complained about since the last time: errors of scripts, and what the policy forbade.
    pub fn log(&self) -> Vec<String> {
        let entries = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        entries.as_array().map(|entries| entries.iter().map(text).collect()).unwrap_or_default()
    }

    /// Fails if the browser complained.
    #[track_caller]
    pub fn assert_quiet(&self) {
        assert_eq!(self.log(), Vec::<String>::new());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The session's end is the browser's; the driver may be gone already.
        let path = format!("/session/{}", self.session);
        let _ = exchange(&self.address, "DELETE", &path, &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// `ChromeDriver was started successfully on port 41234.`
fn port_of(line: &str) -> Option<u16> {
    line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
}

#[track_caller]
fn request(address: &str, method: &str, path: &str, body: &Value) -> Value {
    let answer = exchange(address, method, path, body).expect("chromedriver answers");
    accepted(&format!("{method} {path}"), &answer)
}

/// The value of an answer that is no refusal.
#[track_caller]
fn accepted(what: &str, answer: &Value) -> Value {
    let value = answer["value"].clone();
    assert!(value["error"].is_null() || value["stacktrace"].is_null(), "{what}: {}", value["message"]);
    value
}

fn exchange(address: &str, method: &str, path: &str, body: &Value) -> std::io::Result<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(2 * PATIENCE))?;
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = BufReader::new(socket);
    let mut length = 0;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap_or(0);
            }
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let mut text = vec![0; length];
    answer.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text).unwrap_or(Value::Null))
}
