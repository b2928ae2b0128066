//! The console while users must say who they are.

use serde_json::json;
use windlass_api::etcdserverpb::PutRequest;
use windlass_api::{authpb, etcdserverpb as pb};
use windlass_client::Client;

use crate::browser::{Browser, ESCAPE};
use crate::process::{Launch, Scratch};

/// Root, and a reader who may read what begins with `a/`.
pub fn enable(client: &mut Client) {
    for name in ["root", "reader"] {
        let user =
            pb::AuthUserAddRequest { name: name.into(), password: "secret".into(), ..Default::default() };
        client.user_add(&user).expect("added");
        client.role_add(&pb::AuthRoleAddRequest { name: name.into() }).expect("added");
        let grant = pb::AuthUserGrantRoleRequest { user: name.into(), role: name.into() };
        client.user_grant_role(&grant).expect("granted");
    }
    let perm = authpb::Permission {
        perm_type: authpb::permission::Type::Read as i32,
        key: "a/".into(),
        range_end: "a0".into(),
    };
    let grant = pb::AuthRoleGrantPermissionRequest { name: "reader".into(), perm: Some(perm) };
    client.role_grant_permission(&grant).expect("granted");
    client.auth_enable(&pb::AuthEnableRequest {}).expect("enabled");
}

pub fn sign_in(browser: &Browser, name: &str, password: &str) {
    browser.click("#sign");
    browser.wait("document.getElementById('login').open");
    browser.fill("#user", name);
    browser.fill("#password", password);
    browser.click("#login-form .main");
}

#[test]
fn permissions_hold_in_the_console() {
    let Some(browser) = Browser::open() else { return };
    let folder = Scratch::new();
    let member = Launch::new(folder.path()).flag("--name=guarded").member();
    let mut client = member.client();
    for key in ["a/1", "a/2", "b/1"] {
        client
            .put(&PutRequest { key: key.into(), value: "v".into(), ..PutRequest::default() })
            .expect("written");
    }
    enable(&mut client);
    browser.resize(1280, 800);
    browser.goto(&format!("http://{}/console", member.endpoint()));
    browser.wait_for("#status", "healthy");
    // Who is nobody sees figures and no names.
    browser.wait_for("#members-note", "users who signed in");
    assert!(!browser.text("body").contains("guarded"));
    browser.press("2");
    browser.wait_for("#keys-note", "etcdserver: user name is empty");
    browser.picture("auth-nobody");
    sign_in(&browser, "reader", "wrong");
    browser.wait_for("#login-error", "etcdserver: authentication failed, invalid user ID or password");
    browser.picture("auth-refused");
    browser.press(ESCAPE);
    sign_in(&browser, "reader", "secret");
    browser.wait_for("#sign", "Sign out reader");
    browser.wait_for("#keys-note", "etcdserver: permission denied");
    browser.wait_for("#name", "guarded");
    browser.fill("#key", "a/");
    browser.click("#find button");
    browser.wait_for("#page", "1–2 of 2");
    browser.click("#sign");
    browser.wait_for("#keys-note", "etcdserver: user name is empty");
    sign_in(&browser, "root", "secret");
    browser.wait_for("#sign", "Sign out root");
    browser.fill("#key", "");
    browser.click("#find button");
    browser.wait_for("#page", "1–3 of 3");
    // The token is in no place that outlives the page.
    assert_eq!(
        browser.value("JSON.stringify([localStorage, sessionStorage]).length < 60 && document.cookie"),
        json!("")
    );
}
