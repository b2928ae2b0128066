//! The first view, and the page as a whole.

use serde_json::json;
use windlass_api::etcdserverpb::{LeaseGrantRequest, PutRequest};

use crate::browser::{Browser, ESCAPE, LEFT, RIGHT};
use crate::process::{Launch, Member, Scratch, free_address};
use crate::readable::hard_to_read;

/// Puts until the page shows what a test waits for.
fn put_while(member: &Member, browser: &Browser, waits: impl Fn(&Browser) + Sync) {
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let done = &done;
            scope.spawn(move || {
                let mut client = member.client();
                for i in (0..).take_while(|_| !done.load(std::sync::atomic::Ordering::Relaxed)) {
                    let key = format!("load/{writer}/{}", i % 500).into();
                    let put = PutRequest { key, value: vec![b'v'; 300].into(), ..PutRequest::default() };
                    client.put(&put).expect("written");
                }
            });
        }
        // The writers end also if a wait fails.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| waits(browser)));
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Whether nothing sticks out to the right.
const FITS: &str = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";

/// Whether every table of the first view fits into its panel.
const NOTHING_CUT: &str =
    "[...document.querySelectorAll('#overview .scroll')].every((one) => one.scrollWidth <= one.clientWidth)";

/// Buttons, fields and tabs that assistive technology could not name.
const NAMELESS: &str = "[...document.querySelectorAll('button, input, select, [role=img], [role=tabpanel]')]\
    .filter((one) => !(one.innerText || one.ariaLabel || one.getAttribute('aria-labelledby') || one.labels?.length))\
    .map((one) => one.outerHTML)";

#[test]
fn a_busy_member_shows_what_it_does() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member =
        Launch::new(folder.path()).flag("--name=busy").flag("--quota-backend-bytes=8000000000").member();
    let lease = LeaseGrantRequest { ttl: 600, id: 0 };
    member.client().lease_grant(&lease).expect("granted");
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console", member.endpoint()));
    browser.wait_for("#status", "healthy");
    browser.wait_for("#name", "busy");
    browser.wait_for("#role", "leader");
    put_while(&member, &browser, |browser| {
        browser.wait("document.querySelectorAll('#stages tr').length === 8");
        browser.wait(
            "/[1-9]/.test(document.querySelector('#stages tr:nth-child(4) td:nth-child(3)').innerText)",
        );
        browser.wait("document.querySelector('#latency .p50')?.getAttribute('d').length > 60");
        browser.wait("document.querySelectorAll('#by-commands .bar, #by-bytes .bar').length >= 2");
        browser.wait("document.querySelectorAll('#slowest tr:not(.empty)').length >= 5");
        // Something is painted in the colour of the heat.
        browser.wait(
            "(() => { const c = document.getElementById('heat'); \
             const d = c.getContext('2d').getImageData(c.width / 2, 0, c.width / 2, c.height).data; \
             for (let i = 0; i < d.length; i += 4) if (d[i + 3] && d[i + 1] > d[i] + 40) return true; })()",
        );
        browser.wait(
            "[...document.querySelectorAll('#counts tr')].some((r) => /^leases\\s+1\\b/.test(r.innerText))",
        );
        browser.value("document.getElementById('heat').focus()");
        browser.press(LEFT);
        browser.wait_for("#heat-at", "p99");
        browser.press(RIGHT);
        browser.picture("busy-wide");
        assert_eq!(hard_to_read(browser, "busy"), Vec::<String>::new());
        browser.press("t");
        browser.press("t");
        browser.wait_for("#theme", "dark");
        browser.picture("busy-dark");
        browser.press("t");
        browser.resize(360, 740);
        browser.wait(FITS);
        browser.wait(NOTHING_CUT);
        browser.picture("busy-narrow");
        browser.resize(2560, 1440);
        browser.wait(FITS);
        browser.wait(NOTHING_CUT);
        // Four columns, and no chart that is a thin line.
        browser.wait(
            "getComputedStyle(document.querySelector('.panels')).gridTemplateColumns.split(' ').length === 4",
        );
        browser.wait("document.getElementById('latency').clientHeight >= 300");
        browser.picture("busy-2560");
    });
    browser.assert_quiet();
}

#[test]
fn everything_can_be_reached_without_a_mouse() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).member();
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console/", member.endpoint()));
    browser.wait_for("#status", "healthy");
    assert_eq!(browser.value("location.pathname"), "/console");
    browser.picture("empty-wide");
    browser.press("?");
    browser.wait("document.getElementById('shortcuts').open");
    browser.picture("shortcuts");
    browser.press(ESCAPE);
    browser.wait("!document.getElementById('shortcuts').open");
    for (key, view) in [("2", "keys"), ("3", "leases"), ("1", "overview")] {
        browser.press(key);
        browser.wait(&format!("!document.getElementById('{view}').hidden"));
        assert_eq!(browser.text("[role=tab][aria-selected=true]").to_lowercase(), view);
    }
    browser.value("document.getElementById('tab-overview').focus()");
    browser.press(RIGHT);
    browser.wait("document.activeElement.id === 'tab-keys' && !document.getElementById('keys').hidden");
    browser.wait_for("#key-rows", "no keys");
    browser.press("/");
    browser.wait("document.activeElement.id === 'key'");
    // A letter in a field is a letter.
    browser.press("p");
    assert_eq!(browser.value("document.getElementById('key').value"), "p");
    browser.press("1");
    browser.press("p");
    browser.value("document.activeElement.blur()");
    browser.press("p");
    browser.wait_for("#status", "paused");
    browser.press("p");
    browser.wait_for("#status", "healthy");
    assert_eq!(browser.value(NAMELESS), json!([]));
    let background = "getComputedStyle(document.body).backgroundColor";
    let [light, dark] = ["light", "dark"].map(|scheme| {
        browser.prefer(scheme);
        browser.value(background)
    });
    assert_ne!(light, dark, "the page follows the system");
    browser.press("t");
    browser.wait_for("#theme", "light");
    assert_eq!(browser.value(background), light);
    for width in [360, 1280, 2560] {
        browser.resize(width, 740);
        for key in ["1", "2", "3"] {
            browser.press(key);
            browser.wait(FITS);
        }
    }
    browser.assert_quiet();
}

#[test]
fn a_member_that_is_gone_is_said_to_be_and_comes_back() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let endpoint = free_address();
    let launch = || {
        let client = format!("http://{endpoint}");
        Launch::new(folder.path())
            .flag(format!("--listen-client-urls={client}"))
            .flag(format!("--advertise-client-urls={client}"))
            .at(endpoint.clone())
    };
    let member = launch().member();
    browser.resize(1280, 800);
    browser.goto(&format!("http://{endpoint}/console"));
    browser.wait_for("#status", "healthy");
    member.kill();
    browser.wait_for("#status", "no answer");
    browser.wait_for("#notice", "does not answer since");
    browser.picture("down");
    let _again = launch().member();
    browser.wait_for("#status", "healthy");
    browser.wait("document.getElementById('notice').hidden");
}

#[test]
fn an_address_for_metrics_says_where_the_keys_are() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let metrics = free_address();
    let member = Launch::new(folder.path()).flag(format!("--listen-metrics-urls=http://{metrics}")).member();
    browser.resize(1280, 800);
    browser.goto(&format!("http://{metrics}/console"));
    browser.wait_for("#status", "healthy");
    browser.press("2");
    browser.wait_for("#keys-off", "serves no clients");
    browser.picture("metrics-only");
    let link = browser.value("document.querySelector('#keys-off a').href");
    assert_eq!(link, format!("http://{}/console", member.endpoint()));
    browser.click("#keys-off a");
    browser.wait_for("#status", "healthy");
    assert_eq!(browser.value("location.host"), member.endpoint());
    browser.press("2");
    browser.wait_for("#key-rows", "no keys");
    browser.assert_quiet();
}
