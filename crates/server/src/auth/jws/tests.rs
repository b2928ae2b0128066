//! What is signed, what is believed, and in which forms keys come.

use std::path::Path;
use std::time::Duration;

use super::*;

/// One pair of keys for each kind, in the forms in which tools write them.
fn pairs() -> Vec<(&'static str, String, Option<String>)> {
    let pair = |algorithm| {
        let pair = rcgen::KeyPair::generate_for(algorithm).expect("ring makes keys of this kind");
        (pair.serialize_pem(), pair.public_key_pem())
    };
    let (p256, p256_public) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (p384, p384_public) = pair(&rcgen::PKCS_ECDSA_P384_SHA384);
    let (ed, ed_public) = pair(&rcgen::PKCS_ED25519);
    vec![
        ("ES256", p256, Some(p256_public)),
        ("ES384", p384, Some(p384_public)),
        ("EdDSA", ed, Some(ed_public)),
        ("HS256", "a secret".to_owned(), None),
        ("HS384", "a secret".to_owned(), None),
        ("HS512", "a secret".to_owned(), None),
    ]
}

fn options(folder: &Path, method: &str, private: Option<&str>, public: Option<&str>) -> JwtOptions {
    let write = |name: &str, pem: &str| {
        let path = folder.join(name);
        std::fs::write(&path, pem).expect("a file");
        path
    };
    JwtOptions {
        method: method.to_owned(),
        private_key: private.map(|pem| write("private", pem)),
        public_key: public.map(|pem| write("public", pem)),
        ttl: Duration::from_secs(100),
    }
}

#[test]
fn what_is_signed_is_verified_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    for (method, private, public) in pairs() {
        let jws =
            Jws::load(&options(folder.path(), method, Some(&private), public.as_deref())).expect(method);
        let token = jws.sign("alice", 7, 1000).expect(method);
        let claims = jws.verify(&token).expect(method);
        let wanted =
            Claims { username: "alice".into(), revision: 7, expires_s: Some(1100), not_before_s: None };
        assert_eq!(claims, wanted);
        assert!(claims.is_good_at(1099) && !claims.is_good_at(1100));
        // Any other letter, anywhere.
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).expect("letters");
            if let Ok(claims) = jws.verify(&forged) {
                // The last letter of base64 has bits that say nothing; without padding they must be zero.
                panic!("{method}: {forged} says {claims:?}");
            }
        }
        for broken in ["", ".", "..", "a.b.c", "a.b", &token[..token.len() - 1], &format!("{token}.x")] {
            assert!(jws.verify(broken).is_err(), "{method}: {broken}");
        }
    }
}

#[test]
fn a_token_cannot_choose_its_method() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_, private, public) = pairs().remove(0);
    let public = public.expect("a curve has one");
    let jws = Jws::load(&options(folder.path(), "ES256", Some(&private), None)).expect("a pair");
    // Signed with the public key for a secret, which is what the oldest attack on JWTs does; and not at all.
    let forger = Jws::load(&options(folder.path(), "HS256", Some(&public), None)).expect("a secret");
    let forged = forger.sign("root", 1, 1000).expect("signed");
    assert!(jws.verify(&forged).is_err());
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = r#"{"exp":99999999999,"revision":1,"username":"root"}"#;
    for alg in ["none", "None", "ES256"] {
        let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
        assert!(jws.verify(&format!("{}.{}.", part(&header), part(claims))).is_err(), "{alg}");
    }
}

#[test]
fn a_public_key_verifies_and_does_not_sign() {
    let folder = tempfile::tempdir().expect("a folder");
    for (method, private, public) in pairs() {
        let Some(public) = public else { continue };
        let signer = Jws::load(&options(folder.path(), method, Some(&private), None)).expect(method);
        let token = signer.sign("alice", 7, 1000).expect(method);
        let verifier = Jws::load(&options(folder.path(), method, None, Some(&public))).expect(method);
        assert_eq!(verifier.verify(&token).expect(method).username, "alice");
        assert!(matches!(verifier.sign("alice", 7, 1000), Err(Error::VerifyOnly)));
    }
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = pairs();
    let (p256, p384) = (&keys[0], &keys[1]);
    let load = |method: &str, private: Option<&str>, public: Option<&str>| {
        Jws::load(&options(folder.path(), method, private, public)).err()
    };
    assert!(matches!(load("ES256", Some(&p256.1), p384.2.as_deref()), Some(Error::Mismatch)));
    assert!(matches!(load("ES384", Some(&p256.1), None), Some(Error::Key { .. })));
    assert!(matches!(load("RS256", Some(&p256.1), None), Some(Error::Key { .. })));
    assert!(matches!(load("ES256", Some("nothing"), None), Some(Error::Key { .. })));
    assert!(matches!(load("ES256", None, None), Some(Error::Missing("ES256"))));
    assert!(matches!(load("HS256", None, p256.2.as_deref()), Some(Error::Missing("HS256"))));
    assert!(matches!(load("ES512", Some(&p256.1), None), Some(Error::Key { .. })));
    assert!(matches!(load("ES512", None, p256.2.as_deref()), Some(Error::Key { .. })));
    assert!(matches!(load("ES1024", Some(&p256.1), None), Some(Error::Method(..))));
    assert!(matches!(load("none", Some(&p256.1), None), Some(Error::Method(..))));
    let missing = JwtOptions {
        private_key: Some(folder.path().join("nowhere")),
        ..options(folder.path(), "ES256", None, None)
    };
    assert!(matches!(Jws::load(&missing).err(), Some(Error::File { .. })));
    let endless =
        JwtOptions { private_key: Some("/dev/zero".into()), ..options(folder.path(), "HS256", None, None) };
    let Some(Error::File { source, .. }) = Jws::load(&endless).err() else { panic!("a key without end") };
    assert_eq!(source.to_string(), "it has more than 1048576 bytes");
}

/// Keys as openssl writes them, made for these tests.
macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("fixtures/", $name, ".pem"))
    };
}

#[test]
fn keys_of_openssl_are_read_in_all_their_forms() {
    let folder = tempfile::tempdir().expect("a folder");
    let rsa = (
        [fixture!("rsa.pkcs1"), fixture!("rsa.pkcs8")],
        vec![fixture!("rsa.public"), fixture!("rsa.public.pkcs1")],
    );
    let p256 = ([fixture!("p256.sec1"); 2], vec![fixture!("p256.public"), fixture!("p256.certificate")]);
    let p521 = ([fixture!("p521.sec1"), fixture!("p521.pkcs8")], vec![fixture!("p521.public")]);
    let of_rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(|method| (method, &rsa));
    for (method, (privates, publics)) in of_rsa.into_iter().chain([("ES256", &p256), ("ES512", &p521)]) {
        for private in privates {
            let signer = Jws::load(&options(folder.path(), method, Some(private), None)).expect(method);
            let token = signer.sign("alice", 7, 1000).expect(method);
            assert_eq!(signer.verify(&token).expect(method).revision, 7);
            for public in publics {
                let verifier = Jws::load(&options(folder.path(), method, None, Some(public))).expect(method);
                assert_eq!(verifier.verify(&token).expect(method).username, "alice");
                Jws::load(&options(folder.path(), method, Some(private), Some(public))).expect("a pair");
            }
        }
    }
}
