//! Handshakes over loopback: who gets in, who does not, and when files change.

mod authority;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use authority::{Authority, Leaf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use windlass_tls::{Error, HandshakeError, Identity, Protocols, Settings, Tls, Version};

const TIME_MAX: Duration = Duration::from_secs(20);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

type Accepted = Result<Option<Identity>, HandshakeError>;

/// One handshake, and one byte each way if it is good. What the listener says, and whether the dialler got its byte.
fn handshake(listening: &Tls, dialling: &Tls, host: &str) -> (Accepted, Result<(), HandshakeError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listen = async {
            let (tcp, _) = listener.accept().await.unwrap();
            let (mut stream, identity) = listening.accept(tcp, TIME_MAX).await?;
            stream.write_u8(7).await?;
            stream.flush().await?;
            stream.read_u8().await?;
            Ok(identity)
        };
        let dial = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let mut stream = dialling.connect(tcp, host).await?;
            assert_eq!(stream.read_u8().await?, 7);
            stream.write_u8(8).await?;
            stream.flush().await?;
            Ok(())
        };
        tokio::join!(listen, dial)
    })
}

fn server(ca: &Authority) -> Settings {
    let (cert, key) = ca.leaf(Leaf::new("server", &["127.0.0.1", "localhost"]));
    Settings {
        cert_file: Some(cert),
        key_file: Some(key),
        trusted_ca_file: Some(ca.file()),
        client_cert_auth: true,
        ..Settings::default()
    }
}

fn client(ca: &Authority, leaf: Option<Leaf>) -> Settings {
    let (cert, key) = leaf.map(|leaf| ca.leaf(leaf)).unzip();
    Settings {
        client_cert_file: cert,
        client_key_file: key,
        trusted_ca_file: Some(ca.file()),
        ..Settings::default()
    }
}

fn tls(settings: Settings) -> Tls {
    Tls::new(settings).unwrap()
}

fn check_good(listening: &Tls, dialling: &Tls) -> Option<Identity> {
    let (accepted, dialled) = handshake(listening, dialling, "127.0.0.1");
    dialled.unwrap();
    accepted.unwrap()
}

/// Neither side takes the other for good.
fn check_bad(listening: &Tls, dialling: &Tls) -> HandshakeError {
    let (accepted, dialled) = handshake(listening, dialling, "127.0.0.1");
    dialled.unwrap_err();
    accepted.unwrap_err()
}

#[test]
fn both_sides_know_each_other() {
    let ca = Authority::new("ca");
    let listening = tls(server(&ca));
    for host in ["127.0.0.1", "localhost"] {
        let dialling = tls(client(&ca, Some(Leaf::new("alice", &["alice.example"]))));
        let (accepted, dialled) = handshake(&listening, &dialling, host);
        dialled.unwrap();
        let identity = accepted.unwrap().unwrap();
        assert_eq!(identity.common_name.as_deref(), Some("alice"));
        assert_eq!(identity.dns_names, ["alice.example"]);
    }
}

#[test]
fn the_listeners_certificate_serves_for_dialling_too() {
    let ca = Authority::new("ca");
    let both = tls(server(&ca));
    assert_eq!(check_good(&both, &both).unwrap().common_name.as_deref(), Some("server"));
}

#[test]
fn without_client_certificates_nobody_is_known() {
    let ca = Authority::new("ca");
    let listening = tls(Settings { trusted_ca_file: None, client_cert_auth: false, ..server(&ca) });
    assert_eq!(check_good(&listening, &tls(client(&ca, None))), None);
}

#[test]
fn who_shows_no_certificate_is_turned_away() {
    let ca = Authority::new("ca");
    check_bad(&tls(server(&ca)), &tls(client(&ca, None)));
    // As in etcd, a file of authorities is enough to ask for one.
    let listening = tls(Settings { client_cert_auth: false, ..server(&ca) });
    check_bad(&listening, &tls(client(&ca, None)));
}

#[test]
fn certificates_of_another_authority_are_turned_away_on_both_sides() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let stranger =
        Settings { trusted_ca_file: Some(ca.file()), ..client(&other, Some(Leaf::new("alice", &[]))) };
    check_bad(&tls(server(&ca)), &tls(stranger));
    let deceived =
        Settings { trusted_ca_file: Some(other.file()), ..client(&ca, Some(Leaf::new("alice", &[]))) };
    check_bad(&tls(server(&ca)), &tls(deceived));
}

#[test]
fn certificates_that_have_ended_are_turned_away() {
    let ca = Authority::new("ca");
    check_bad(&tls(server(&ca)), &tls(client(&ca, Some(Leaf { ended: true, ..Leaf::new("alice", &[]) }))));
    let (cert, key) = ca.leaf(Leaf { ended: true, ..Leaf::new("server", &["127.0.0.1"]) });
    let listening = tls(Settings { cert_file: Some(cert), key_file: Some(key), ..server(&ca) });
    check_bad(&listening, &tls(client(&ca, Some(Leaf::new("alice", &[])))));
}

#[test]
fn a_server_of_another_name_is_not_taken() {
    let ca = Authority::new("ca");
    let (cert, key) = ca.leaf(Leaf::new("server", &["node.example"]));
    let listening = tls(Settings { cert_file: Some(cert), key_file: Some(key), ..server(&ca) });
    check_bad(&listening, &tls(client(&ca, Some(Leaf::new("alice", &[])))));
}

#[test]
fn only_allowed_common_names_get_in() {
    let ca = Authority::new("ca");
    let allowed_cn = vec!["bob".to_owned(), "alice".to_owned()];
    let listening = tls(Settings { allowed_cn, ..server(&ca) });
    check_good(&listening, &tls(client(&ca, Some(Leaf::new("alice", &[])))));
    let error = check_bad(&listening, &tls(client(&ca, Some(Leaf::new("eve", &[])))));
    assert_eq!(error.to_string(), "certificate is not allowed: its common name is \"eve\"");
    // Without certificates nobody has an allowed name.
    let open = Settings { trusted_ca_file: None, client_cert_auth: false, ..server(&ca) };
    check_bad(&tls(Settings { allowed_cn: vec!["bob".to_owned()], ..open }), &tls(client(&ca, None)));
}

#[test]
fn only_allowed_hostnames_get_in() {
    let ca = Authority::new("ca");
    let allowed_hostname = vec!["a.node.example".to_owned()];
    let listening = tls(Settings { allowed_hostname, ..server(&ca) });
    check_good(&listening, &tls(client(&ca, Some(Leaf::new("x", &["*.node.example"])))));
    check_bad(&listening, &tls(client(&ca, Some(Leaf::new("a.node.example", &["other.example"])))));
}

#[test]
fn a_certificate_for_other_addresses_is_turned_away_if_asked() {
    let ca = Authority::new("ca");
    let listening = tls(Settings { check_client_san: true, ..server(&ca) });
    for good in [&[][..], &["127.0.0.1"], &["localhost"], &["10.0.0.1", "localhost"]] {
        check_good(&listening, &tls(client(&ca, Some(Leaf::new("a", good)))));
    }
    for bad in [&["10.0.0.1"][..], &["*.example"], &["10.0.0.1", "no-such-name.invalid"]] {
        let error = check_bad(&listening, &tls(client(&ca, Some(Leaf::new("a", bad)))));
        assert!(error.to_string().ends_with("none of them is 127.0.0.1"), "{error}");
    }
}

#[test]
fn revoked_certificates_are_turned_away() {
    let ca = Authority::new("ca");
    let (good, bad) = (Leaf { serial: 5, ..Leaf::new("a", &[]) }, Leaf { serial: 6, ..Leaf::new("a", &[]) });
    for as_pem in [true, false] {
        let listening = tls(Settings { crl_file: Some(ca.revoke(&[6, 9], as_pem)), ..server(&ca) });
        check_good(&listening, &tls(client(&ca, Some(good.clone()))));
        check_bad(&listening, &tls(client(&ca, Some(bad.clone()))));
    }
}

#[test]
fn self_signed_members_take_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = windlass_tls::self_signed(folder.path(), &["10.0.0.1".to_owned()], 1).unwrap();
    let settings = Settings {
        cert_file: Some(cert),
        key_file: Some(key),
        insecure_skip_verify: true,
        ..Settings::default()
    };
    check_good(&tls(settings.clone()), &tls(settings));
}

#[test]
fn versions_and_suites_are_kept_to() {
    let ca = Authority::new("ca");
    let with = |protocols: Protocols, settings: Settings| tls(Settings { protocols, ..settings });
    let alice = || client(&ca, Some(Leaf::new("alice", &[])));
    let new = |min, max, suites: &[String]| Protocols::new(min, max, suites).unwrap();
    let only_13 = new(Version::V13, None, &[]);
    let only_12 = new(Version::V12, Some(Version::V12), &[]);
    check_good(&with(only_13.clone(), server(&ca)), &tls(alice()));
    check_good(&with(only_12.clone(), server(&ca)), &tls(alice()));
    check_bad(&with(only_13, server(&ca)), &with(only_12, alice()));
    let suite = |name: &str| new(Version::V12, Some(Version::V12), &[name.to_owned()]);
    let aes = || suite("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    check_good(&with(aes(), server(&ca)), &with(aes(), alice()));
    check_bad(&with(aes(), server(&ca)), &with(suite("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305"), alice()));
}

#[test]
fn files_that_change_are_used_from_the_next_handshake_on() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let settings = server(&ca);
    let listening = tls(settings.clone());
    let alice = || tls(client(&ca, Some(Leaf::new("alice", &[]))));
    let stranger = || tls(client(&other, Some(Leaf::new("alice", &[]))));
    check_good(&listening, &alice());
    check_bad(&listening, &stranger());

    // One file of a pair alone does not go together with the other: the former pair stays.
    let (cert, key) = other.leaf(Leaf::new("server", &["127.0.0.1"]));
    let replace = |from: PathBuf, to: &Option<PathBuf>| std::fs::rename(from, to.as_ref().unwrap()).unwrap();
    replace(cert, &settings.cert_file);
    check_good(&listening, &alice());
    replace(key, &settings.key_file);
    std::fs::copy(other.file(), settings.trusted_ca_file.as_ref().unwrap()).unwrap();
    check_bad(&listening, &alice());
    check_good(&listening, &stranger());
}

#[test]
fn what_is_wrong_with_files_and_settings_is_said_at_start() {
    let ca = Authority::new("ca");
    let error = |settings: Settings| Tls::new(settings).map(|_| ()).unwrap_err();
    let missing = error(Settings { cert_file: Some("/no/such/file".into()), ..server(&ca) });
    assert!(matches!(missing, Error::Read { .. }), "{missing}");
    assert!(missing.to_string().starts_with("cannot read the certificate /no/such/file: "), "{missing}");
    let swapped = server(&ca);
    let swapped =
        Settings { cert_file: swapped.key_file.clone(), key_file: swapped.cert_file.clone(), ..swapped };
    assert!(error(swapped).to_string().contains("there is no CERTIFICATE section in it"));
    let (_, key) = ca.leaf(Leaf::new("x", &[]));
    let mismatch = error(Settings { key_file: Some(key), ..server(&ca) });
    assert!(matches!(mismatch, Error::Content { .. }), "{mismatch}");
    assert_eq!(
        error(Settings { key_file: None, ..server(&ca) }).to_string(),
        "certificate and its key must both be given"
    );
    let both = Settings { allowed_cn: vec!["a".into()], allowed_hostname: vec!["b".into()], ..server(&ca) };
    assert_eq!(error(both).to_string(), "allowed CN and allowed hostname are mutually exclusive");
    let crl = error(Settings { crl_file: Some(ca.file()), ..server(&ca) });
    assert!(matches!(crl, Error::Content { .. }), "{crl}");
    assert!(!tls(client(&ca, None)).can_listen());
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let ca = Authority::new("ca");
    let listening = tls(server(&ca));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        let error = listening.accept(tcp, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, HandshakeError::TimedOut), "{error}");
    });
}

#[test]
fn one_certificate_may_be_everybodys_and_its_own_authority() {
    let ca = Authority::new("ca");
    let own = |names: &[&str]| {
        let (cert, key) = ca.itself(names);
        Settings {
            cert_file: Some(cert.clone()),
            key_file: Some(key),
            trusted_ca_file: Some(cert),
            client_cert_auth: true,
            ..Settings::default()
        }
    };
    let settings = own(&["127.0.0.1"]);
    for version in [Version::V12, Version::V13] {
        let protocols = Protocols::new(version, Some(version), &[]).unwrap();
        let both = tls(Settings { protocols, ..settings.clone() });
        let identity = check_good(&both, &both).expect("a certificate was shown");
        assert_eq!(identity.common_name.as_deref(), Some("itself"));
    }
    let both = tls(settings.clone());
    check_bad(&both, &tls(own(&["127.0.0.1"])));
    check_bad(&tls(own(&["127.0.0.1"])), &both);
    let (accepted, dialled) = handshake(&both, &both, "localhost");
    assert!(accepted.is_err() && dialled.is_err(), "it is for an address, not for this name");
    let revoked = Settings { crl_file: Some(ca.revoke(&[1], true)), ..settings };
    check_bad(&tls(revoked), &both);
}

/// Made by `openssl x509 -req` without extensions; good until 2126.
#[test]
fn clients_may_show_certificates_of_the_first_version() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/handshakes/first_version");
    let file = |name: &str| Some(folder.join(name));
    let ca = Authority::new("ca");
    let listening = Settings { trusted_ca_file: file("ca.pem"), ..server(&ca) };
    let dialling = Settings {
        client_cert_file: file("cert.pem"),
        client_key_file: file("key.pem"),
        trusted_ca_file: Some(ca.file()),
        ..Settings::default()
    };
    for version in [Version::V12, Version::V13] {
        let protocols = Protocols::new(version, Some(version), &[]).unwrap();
        let listening = tls(Settings { protocols, ..listening.clone() });
        let identity = check_good(&listening, &tls(dialling.clone())).expect("a certificate was shown");
        assert_eq!(identity.common_name.as_deref(), Some("first"));
    }
    check_bad(&tls(server(&ca)), &tls(dialling.clone()));
    let of_names = Settings { allowed_hostname: vec!["first".to_owned()], ..listening };
    check_bad(&tls(of_names), &tls(dialling));
}
