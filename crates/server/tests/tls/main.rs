//! Real members that speak TLS, with stock etcdctl and with clients made here.

mod authority;
#[path = "../process/mod.rs"]
mod process;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windlass_tls::{Settings, Stream, Tls};

use authority::Authority;
use process::{Launch, Member, Scratch, etcd_folder, free_address};

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// etcdctl, and how it is to reach a member.
struct Ctl {
    program: PathBuf,
    flags: Vec<String>,
}

impl Ctl {
    fn new(folder: &Path, address: &str, flags: &[&str]) -> Self {
        let mut flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("--endpoints=https://{address}"));
        Self { program: folder.join("etcdctl"), flags }
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(&self.program)
            .args(&self.flags)
            .args(args)
            .env_clear()
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("etcdctl starts");
        // It may fail before it reads its input.
        let _ = child.stdin.take().expect("piped").write_all(input);
        child.wait_with_output().expect("etcdctl ends")
    }

    fn good(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.run(args, input);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// What it says when it cannot reach the member.
    fn bad(&self) -> String {
        let output = self.run(&["get", "k", "--dial-timeout=1s", "--command-timeout=2s"], b"");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// A member on https alone.
fn launch(folder: &Path, flags: &[String]) -> (Launch, String) {
    let address = free_address();
    let launch = Launch::new(folder)
        .flag(format!("--listen-client-urls=https://{address}"))
        .flag(format!("--advertise-client-urls=https://{address}"))
        .flags(flags);
    (launch, address)
}

fn start(launch: Launch, ctl: &Ctl) -> Member {
    launch.member_when(|| ctl.run(&["get", "k", "--command-timeout=1s"], b"").status.success())
}

fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + START_TIMEOUT;
    while !is_true() {
        assert!(Instant::now() < deadline, "not in time: {what}");
    }
}

#[test]
fn etcdctl_works_with_certificates_and_not_without() {
    let Some(etcd) = etcd_folder() else { return };
    let scratch = Scratch::new();
    let ca = Authority::new(&scratch.path().join("ca"));
    let server = ca.certificate("server", &["127.0.0.1"]);
    let flags = [
        format!("--cert-file={}", server.cert),
        format!("--key-file={}", server.key),
        format!("--trusted-ca-file={}", ca.file()),
        "--client-cert-auth".to_owned(),
    ];
    let (launch, address) = launch(scratch.path(), &flags);
    let root = ca.certificate("root", &[]);
    let cacert = format!("--cacert={}", ca.file());
    let (cert, key) = (format!("--cert={}", root.cert), format!("--key={}", root.key));
    let ctl = Ctl::new(&etcd, &address, &[&cacert, &cert, &key]);
    let _member = start(launch, &ctl);

    assert_eq!(ctl.good(&["put", "k", "v"], b""), b"OK\n");
    assert_eq!(ctl.good(&["get", "k"], b""), b"k\nv\n");
    // More than TLS and the kernel hold at once, both ways.
    let large: String = (0..1_000_000).map(|i| char::from(b'a' + (i / 7 % 26) as u8)).collect();
    for i in 0..8 {
        ctl.good(&["put", &format!("large/{i}")], large.as_bytes());
    }
    let got = ctl.good(&["get", "--prefix", "large/", "--print-value-only"], b"");
    assert!(got == format!("{large}\n").repeat(8).as_bytes(), "{} bytes came back", got.len());

    let without = Ctl::new(&etcd, &address, &[&cacert]);
    without.bad();
    let other = Authority::new(&scratch.path().join("other"));
    let stranger = other.certificate("root", &[]);
    let (cert, key) = (format!("--cert={}", stranger.cert), format!("--key={}", stranger.key));
    Ctl::new(&etcd, &address, &[&cacert, &cert, &key]).bad();

    // A new certificate is shown without a restart, and one of another authority is not believed.
    let renewed = other.certificate("server", &["127.0.0.1"]);
    std::fs::copy(renewed.key, &server.key).expect("the key can be replaced");
    std::fs::copy(renewed.cert, &server.cert).expect("the certificate can be replaced");
    assert!(ctl.bad().contains("context deadline exceeded"));
    let believing = format!("--cacert={}", other.file());
    let (cert, key) = (format!("--cert={}", root.cert), format!("--key={}", root.key));
    assert_eq!(Ctl::new(&etcd, &address, &[&believing, &cert, &key]).good(&["get", "k"], b""), b"k\nv\n");
}

#[test]
fn pages_are_served_over_tls() {
    let Some(etcd) = etcd_folder() else { return };
    let scratch = Scratch::new();
    let flags = ["--auto-tls".to_owned(), "--host-whitelist=elsewhere".to_owned()];
    let (launch, address) = launch(scratch.path(), &flags);
    let ctl = Ctl::new(&etcd, &address, &["--insecure-skip-tls-verify", "--insecure-transport=false"]);
    let _member = start(launch, &ctl);
    assert!(scratch.path().join("data/fixtures/client/cert.pem").exists());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // Who offers both, as curl, Prometheus and Go's clients do, gets pages; who speaks gRPC offers HTTP/2 alone.
    for (offered, agreed) in
        [(&["h2", "http/1.1"][..], "http/1.1"), (&["http/1.1"], "http/1.1"), (&["h2"], "h2"), (&[], "")]
    {
        let alpn = offered.iter().map(|&name| name.into()).collect();
        let tls = Tls::new(Settings { insecure_skip_verify: true, alpn, ..Settings::default() });
        let (protocol, page) = runtime.block_on(page(&tls.expect("nothing to read"), &address));
        assert_eq!(protocol, agreed, "of {offered:?}");
        assert!(page.starts_with("HTTP/1.1 200") && page.contains("{\"health\":\"true\""), "{page}");
    }
}

/// The protocol that is agreed on with a member, and its page on health: what is spoken shows in the first bytes.
async fn page(tls: &Tls, address: &str) -> (String, String) {
    let tcp = tokio::net::TcpStream::connect(address).await.expect("the member accepts");
    let mut stream = tls.connect(tcp, "127.0.0.1").await.expect("a handshake");
    let agreed = match &stream {
        Stream::Tls(stream) => stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec(),
        Stream::Plain(_) => panic!("it is protected"),
    };
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the member reads");
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("the member answers and closes");
    (String::from_utf8(agreed).expect("a name"), page)
}

#[test]
fn three_members_with_certificates_are_a_cluster() {
    let Some(etcd) = etcd_folder() else { return };
    let scratch = Scratch::new();
    let ca = Authority::new(&scratch.path().join("ca"));
    let peers: Vec<String> = (0..3).map(|_| free_address()).collect();
    let cluster: Vec<String> =
        peers.iter().enumerate().map(|(i, peer)| format!("m{i}=https://{peer}")).collect();
    let started: Vec<(Launch, String)> = (0..3)
        .map(|i| {
            let folder = scratch.path().join(format!("m{i}"));
            std::fs::create_dir(&folder).expect("a folder");
            let peer = ca.certificate(&format!("m{i}"), &["127.0.0.1"]);
            let flags = [
                format!("--name=m{i}"),
                format!("--initial-cluster={}", cluster.join(",")),
                format!("--initial-advertise-peer-urls=https://{}", peers[i]),
                format!("--listen-peer-urls=https://{}", peers[i]),
                format!("--peer-cert-file={}", peer.cert),
                format!("--peer-key-file={}", peer.key),
                format!("--peer-trusted-ca-file={}", ca.file()),
                "--peer-client-cert-auth".to_owned(),
                "--auto-tls".to_owned(),
                "--net-threads=1".to_owned(),
                "--shards=1".to_owned(),
            ];
            launch(&folder, &flags)
        })
        .collect();
    let flags = ["--insecure-skip-tls-verify", "--insecure-transport=false"];
    let ctls: Vec<Ctl> = started.iter().map(|(_, address)| Ctl::new(&etcd, address, &flags)).collect();
    let members: Vec<Member> = started.into_iter().map(|(launch, _)| launch.member_when(|| true)).collect();
    wait_until("a leader", || ctls[0].run(&["put", "k", "v", "--command-timeout=2s"], b"").status.success());
    for ctl in &ctls {
        assert_eq!(ctl.good(&["get", "k"], b""), b"k\nv\n");
    }
    let list = String::from_utf8(ctls[1].good(&["member", "list"], b"")).expect("text");
    assert_eq!(list.matches("https://").count(), 6, "{list}");
    drop(members);
}

/// GHSA-6vch: who connects and does not go on with the handshake must not keep others from theirs.
#[test]
fn connections_that_say_nothing_hold_nobody_up() {
    let Some(etcd) = etcd_folder() else { return };
    let scratch = Scratch::new();
    let (launch, address) = launch(scratch.path(), &["--auto-tls".to_owned()]);
    let ctl = Ctl::new(&etcd, &address, &["--insecure-skip-tls-verify", "--insecure-transport=false"]);
    let _member = start(launch, &ctl);
    let silent: Vec<std::net::TcpStream> = (0..200)
        .map(|i| {
            let mut socket = std::net::TcpStream::connect(&address).expect("the member accepts");
            // Half of them begin a handshake and leave it there.
            if i % 2 == 0 {
                socket.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).expect("the kernel takes it");
            }
            socket
        })
        .collect();
    assert_eq!(ctl.good(&["put", "k", "v"], b""), b"OK\n");
    drop(silent);
}

/// The common name of a client's certificate is its user, where it sends no token.
#[test]
fn names_in_certificates_are_users() {
    let Some(etcd) = etcd_folder() else { return };
    let scratch = Scratch::new();
    let ca = Authority::new(&scratch.path().join("ca"));
    let server = ca.certificate("server", &["127.0.0.1"]);
    let flags = [
        format!("--cert-file={}", server.cert),
        format!("--key-file={}", server.key),
        format!("--trusted-ca-file={}", ca.file()),
        "--client-cert-auth".to_owned(),
        "--bcrypt-cost=4".to_owned(),
    ];
    let (launch, address) = launch(scratch.path(), &flags);
    let cacert = format!("--cacert={}", ca.file());
    let named = |name: &str| {
        let files = ca.certificate(name, &[]);
        let (cert, key) = (format!("--cert={}", files.cert), format!("--key={}", files.key));
        Ctl::new(&etcd, &address, &[&cacert, &cert, &key])
    };
    let (root, alice, stranger) = (named("root"), named("alice"), named("stranger"));
    let _member = start(launch, &root);
    for args in [
        &["user", "add", "root", "--no-password"][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", "alice", "--no-password"],
        &["user", "add", "bob:bobpw"],
        &["role", "add", "r"],
        &["role", "grant-permission", "r", "readwrite", "k"],
        &["user", "grant-role", "alice", "r"],
        &["user", "grant-role", "bob", "r"],
        &["auth", "enable"],
        &["put", "other", "v"],
    ] {
        root.good(args, b"");
    }
    assert_eq!(alice.good(&["put", "k", "v"], b""), b"OK\n");
    assert_eq!(alice.good(&["get", "k"], b""), b"k\nv\n");
    let refused = |ctl: &Ctl, args: &[&str], why: &str| {
        let output = ctl.run(args, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{args:?}: {said}");
    };
    refused(&alice, &["get", "other"], "etcdserver: permission denied");
    refused(&alice, &["user", "list"], "etcdserver: permission denied");
    refused(&stranger, &["get", "k"], "etcdserver: permission denied");
    // Who has no password cannot log in with one, whatever it is.
    refused(&stranger, &["--user", "alice:x", "get", "k"], "no password user");
    // A token goes before the name in the certificate.
    assert_eq!(stranger.good(&["--user", "bob:bobpw", "get", "k"], b""), b"k\nv\n");
    refused(&root, &["--user", "bob:bobpw", "get", "other"], "etcdserver: permission denied");
}

#[test]
fn what_cannot_be_protected_as_asked_is_refused() {
    let scratch = Scratch::new();
    let ca = Authority::new(&scratch.path().join("ca"));
    let server = ca.certificate("server", &["127.0.0.1"]);
    let (cert, key) = (format!("--cert-file={}", server.cert), format!("--key-file={}", server.key));
    // Where no address is an https one a certificate is left alone, as by etcd.
    let https = "--listen-client-urls=https://127.0.0.1:0";
    let cases: [(&[&str], &str); 6] = [
        (&[https], "without a certificate: give --cert-file and --key-file"),
        (&[https, &cert], "--cert-file and --key-file must both be present"),
        (&[https, &key, "--cert-file=/no/such/file"], "cannot read the certificate /no/such/file: "),
        (&[&cert, &key, "--tls-min-version=TLS1.1"], "(must be one of: TLS1.2, TLS1.3)"),
        (&[&cert, &key, "--cipher-suites=TLS_NO_SUCH_SUITE"], "unexpected TLS cipher suite"),
        (&["--listen-peer-urls=https://127.0.0.1:0"], "--peer-cert-file"),
    ];
    for (flags, part) in cases {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let ended = Launch::new(scratch.path()).flags(&flags).ended(1);
        assert!(ended.output.contains(part), "{flags:?}: {}", ended.output);
        assert!(!scratch.path().join("data").exists(), "{flags:?}");
    }
}
