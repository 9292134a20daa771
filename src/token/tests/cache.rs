//! What a worker remembers of tokens: never more than a check would say.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::secret::Secret;

#[test]
fn a_token_seen_before_is_answered_as_by_a_check() {
    let (ring, cache) = (ring(), TokenCache::default());
    let token = mint(&ring);
    let checked = ring.verify(&token, &rules(), NOW).unwrap();
    for _ in 0..2 {
        assert_eq!(*cache.verify(&token, (&ring, &rules()), NOW).unwrap(), checked);
    }
}

#[test]
fn what_is_remembered_ends_with_the_token() {
    let (ring, cache) = (ring(), TokenCache::default());
    let token = mint(&ring);
    let verified = cache.verify(&token, (&ring, &rules()), NOW).unwrap();
    let end = verified.expires.plus(rules().leeway);
    let late = cache.verify(&token, (&ring, &rules()), end);
    assert_eq!(late, Err(BadToken::Expired(Box::new((*verified).clone()))));
    assert_eq!(late.map(|_| ()), ring.verify(&token, &rules(), end).map(|_| ()));
    let early = NOW.minus(Duration::from_secs(61));
    let ahead = Err(BadToken::Ahead(Box::new((*verified).clone())));
    assert_eq!(cache.verify(&token, (&ring, &rules()), early), ahead);
}

#[test]
fn what_is_remembered_ends_with_its_key() {
    let (ring, cache) = (ring(), TokenCache::default());
    let token = mint(&ring);
    assert!(cache.verify(&token, (&ring, &rules()), NOW).is_ok());
    ring.rotate(OldKeys::Revoked, NOW).unwrap();
    assert_eq!(cache.verify(&token, (&ring, &rules()), NOW), Err(BadToken::Invalid));
}

#[test]
fn nothing_is_remembered_of_a_bad_token() {
    let (ring, cache) = (ring(), TokenCache::default());
    let stranger = mint(&self::ring());
    assert_eq!(cache.verify(&stranger, (&ring, &rules()), NOW), Err(BadToken::Invalid));
    assert_eq!(cache.remembered(), 0);
    let token = mint(&ring);
    assert!(cache.verify(&token, (&ring, &rules()), NOW).is_ok());
    assert_eq!(cache.remembered(), 1);
}

#[test]
fn a_full_table_forgets_one_at_a_time_and_stays_bounded() {
    let ring = KeyRing::shared(&[Secret::new([7; 32])]).unwrap();
    let cache = TokenCache::default();
    for _ in 0..20_000 {
        cache.verify(&mint(&ring), (&ring, &rules()), NOW).unwrap();
    }
    let kept = cache.remembered();
    assert!((7_000..=8_192).contains(&kept), "{kept} of 20,000 are remembered");
}

proptest! {
    /// Whatever byte of a remembered token is changed, cut or added: what is said of it is what a
    /// check says.
    #[test]
    fn a_token_that_differs_in_one_byte_is_checked(at in 0_usize..900, byte in 0x21_u8..0x7f, how in 0..3) {
        let (ring, cache) = (ring(), TokenCache::default());
        let token = mint(&ring);
        cache.verify(&token, (&ring, &rules()), NOW).unwrap();
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        let other = String::from_utf8(bytes).unwrap();
        let said = cache.verify(&other, (&ring, &rules()), NOW).map(|found| (*found).clone());
        prop_assert_eq!(&said, &ring.verify(&other, &rules(), NOW));
        prop_assert_eq!(said.is_ok(), other == token);
    }
}

fn ring() -> KeyRing {
    KeyRing::ephemeral(Algorithm::EdDsa).unwrap()
}
