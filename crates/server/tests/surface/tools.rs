//! The field's HTTP/2 programs, each with a call that it makes of plain bytes: curl, nghttp and h2load.

use std::path::PathBuf;
use std::process::Command;

use prost::Message;
use windlass_api::etcdserverpb::RangeResponse;

use crate::process::{Launch, Member, Scratch, can_run};
use crate::raw::{frame, messages};
use crate::store::{prefix, put};

const HEADERS: [&str; 4] = ["-H", "content-type: application/grpc", "-H", "te: trailers"];

/// A member with one key, and a file with a request for it.
fn scene(folder: &Scratch) -> (Member, PathBuf, String) {
    let member = Launch::new(folder.path()).member();
    member.client().put(&put("key", "value")).expect("written");
    let request = folder.path().join("range");
    std::fs::write(&request, frame(&prefix(b'k').encode_to_vec())).expect("written");
    let url = format!("http://{}/etcdserverpb.KV/Range", member.endpoint());
    (member, request, url)
}

fn output(command: &mut Command) -> (Vec<u8>, String) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    (output.stdout, said)
}

#[test]
fn curl_calls_with_prior_knowledge() {
    if !can_run("curl", "so its HTTP/2 is not tried") {
        return;
    }
    let folder = Scratch::new();
    let (member, request, url) = scene(&folder);
    // The body's length is in the head, as gRPC's own clients do not have it.
    let data = format!("@{}", request.display());
    let (body, said) = output(
        Command::new("curl")
            .args(["-sSv", "--http2-prior-knowledge", "--data-binary", &data, &url])
            .args(HEADERS),
    );
    assert_eq!(messages::<RangeResponse>(&body)[0].kvs[0].value, "value");
    assert!(said.contains("< grpc-status: 0"), "{said}");
    // An offer to go on with HTTP/2 may be ignored.
    let version = format!("http://{}/version", member.endpoint());
    let (page, _) = output(Command::new("curl").args([
        "-sS",
        "--http2",
        "-w",
        " %{http_version} %{http_code}",
        &version,
    ]));
    assert!(String::from_utf8_lossy(&page).ends_with(" 1.1 200"));
}

#[test]
fn nghttp_and_h2load_call() {
    if !can_run("nghttp", "so it is not tried") || !can_run("h2load", "so it is not tried") {
        return;
    }
    let folder = Scratch::new();
    let (_member, request, url) = scene(&folder);
    let (said, _) = output(
        Command::new("nghttp")
            .args(["-v", "-H", ":method: POST", "-d"])
            .arg(&request)
            .args(HEADERS)
            .arg(&url),
    );
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("grpc-status: 0") && said.contains(":status: 200"), "{said}");
    let (said, _) = output(
        Command::new("h2load")
            .args(["-n", "500", "-c", "5", "-m", "10", "-d"])
            .arg(&request)
            .args(HEADERS)
            .arg(&url),
    );
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("500 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
}
