//! The key browser: what keys and values hold is shown, never run.

use serde_json::json;
use windlass_api::etcdserverpb::{CompactionRequest, LeaseGrantRequest, PutRequest};
use windlass_client::Client;

use crate::browser::{Browser, ENTER, ESCAPE};
use crate::process::{Launch, Scratch};

fn put(client: &mut Client, key: &[u8], value: &[u8]) {
    let put = PutRequest { key: key.to_vec().into(), value: value.to_vec().into(), ..PutRequest::default() };
    client.put(&put).expect("written");
}

/// Opens the key that is shown as this.
fn open(browser: &Browser, key: &str) {
    browser.press("/");
    browser.fill("#key", key);
    browser.press(ENTER);
    browser.wait(&format!(
        "document.querySelectorAll('#key-rows button').length === 1 && \
         document.querySelector('#key-rows button').textContent === {}",
        json!(key)
    ));
    browser.click("#key-rows button");
    browser.wait(&format!("document.querySelector('#detail h2')?.textContent === {}", json!(key)));
}

/// Whether something that came as data became part of the page.
const HARM: &str =
    "window.harm ?? document.querySelectorAll('main img, main script, main iframe, main a').length";

#[test]
fn hostile_keys_and_values_are_text() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut client = member.client();
    let hostile = "<img src=x onerror=\"window.harm=1\">";
    put(
        &mut client,
        hostile.as_bytes(),
        b"</pre><script>window.harm=2</script><a href=\"javascript:harm=3\">x</a>",
    );
    put(&mut client, "a\u{202e}txt.exe\n\u{200b}".as_bytes(), "\u{202e}right to left".as_bytes());
    put(&mut client, b"\xff\x00binary\\x", &[0, 1, 2, 254, 255]);
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console", member.endpoint()));
    browser.wait_for("#status", "healthy");
    browser.press("2");
    browser.wait("document.querySelectorAll('#key-rows tr').length === 3");
    let keys =
        browser.value("[...document.querySelectorAll('#key-rows button')].map((one) => one.textContent)");
    let escaped = r"a\xe2\x80\xaetxt.exe\x0a\xe2\x80\x8b";
    assert_eq!(keys, json!([hostile, escaped, r"\xff\x00binary\\x"]));
    open(&browser, hostile);
    assert_eq!(
        browser.value("document.querySelector('.value').textContent"),
        "</pre><script>window.harm=2</script><a href=\"javascript:harm=3\">x</a>"
    );
    browser.picture("hostile");
    assert_eq!(browser.value(HARM), json!(0));
    open(&browser, escaped);
    assert!(browser.text(".value").contains("e2 80 ae 72 69"), "{}", browser.text(".value"));
    open(&browser, r"\xff\x00binary\\x");
    assert!(browser.text("#detail").contains("Not text"));
    assert!(browser.text(".value").contains("000000  00 01 02 fe ff"), "{}", browser.text(".value"));
    browser.press(ESCAPE);
    browser.wait("document.getElementById('detail').hidden");
    browser.assert_quiet();
}

#[test]
fn many_keys_come_in_pages() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut client = member.client();
    (0..123).for_each(|i| put(&mut client, format!("page/{i:03}").as_bytes(), b"v"));
    put(&mut client, b"other", b"v");
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console", member.endpoint()));
    browser.wait_for("#status", "healthy");
    browser.press("2");
    browser.wait_for("#page", "1–50 of 124");
    browser.press("/");
    browser.fill("#key", "page/");
    browser.press(ENTER);
    browser.wait_for("#page", "1–50 of 123");
    browser.value("document.activeElement.blur()");
    browser.press("n");
    browser.wait_for("#page", "51–100 of 123");
    browser.press("n");
    browser.wait_for("#page", "101–123 of 123");
    assert_eq!(browser.text("#key-rows tr:last-child button"), "page/122");
    assert_eq!(browser.value("document.getElementById('next').disabled"), json!(true));
    browser.press("b");
    browser.press("b");
    browser.wait_for("#page", "1–50 of 123");
    browser.press("j");
    browser.press("j");
    browser.press(ENTER);
    browser.wait_for("#detail h2", "page/001");
    browser.picture("keys-wide");
    browser.resize(360, 740);
    browser.wait("document.documentElement.scrollWidth <= 360");
    browser.picture("keys-narrow");
    browser.assert_quiet();
}

#[test]
fn a_keys_revisions_are_compared() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut client = member.client();
    // Revisions 2 to 14, with another key between each two.
    for i in 0..13 {
        let lines: Vec<String> =
            (0..30).map(|n| format!("line {n}{}", if n == i { " changed" } else { "" })).collect();
        put(&mut client, b"config", lines.join("\n").as_bytes());
    }
    put(&mut client, b"big", &vec![b'x'; 200_000]);
    let lease = client.lease_grant(&LeaseGrantRequest { ttl: 1000, id: 0x7b }).expect("granted");
    let leased =
        PutRequest { key: "leased".into(), value: "v".into(), lease: lease.id, ..PutRequest::default() };
    client.put(&leased).expect("written");
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console", member.endpoint()));
    browser.wait_for("#status", "healthy");
    browser.press("2");
    open(&browser, "config");
    browser.wait("document.querySelectorAll('.versions [aria-pressed]').length === 11");
    assert!(browser.text(".diff .gone").contains("line 11 changed"), "{}", browser.text(".diff"));
    assert!(browser.text(".diff .new").contains("line 11"));
    browser.picture("diff");
    browser.click(".versions .link");
    browser.wait("document.querySelectorAll('.versions [aria-pressed]').length === 13");
    browser.wait_for(".versions", "This wrote the key");
    client.compact(&CompactionRequest { revision: 10, physical: true }).expect("compacted");
    open(&browser, "config");
    browser.wait_for(".versions", "Older revisions are compacted");
    open(&browser, "big");
    assert!(
        browser.text("#detail .cut").contains("first 64 KiB of 195 KiB (200,000 bytes)"),
        "{}",
        browser.text("#detail .cut")
    );
    open(&browser, "leased");
    assert!(browser.text(".facts").contains("7b"));
    browser.fill("#revision", "5");
    browser.press(ENTER);
    browser.wait_for("#keys-note", "etcdserver: mvcc: required revision has been compacted");
    browser.value("document.activeElement.blur()");
    browser.press("3");
    browser.wait_for("#lease-rows", "leased");
    assert!(browser.text("#lease-rows").contains("7b"));
    browser.picture("leases");
    // What the policy allows, and the refusal that was asked for.
    let complaints: Vec<String> =
        browser.log().into_iter().filter(|line| !line.contains("400 (Bad Request)")).collect();
    assert_eq!(complaints, Vec::<String>::new());
}
