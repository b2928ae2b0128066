//! Lists without a mouse: which stops the tab key makes, what arrows do there, and that the focus is seen and not lost.

use serde_json::json;
use windlass_api::etcdserverpb::{LeaseGrantRequest, PutRequest};
use windlass_client::Client;

use crate::browser::{Browser, DOWN, END, ENTER, ESCAPE, HOME, RIGHT, TAB, UP};
use crate::process::{Launch, Scratch};

const FOCUSED: &str = "document.activeElement.textContent";

fn put(client: &mut Client, key: &str, lease: i64) {
    let put = PutRequest { key: key.to_owned().into(), value: "v".into(), lease, ..PutRequest::default() };
    client.put(&put).expect("written");
}

/// Presses the tab key until it leaves the page; where it stopped, and whether each stop could be seen.
fn stops(browser: &Browser) -> Vec<String> {
    browser.value("(document.activeElement.blur(), document.querySelector('.skip').focus(), 0)");
    let mut stops = Vec::new();
    loop {
        browser.press(TAB);
        if browser
            .value("document.activeElement === document.body || document.activeElement.className === 'skip'")
            == json!(true)
        {
            return stops;
        }
        let name = browser.value("document.activeElement.id || document.activeElement.textContent");
        stops.push(name.as_str().expect("is a text").to_owned());
        let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle");
        assert_ne!(outline, "none", "the focus on {name} is not seen");
        assert!(stops.len() < 40, "too many stops: {stops:?}");
    }
}

#[test]
fn a_list_is_one_stop_and_arrows_go_through_it() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut client = member.client();
    (0..53).for_each(|i| put(&mut client, &format!("k{i:02}"), 0));
    (0..4).for_each(|_| put(&mut client, "k01", 0));
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console", member.endpoint()));
    browser.wait_for("#status", "healthy");
    browser.press("2");
    browser.wait_for("#page", "1–50 of 53");
    let expected = ["tab-keys", "pause", "theme", "help", "how", "key", "revision", "Find", "k00", "next"];
    assert_eq!(stops(&browser), expected);
    for (keys, row) in
        [("j", "k00"), (DOWN, "k01"), ("j", "k02"), (UP, "k01"), (END, "k49"), (DOWN, "k49"), (HOME, "k00")]
    {
        browser.press(keys);
        assert_eq!(browser.value(FOCUSED), row);
    }
    // Other rows, and who was in the list is in it still.
    browser.press("n");
    browser.wait_for("#page", "51–53 of 53");
    assert_eq!(browser.value(FOCUSED), "k50");
    browser.press("b");
    browser.wait_for("#page", "1–50 of 53");
    // A button that can be pressed no more does not keep the focus.
    browser.value("document.getElementById('next').focus()");
    browser.press(ENTER);
    browser.wait_for("#page", "51–53 of 53");
    assert_eq!(browser.value(FOCUSED), "k50");
    browser.press("b");
    browser.wait_for("#page", "1–50 of 53");
    browser.press(DOWN);
    browser.press(ENTER);
    browser.wait("document.querySelectorAll('.versions [aria-pressed]').length === 5");
    let opened = stops(&browser);
    assert_eq!([&opened[8], &opened[9], &opened[10], &opened[12]], ["k01", "next", "✕", "v"], "{opened:?}");
    assert!(opened[11].contains("v5") && opened.len() == 13, "of all revisions one is a stop: {opened:?}");
    browser.value("document.querySelector('.versions [aria-pressed=true]').focus()");
    browser.press(RIGHT);
    browser.press(ENTER);
    browser.wait("document.querySelector('.versions [aria-pressed=true]').textContent.includes('v4')");
    assert!(browser.value(FOCUSED).to_string().contains("v4"));
    browser.press(ESCAPE);
    assert_eq!(browser.value(FOCUSED), "k01");
    browser.assert_quiet();
}

#[test]
fn a_leases_keys_lead_to_the_keys() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    let mut client = member.client();
    let lease = client.lease_grant(&LeaseGrantRequest { ttl: 1000, id: 0x7b }).expect("granted");
    ["a\u{7f}b", "other"].iter().for_each(|key| put(&mut client, key, lease.id));
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console", member.endpoint()));
    browser.wait_for("#status", "healthy");
    browser.press("3");
    browser.wait("document.querySelectorAll('#lease-rows button').length === 2");
    browser.press("j");
    assert_eq!(browser.value(FOCUSED), r"a\x7fb");
    browser.press(ENTER);
    browser.wait_for("#detail .facts", "7b");
    assert_eq!(browser.text("[role=tab][aria-selected=true]"), "Keys");
    assert_eq!(browser.value("document.getElementById('key').value"), r"a\x7fb");
    browser.wait("document.querySelectorAll('#key-rows tr').length === 1");
    // Tabs have the keys of tabs.
    browser.value("document.getElementById('tab-keys').focus()");
    for (key, view) in [(END, "leases"), (RIGHT, "overview"), (HOME, "overview"), (RIGHT, "keys")] {
        browser.press(key);
        assert_eq!(browser.value("document.activeElement.id"), format!("tab-{view}"));
    }
    browser.assert_quiet();
}
