//! Licences as a whole: made, sealed, opened, checked, tampered with.

use std::collections::BTreeMap;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::platform::{License, Limits};
use model::secret::SecretRef;
use model::{TenantId, Tier};

use super::*;
use crate::seal::{Purpose, Sealed, Seals, Unsealable};

const NOW: i64 = 1_700_000_000;

/// A folder of key files, and a configuration that names some of them.
struct Keys {
    folder: tempfile::TempDir,
    license: License,
}

impl Keys {
    fn new(signing: &[&str], sealing: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = Self { folder, license: License::default() };
        for id in signing {
            let reference = keys.file(id, &STANDARD.encode([id.as_bytes()[1]; 32]));
            keys.license.signing_keys.insert((*id).to_owned(), reference);
            (*id).clone_into(&mut keys.license.sign_with);
        }
        for id in sealing {
            let reference = keys.file(id, &STANDARD.encode([id.as_bytes()[1]; 32]));
            keys.license.key_encryption_keys.insert((*id).to_owned(), reference);
            (*id).clone_into(&mut keys.license.seal_with);
        }
        keys
    }

    fn file(&self, id: &str, text: &str) -> SecretRef {
        let path = self.folder.path().join(id);
        writeln!(std::fs::File::create(&path).unwrap(), "{text}").unwrap();
        SecretRef::File(path.display().to_string())
    }

    fn signer(&self) -> Signer {
        signer(&self.license).unwrap()
    }

    fn seals(&self) -> Seals {
        seals(&self.license).unwrap()
    }
}

fn issue(signer: &Signer, tenant: TenantId) -> Signed {
    let terms = Terms { plan: Tier::Free, limits: Limits::default(), suspended: false };
    signer.issue(tenant, terms, NOW, NOW + 60).unwrap()
}

#[test]
fn a_licence_is_accepted_by_its_public_key_for_its_tenant_in_its_time() {
    let (keys, tenant) = (Keys::new(&["s1"], &[]), TenantId::generate());
    let signer = keys.signer();
    let signed = issue(&signer, tenant);
    // As a data plane reads them.
    let public = PublicKeys::parse(&signer.public_keys().text()).unwrap();
    let verify = |tenant, now| public.verify(&signed.text, tenant, now);
    assert_eq!(verify(tenant, NOW), Ok(signed.claims.clone()));
    assert_eq!(verify(tenant, NOW + 59), Ok(signed.claims.clone()));
    assert_eq!(verify(tenant, NOW + 60), Err(Refused::Expired(NOW + 60)));
    assert_eq!(verify(tenant, NOW - 301), Err(Refused::NotYet(NOW)));
    assert_eq!(verify(TenantId::generate(), NOW), Err(Refused::Foreign(tenant)));
    let other = Keys::new(&["s2"], &[]).signer().public_keys();
    assert_eq!(other.verify(&signed.text, tenant, NOW), Err(Refused::UnknownKey("s1".into())));
}

#[test]
fn no_character_of_a_licence_can_be_changed() {
    let (keys, tenant) = (Keys::new(&["s1"], &[]), TenantId::generate());
    let public = keys.signer().public_keys();
    let text = issue(&keys.signer(), tenant).text.to_string();
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        let refused = public.verify(&changed, tenant, NOW).unwrap_err();
        assert!(
            matches!(refused, Refused::Malformed | Refused::Altered | Refused::UnknownKey(_)),
            "{at}: {refused}"
        );
    }
    // The claims of one under the signature of another of the same key.
    let other = issue(&keys.signer(), TenantId::generate()).text;
    let (claims, _) = text.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    let mixed = format!("{claims}.{signature}");
    assert_eq!(public.verify(&mixed, tenant, NOW), Err(Refused::Altered));
    // The right id over another key.
    let text_of = |text: &str| PublicKeys::parse(text).unwrap();
    let impostor = Keys::new(&["s2"], &[]).signer().public_keys().text().replace("s2=", "s1=");
    assert_eq!(text_of(&impostor).verify(&text, tenant, NOW), Err(Refused::Altered));
}

#[test]
fn public_keys_are_read_strictly() {
    let one = Keys::new(&["s1"], &[]).signer().public_keys().text();
    assert_eq!(PublicKeys::parse(&format!(" {one}, ")).unwrap().len(), 1);
    assert!(PublicKeys::parse("").unwrap().is_empty());
    // The last is a point of small order: whoever names it could sign anything.
    let weak = format!("s1={}", STANDARD.encode([0; 32]));
    for bad in ["s1", "=AAAA", "s1=AAAA", "s1=!", &format!("{one},{one}"), &weak] {
        assert!(PublicKeys::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_sealed_licence_opens_for_its_tenant_only_and_shows_nothing() {
    let (keys, tenant) = (Keys::new(&[], &["k1"]), TenantId::generate());
    let seals = keys.seals();
    let sealed = seals.seal(Purpose::License, tenant, "the licence").unwrap();
    assert_eq!(*seals.open(Purpose::License, tenant, &sealed).unwrap(), "the licence");
    assert!(!sealed.text.windows(3).any(|bytes| bytes == b"the"));
    let again = seals.seal(Purpose::License, tenant, "the licence").unwrap();
    assert_ne!((&sealed.text, &sealed.data_key), (&again.text, &again.data_key), "a key of its own");

    let refused = Err(Unsealable::Refused("k1".into()));
    assert_eq!(seals.open(Purpose::License, TenantId::generate(), &sealed).map(drop), refused);
    let mixed = Sealed { data_key: again.data_key.clone(), ..sealed.clone() };
    assert_eq!(seals.open(Purpose::License, tenant, &mixed).map(drop), refused);
    let swapped = Sealed { text: sealed.data_key.clone(), data_key: sealed.text.clone(), ..sealed.clone() };
    assert_eq!(seals.open(Purpose::License, tenant, &swapped).map(drop), refused);
    for part in 0..2 {
        let length = if part == 0 { sealed.text.len() } else { sealed.data_key.len() };
        for at in 0..length {
            let mut altered = sealed.clone();
            let bytes = if part == 0 { &mut altered.text } else { &mut altered.data_key };
            bytes[at] ^= 1;
            assert_eq!(
                seals.open(Purpose::License, tenant, &altered).map(drop),
                refused,
                "part {part} byte {at}"
            );
        }
    }
    let token = Purpose::Invitation;
    assert_eq!(seals.open(token, tenant, &sealed).map(drop), refused, "nothing stands in for another");
    let invitation = seals.seal(token, tenant, "the token").unwrap();
    assert_eq!(*seals.open(token, tenant, &invitation).unwrap(), "the token");
    assert_eq!(seals.open(Purpose::License, tenant, &invitation).map(drop), refused);
    let short = Sealed { data_key: vec![1; 5], ..sealed };
    assert_eq!(seals.open(Purpose::License, tenant, &short).map(drop), refused);
}

#[test]
fn keys_rotate_one_after_the_other() {
    let tenant = TenantId::generate();
    let old = Keys::new(&[], &["k1"]).seals();
    let both = Keys::new(&[], &["k1", "k2"]).seals();
    let new = Keys::new(&[], &["k2"]).seals();
    let sealed = old.seal(Purpose::License, tenant, "the licence").unwrap();
    // Old ones open, the newest seals.
    assert_eq!(*both.open(Purpose::License, tenant, &sealed).unwrap(), "the licence");
    assert_eq!(both.seal(Purpose::License, tenant, "x").unwrap().key_id, "k2");
    assert_eq!(
        new.open(Purpose::License, tenant, &sealed).map(drop),
        Err(Unsealable::UnknownKey("k1".into()))
    );
    let rewrapped = both.rewrap(Purpose::License, tenant, &sealed).unwrap();
    assert_eq!((&rewrapped.text, rewrapped.key_id.as_str()), (&sealed.text, "k2"));
    assert_eq!(*new.open(Purpose::License, tenant, &rewrapped).unwrap(), "the licence");
    assert!(both.rewrap(Purpose::License, TenantId::generate(), &sealed).is_err());
}

#[test]
fn a_key_that_is_missing_or_wrong_is_named_by_its_setting() {
    let keys = Keys::new(&["s1"], &["k1"]);
    let said = |license: &License| {
        [signer(license).err(), seals(license).err()].map(|error| error.map(|error| error.to_string()))
    };
    assert_eq!(said(&keys.license), [None, None]);
    let [sign, seal] = said(&License::default()).map(Option::unwrap);
    assert!(sign.contains("license.sign_with is not set"), "{sign}");
    assert!(seal.contains("license.seal_with is not set"), "{seal}");

    let mut gone = keys.license.clone();
    gone.signing_keys.insert("s1".into(), SecretRef::Env("TENANTRY_NO_SUCH_KEY".into()));
    let [sign, _] = said(&gone);
    let sign = sign.unwrap();
    assert!(sign.contains("license.signing_keys.s1") && sign.contains("TENANTRY_NO_SUCH_KEY"), "{sign}");

    let wrong =
        [STANDARD.encode([7; 31]), STANDARD.encode([7; 33]), "hunter2-no-base64".into(), String::new()];
    for text in wrong {
        let mut license = keys.license.clone();
        license.key_encryption_keys = BTreeMap::from([("k1".to_owned(), keys.file("wrong", &text))]);
        let [_, seal] = said(&license);
        let seal = seal.unwrap();
        assert!(seal.contains("license.key_encryption_keys.k1") && seal.contains("32 bytes"), "{seal}");
        assert!(text.is_empty() || !seal.contains(&text), "{seal}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let keys = Keys::new(&["s1"], &["k1"]);
    let signed = issue(&keys.signer(), TenantId::generate());
    let shown = format!("{:?} {:?} {signed:?}", keys.signer(), keys.seals());
    assert!(!shown.contains(&*signed.text), "{shown}");
    // Neither as numbers nor as base64.
    for byte in [b'1'; 1] {
        assert!(!shown.contains(&format!("{byte}, {byte}, {byte}")), "{shown}");
        assert!(!shown.contains(&STANDARD.encode([byte; 32])), "{shown}");
    }
}
