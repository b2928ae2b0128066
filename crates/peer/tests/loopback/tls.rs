//! Members that speak TLS. The matrix of certificates is tested in `windlass-tls`; here, that members use it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;
use windlass_peer::{Config, Listen, Resume, inquire};
use windlass_tls::{Settings, Tls};

use super::world::*;

struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Settings as of etcd's `--peer-cert-file`, `--peer-key-file`, `--peer-trusted-ca-file`, `--peer-client-cert-auth`.
    fn settings(&self, name: &str) -> Settings {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let write = |name: String, pem: String| {
            std::fs::write(self.path(&name), pem).unwrap();
            Some(self.path(&name))
        };
        Settings {
            cert_file: write(format!("{name}.pem"), params.signed_by(&key, &self.issuer).unwrap().pem()),
            key_file: write(format!("{name}.key"), key.serialize_pem()),
            trusted_ca_file: Some(self.path("ca.pem")),
            client_cert_auth: true,
            check_client_san: true,
            ..Settings::default()
        }
    }
}

fn start_tls(n: u64, settings: Settings) -> Member {
    let (socket, url) = listener();
    let tls = Some(Tls::new(settings).unwrap());
    let member =
        start_with(Config { listen: vec![Listen { socket, tls: true }], tls, ..config(n, listener().0) });
    Member { url: url.replace("http:", "https:"), ..member }
}

async fn check_good(a: &Member, b: &Member) {
    connect(&[a, b]).await;
    for index in 1..=40 {
        a.peers.send(b.id, append(1, 2, index, 50_000)).unwrap();
    }
    b.notes.until("all frames", |notes| notes.frames.borrow().len() == 40).await;
    for (i, (_, frame)) in b.notes.frames.take().into_iter().enumerate() {
        assert!(frame == append(1, 2, i as u64 + 1, 50_000));
    }
}

#[test]
fn members_talk_over_tls() {
    run(async {
        let ca = Authority::new();
        let (a, b) = (start_tls(1, ca.settings("a")), start_tls(2, ca.settings("b")));
        check_good(&a, &b).await;
        let receive = async {
            b.notes.until("an offer", |notes| !notes.offers.borrow().is_empty()).await;
            let offer = b.notes.offers.borrow_mut().remove(0);
            let mut receiver = offer.accept(Resume::default());
            let mut len = 0;
            while let Some(bytes) = receiver.next().await.unwrap() {
                len += bytes.len();
            }
            receiver.confirm();
            len
        };
        let send = async {
            let mut sender = a.peers.send_bulk(b.id, 1, Bytes::new()).await.unwrap();
            sender.send(Bytes::from(vec![7; 9 << 20])).await.unwrap();
            sender.finish().await
        };
        assert_eq!(tokio::join!(receive, send), (9 << 20, Ok(())));
        let dialler = Tls::new(ca.settings("joining")).unwrap();
        let (urls, question) = ([b.url.clone()], Bytes::from_static(b"who?"));
        let answer = inquire(&urls, question.clone(), "v", Some(&dialler), Duration::from_secs(20)).await;
        assert_eq!(answer.unwrap(), "members");
        let error = inquire(&urls, question, "v", None, Duration::from_secs(20)).await.unwrap_err();
        assert!(error.to_string().ends_with("no certificates for https are configured"), "{error}");
    });
}

#[test]
fn members_with_self_signed_certificates_talk() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let settings = |path: &Path| {
            let (cert, key) = windlass_tls::self_signed(path, &["127.0.0.1".to_owned()], 1).unwrap();
            Settings {
                cert_file: Some(cert),
                key_file: Some(key),
                insecure_skip_verify: true,
                ..Settings::default()
            }
        };
        let (a, b) = (settings(&folder.path().join("a")), settings(&folder.path().join("b")));
        check_good(&start_tls(1, a), &start_tls(2, b)).await;
    });
}

#[test]
fn members_of_another_authority_or_name_do_not_get_in() {
    run(async {
        let (ca, other) = (Authority::new(), Authority::new());
        let b = start_tls(2, Settings { allowed_cn: vec!["a".to_owned()], ..ca.settings("b") });
        let strangers = [other.settings("a"), ca.settings("eve")];
        for settings in strangers {
            let stranger = start_tls(1, settings);
            introduce(&[&stranger, &b]);
            stranger.notes.until("failures", |_| stranger.peers.stats()[0].dial_failures >= 2).await;
            assert!(!b.peers.stats()[0].heard);
            stranger.peers.stop();
        }
        let a = start_tls(1, ca.settings("a"));
        introduce(&[&a, &b]);
        a.notes.until_connected(b.id).await;
    });
}

#[test]
fn plain_and_protected_do_not_meet() {
    run(async {
        let ca = Authority::new();
        let (a, b) = (start(1), start_tls(2, ca.settings("b")));
        a.peers.set_members(&[(b.id, vec![b.url.replace("https:", "http:")])]).unwrap();
        b.peers.set_members(&[(a.id, vec![a.url.replace("http:", "https:")])]).unwrap();
        a.notes.until("failures", |_| a.peers.stats()[0].dial_failures >= 2).await;
        b.notes.until("failures", |_| b.peers.stats()[0].dial_failures >= 2).await;
        let (socket, _) = listener();
        let listen = vec![Listen { socket, tls: true }];
        let unprotected =
            windlass_peer::Peers::start(Config { listen, ..config(3, listener().0) }, a.notes.clone());
        assert!(unprotected.is_err());
    });
}
