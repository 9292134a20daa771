use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::*;
use crate::secret::Secret;

const SESSION: SessionId = SessionId::from_bytes([9; 16]);

fn key(id: u8) -> MasterKey {
    MasterKey { id, key: Secret::new([id; 32]) }
}

fn keys(ids: &[u8]) -> MasterKeys {
    MasterKeys::new(ids.iter().copied().map(key).collect()).unwrap()
}

fn text(keys: &MasterKeys, token: &RefreshToken) -> String {
    keys.text(token).expose_str().unwrap().to_owned()
}

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.strip_prefix("pcr_").unwrap()).unwrap()
}

/// The derivation and the layout, once more, by the crates' own high-level functions.
fn hmac(master: u8, label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut derived = [0; 32];
    Hkdf::<Sha256>::new(None, &[master; 32]).expand(label.as_bytes(), &mut derived).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&derived).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[test]
fn a_token_is_laid_out_and_tagged_as_documented() {
    let keys = keys(&[5]);
    let token = keys.first(SESSION);
    let text = text(&keys, &token);
    let bytes = bytes(&text);
    assert_eq!((text.len(), bytes.len()), (103, 74));
    assert_eq!(bytes[..2], [1, 5]);
    assert_eq!(bytes[2..18], [9; 16]);
    assert_eq!(bytes[18..26], [0; 8]);
    assert_eq!(bytes[58..], hmac(5, "portcullis/1/rt-tag", &[&bytes[..58]])[..16]);
    assert_eq!(token.hash(), <[u8; 32]>::from(Sha256::digest(&bytes[26..58])));
}

#[test]
fn a_successor_is_computed_as_documented() {
    let keys = keys(&[5, 6]);
    let token = keys.first(SESSION);
    let secret = bytes(&text(&keys, &token))[26..58].to_vec();
    let next = keys.successor(&token, &[7; 16], 6).unwrap();
    let expected = hmac(
        6,
        "portcullis/1/rt-rot",
        &[b"portcullis/rt/1", &[9; 16], &1_u64.to_be_bytes(), &[7; 16], &secret],
    );
    assert_eq!(next.hash(), <[u8; 32]>::from(Sha256::digest(expected)));
    assert_eq!((next.session, next.generation, next.key), (SESSION, 1, 6));
}

#[test]
fn a_token_reads_back_from_its_text() {
    let keys = keys(&[5]);
    let token = keys.successor(&keys.first(SESSION), &[7; 16], 5).unwrap();
    let read = keys.read(&text(&keys, &token)).unwrap();
    assert_eq!(
        (read.session, read.generation, read.key, read.hash()),
        (token.session, token.generation, token.key, token.hash())
    );
    let shown = format!("{read:?} {keys:?}");
    assert!(shown.contains("secret: Secret(..)"), "{shown}");
    assert!(shown.contains("active: MasterKey(5, ..), others: []"), "{shown}");
}

#[test]
fn one_salt_gives_one_successor_on_every_replica_and_another_gives_another() {
    let (here, there) = (keys(&[5]), keys(&[5]));
    let token = here.first(SESSION);
    let carried = there.read(&text(&here, &token)).unwrap();
    let next = here.successor(&token, &[7; 16], 5).unwrap();
    assert_eq!(text(&here, &next), text(&there, &there.successor(&carried, &[7; 16], 5).unwrap()));
    assert_ne!(next.hash(), here.successor(&token, &[8; 16], 5).unwrap().hash());
    assert_ne!(next.hash(), keys(&[6, 5]).successor(&token, &[7; 16], 6).unwrap().hash());
    let other = here.first(SESSION);
    assert_ne!(next.hash(), here.successor(&other, &[7; 16], 5).unwrap().hash());
}

#[test]
fn two_logins_never_begin_with_the_same_token() {
    let keys = keys(&[5]);
    assert_ne!(keys.first(SESSION).hash(), keys.first(SESSION).hash());
}

#[test]
fn a_successor_needs_its_key_and_a_generation_left() {
    let keys = keys(&[5]);
    let mut token = keys.first(SESSION);
    assert!(keys.successor(&token, &[7; 16], 6).is_none());
    token.generation = u64::MAX;
    assert!(keys.successor(&token, &[7; 16], 5).is_none());
    let text = text(&keys, &token);
    assert_eq!(keys.read(&text).unwrap().generation, u64::MAX);
}

#[test]
fn a_flip_of_any_bit_is_refused() {
    let keys = keys(&[5]);
    let bytes = bytes(&text(&keys, &keys.first(SESSION)));
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let read = keys.read(&format!("pcr_{}", URL_SAFE_NO_PAD.encode(&forged)));
        // In the key id, a flip may name a key above every known one.
        let newer = bit / 8 == 1 && forged[1] > 5;
        let expected = if newer { BadRefreshToken::UnknownKey } else { BadRefreshToken::Invalid };
        assert_eq!(read.unwrap_err(), expected, "bit {bit}");
    }
}

#[test]
fn every_other_spelling_is_refused() {
    let keys = keys(&[5]);
    let good = text(&keys, &keys.first(SESSION));
    let body = good.strip_prefix("pcr_").unwrap();
    let bytes = bytes(&good);
    // 74 bytes leave two bits of the last letter unused: three more letters decode alike.
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (head, last) = good.split_at(good.len() - 1);
    for letter in letters.chars().filter(|letter| !last.contains(*letter)) {
        assert!(keys.read(&format!("{head}{letter}")).is_err(), "{letter}");
    }
    let others = [
        String::new(),
        "pcr_".to_owned(),
        body.to_owned(),
        format!("PCR_{body}"),
        format!("pcr_pcr_{body}"),
        format!("{good}="),
        format!("{good}A"),
        format!("{good} "),
        format!(" {good}"),
        format!("{good}\n"),
        head.to_owned(),
        good.replacen(|c: char| c.is_ascii_alphanumeric(), "\u{e9}", 6),
        format!("pcr_{}", base64::engine::general_purpose::URL_SAFE.encode(&bytes)),
        format!("pcr_{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode([0xff; 74])),
        format!("pcr_{}", URL_SAFE_NO_PAD.encode(&bytes[..73])),
        format!("pcr_{}", URL_SAFE_NO_PAD.encode([&bytes[..], &[0]].concat())),
        "A".repeat(10_000),
        format!("pcr_{}", "A".repeat(10_000)),
    ];
    for other in others {
        assert_eq!(keys.read(&other).unwrap_err(), BadRefreshToken::Invalid, "{other}");
    }
}

#[test]
fn a_token_under_a_newer_key_is_another_replicas_and_under_a_removed_one_nobodys() {
    let (old, new, both) = (keys(&[5]), keys(&[6]), keys(&[6, 5]));
    let from_old = text(&old, &old.first(SESSION));
    let from_new = text(&new, &new.first(SESSION));
    assert_eq!(old.read(&from_new).unwrap_err(), BadRefreshToken::UnknownKey);
    assert_eq!(new.read(&from_old).unwrap_err(), BadRefreshToken::Invalid);
    assert!(both.read(&from_old).is_ok() && both.read(&from_new).is_ok());
    assert_eq!((both.active(), both.first(SESSION).key), (6, 6));
    let reordered = keys(&[5, 6]);
    assert_eq!((reordered.active(), reordered.first(SESSION).key), (5, 5));
}

#[test]
fn keys_that_cannot_serve_are_refused() {
    let short = MasterKey { id: 1, key: Secret::new([1; 31]) };
    for bad in [vec![], vec![key(0)], vec![key(1), key(2), key(1)], vec![key(1), short]] {
        assert!(MasterKeys::new(bad.clone()).is_none(), "{bad:?}");
    }
}

#[test]
fn check_values_and_macs_depend_on_key_purpose_and_text() {
    let keys = keys(&[5, 6]);
    let expected = [5, 6].map(|id| (id, hmac(id, "portcullis/1/check", &[])));
    assert_eq!(keys.check_values(), expected);
    assert_eq!(keys.mac("device", b"x"), hmac(5, "portcullis/1/device", &[b"x"]));
    assert_ne!(keys.mac("device", b"x"), keys.mac("limit", b"x"));
    assert_ne!(keys.mac("device", b"x"), keys.mac("device", b"y"));
}
