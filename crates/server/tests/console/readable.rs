//! What the console shows can be read: on a light and on a dark ground, on a telephone and on a desk.

use serde_json::Value;
use windlass_api::etcdserverpb::{LeaseGrantRequest, PutRequest};
use windlass_client::Client;

use crate::browser::{Browser, ENTER, ESCAPE};
use crate::process::{Launch, Scratch};
use crate::users;

/// Whether nothing sticks out to the right.
const FITS: &str = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";

fn put(client: &mut Client, key: &[u8], value: &[u8], lease: i64) {
    let (key, value) = (key.to_vec().into(), value.to_vec().into());
    client.put(&PutRequest { key, value, lease, ..PutRequest::default() }).expect("written");
}

/// What is hard to read of what the page shows now, in any scheme and size, of which the last stay.
pub fn hard_to_read(browser: &Browser, what: &str) -> Vec<String> {
    let mut found = Vec::new();
    for scheme in ["light", "dark"] {
        for width in [360, 1280] {
            browser.prefer(scheme);
            browser.resize(width, 800);
            browser.wait(FITS);
            browser.picture(&format!("readable-{what}-{scheme}-{width}"));
            let Value::Array(texts) = browser.value(include_str!("contrast.js").trim_end()) else {
                panic!("it is a list")
            };
            found.extend(texts.iter().map(|text| format!("{what}, {scheme}, {width}: {text}")));
        }
    }
    found
}

#[test]
fn every_text_stands_out_from_what_is_behind_it() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--name=readable").member();
    let mut client = member.client();
    let lease = client.lease_grant(&LeaseGrantRequest { ttl: 1_000, id: 0x7b }).expect("granted").id;
    for change in ["one", "two"] {
        put(&mut client, b"config", format!("first\n{change}\nlast").as_bytes(), lease);
    }
    put(&mut client, b"bytes\xff", &[0, 1, 254, 255], lease);
    put(&mut client, b"large", &vec![b'x'; 100_000], 0);
    for i in 0..60 {
        put(&mut client, format!("page/{i}").as_bytes(), b"v", 0);
    }
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console", member.endpoint()));
    browser.wait_for("#status", "healthy");
    browser.wait("document.querySelectorAll('#slowest tr:not(.empty)').length >= 1");
    let mut found = hard_to_read(&browser, "overview");
    browser.press("?");
    found.extend(hard_to_read(&browser, "shortcuts"));
    browser.press(ESCAPE);
    browser.press("2");
    browser.wait_for("#page", "1–50 of 63");
    found.extend(hard_to_read(&browser, "keys"));
    for (key, shown) in [("config", "last"), (r"bytes\xff", "00 01 fe ff"), ("large", "first 64 KiB")] {
        browser.fill("#key", key);
        browser.press(ENTER);
        browser.wait("document.querySelectorAll('#key-rows button').length === 1");
        browser.click("#key-rows button");
        browser.wait_for("#detail", shown);
        found.extend(hard_to_read(&browser, &format!("key-{}", &key[..5])));
    }
    browser.value("document.activeElement.blur()");
    browser.press("3");
    browser.wait_for("#lease-rows", "config");
    found.extend(hard_to_read(&browser, "leases"));
    browser.press("1");
    browser.press("p");
    found.extend(hard_to_read(&browser, "paused"));
    browser.press("p");
    member.kill();
    browser.wait_for("#notice", "does not answer since");
    found.extend(hard_to_read(&browser, "down"));
    assert!(found.is_empty(), "less than 4.5 to 1:\n{}", found.join("\n"));
}

#[test]
fn who_signs_in_can_read_why_not() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    users::enable(&mut member.client());
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console", member.endpoint()));
    browser.wait_for("#members-note", "users who signed in");
    let mut found = hard_to_read(&browser, "nobody");
    browser.press("2");
    browser.wait_for("#keys-note", "user name is empty");
    found.extend(hard_to_read(&browser, "nobodys-keys"));
    users::sign_in(&browser, "reader", "wrong");
    browser.wait_for("#login-error", "authentication failed");
    found.extend(hard_to_read(&browser, "refused"));
    browser.press(ESCAPE);
    users::sign_in(&browser, "reader", "secret");
    browser.wait_for("#keys-note", "permission denied");
    found.extend(hard_to_read(&browser, "denied"));
    assert!(found.is_empty(), "less than 4.5 to 1:\n{}", found.join("\n"));
    // What is pale is found.
    browser.value("(document.getElementById('foot').style.opacity = 0.5, 0)");
    let pale = hard_to_read(&browser, "pale");
    assert!(pale.len() == 4 && pale.iter().all(|text| text.contains("p#foot")), "{pale:?}");
}
