//! Tokens that must not verify. Each is signed with the ring's own key where an attacker could
//! not, so that it is the rule under test that refuses it.

use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;

/// Signs any header and claims with the ring's active key.
fn sign(ring: &KeyRing, header: &str, content: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(content));
    let keys = ring.keys();
    let key = keys.active(NOW).unwrap();
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key.key, key.header.alg).unwrap();
    format!("{message}.{signature}")
}

fn active_kid(ring: &KeyRing) -> String {
    ring.keys().active(NOW).unwrap().header.kid.clone().unwrap()
}

fn with(ring: &KeyRing, change: impl Fn(&mut Value, &mut Value)) -> String {
    let (mut header, mut content) = parts(&mint(ring));
    change(&mut header, &mut content);
    sign(ring, &header.to_string(), &content.to_string())
}

fn refused(ring: &KeyRing, token: &str, why: &str) {
    let expected = Err(BadToken::Invalid);
    for now in [NOW, NOW.plus(Duration::from_secs(100_000))] {
        assert_eq!(ring.verify(token, &rules(), now), expected, "{why}: {token}");
    }
}

#[test]
fn what_is_signed_anew_without_a_change_verifies() {
    for algorithm in ALL {
        let ring = KeyRing::ephemeral(algorithm).unwrap();
        let token = with(&ring, |_, _| ());
        assert!(ring.verify(&token, &rules(), NOW).is_ok(), "{algorithm:?}: {token}");
    }
}

#[test]
fn a_header_with_any_other_member_or_value_is_refused() {
    for algorithm in ALL {
        let ring = KeyRing::ephemeral(algorithm).unwrap();
        let changes: [(&str, Value); 17] = [
            ("alg", json!("none")),
            ("alg", json!("None")),
            ("alg", json!("HS384")),
            ("alg", json!("PS256")),
            ("alg", json!(null)),
            ("kid", json!("AAAAAAAAAAAAAAAA")),
            ("kid", json!("../../dev/null")),
            ("kid", json!("")),
            ("kid", json!(null)),
            ("typ", json!("JWT")),
            ("typ", json!("AT+JWT")),
            ("typ", json!("application/at+jwt")),
            ("typ", json!("portcullis-assertion+jwt")),
            ("jku", json!("https://evil.example/jwks.json")),
            ("crit", json!(["exp"])),
            ("jwk", json!({ "kty": "oct", "k": "AA" })),
            ("b64", json!(false)),
        ];
        for (member, value) in changes {
            let token = with(&ring, |header, _| header[member] = value.clone());
            refused(&ring, &token, member);
        }
        for member in ["alg", "kid", "typ"] {
            let token = with(&ring, |header, _| {
                header.as_object_mut().unwrap().remove(member);
            });
            refused(&ring, &token, &format!("without {member}"));
        }
    }
}

/// Claims of ours that are of another type, spelling, order, time or range.
fn altered_claims() -> [(&'static str, Value); 46] {
    [
        ("iss", json!("https://app.example.com/")),
        ("iss", json!("https://APP.example.com")),
        ("iss", json!(["https://app.example.com"])),
        ("aud", json!("other")),
        ("aud", json!(["portcullis"])),
        ("aud", json!(["portcullis", "other"])),
        ("aud", json!(null)),
        ("sub", json!("alice")),
        ("sub", json!("01010101-0101-0101-0101-01010101010A")),
        ("sub", json!("")),
        ("uid", json!("01010101-0101-0101-0101-010101010101")),
        ("sid", json!("02020202020202020202020202020202")),
        ("exp", json!(1_800_000_300.5)),
        ("exp", json!(1.8e9)),
        ("exp", json!("1800000300")),
        ("exp", json!(9_223_372_036_854_775_808_u64)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(i64::MIN)),
        ("exp", json!(1_800_003_601)),
        ("exp", json!(1_799_999_999)),
        ("exp", json!(null)),
        ("iat", json!(1_800_100_061)),
        ("iat", json!(1_800_000_000.0)),
        ("iat", json!(i64::MIN)),
        ("iat", json!(true)),
        ("nbf", json!(1_900_000_000)),
        ("nbf", json!(1)),
        ("sv", json!(-1)),
        ("sv", json!(4_294_967_296_u64)),
        ("sv", json!("7")),
        ("type", json!("refresh")),
        ("type", json!("assertion")),
        ("type", json!(["access"])),
        ("role", json!("admin")),
        ("role", json!(null)),
        ("roles", json!(["admin", "user"])),
        ("roles", json!("user")),
        ("roles", json!(["user", "a,b"])),
        ("roles", json!(["user", "a\r\nX-Evil: 1"])),
        ("roles", json!([])),
        ("preferred_username", json!("Alice")),
        ("preferred_username", json!("al ice")),
        ("preferred_username", json!("ａｌｉｃｅ")),
        ("amr", json!([])),
        ("amr", json!(["pwd", "otp"])),
        ("scope", json!("all")),
    ]
}

#[test]
fn claims_with_any_other_member_or_value_are_refused() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    for (member, value) in altered_claims() {
        let token = with(&ring, |_, content| content[member] = value.clone());
        refused(&ring, &token, &format!("{member} = {value}"));
    }
    let (_, content) = parts(&mint(&ring));
    for member in content.as_object().unwrap().keys() {
        let token = with(&ring, |_, content| {
            content.as_object_mut().unwrap().remove(member);
        });
        refused(&ring, &token, &format!("without {member}"));
    }
}

#[test]
fn a_member_that_comes_twice_is_refused() {
    let ring = KeyRing::ephemeral(Algorithm::Hs256).unwrap();
    let (header, content) = parts(&mint(&ring));
    let twice = |object: &Value, member: &str| {
        let text = object.to_string();
        format!("{},\"{member}\":{}}}", text.strip_suffix('}').unwrap(), object[member])
    };
    for member in header.as_object().unwrap().keys() {
        let token = sign(&ring, &twice(&header, member), &content.to_string());
        refused(&ring, &token, &format!("{member} twice"));
    }
    for member in content.as_object().unwrap().keys() {
        let token = sign(&ring, &header.to_string(), &twice(&content, member));
        refused(&ring, &token, &format!("{member} twice"));
    }
}

#[test]
fn what_is_no_object_of_its_own_is_refused() {
    let ring = KeyRing::ephemeral(Algorithm::Hs256).unwrap();
    let (header, content) = parts(&mint(&ring));
    let (header, content) = (header.to_string(), content.to_string());
    for other in ["", "null", "[]", "{}", "\"\"", "{", "\u{feff}{}"] {
        refused(&ring, &sign(&ring, other, &content), other);
        refused(&ring, &sign(&ring, &header, other), other);
    }
    refused(&ring, &sign(&ring, &header, &format!("{content}{content}")), "two objects");
    refused(&ring, &sign(&ring, &format!("{header}x"), &content), "a tail");
    let values = format!("[{}]", "1,".repeat(15).trim_end_matches(','));
    refused(&ring, &sign(&ring, &header, &values), "a list instead of an object");
    let listed = ["\"HS256\"", &format!("\"{}\"", active_kid(&ring)), "\"at+jwt\""];
    refused(&ring, &sign(&ring, &format!("[{}]", listed.join(",")), &content), "a list as header");
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    refused(&ring, &sign(&ring, &header, &deep), "deep");
}

#[test]
fn a_token_of_another_shape_is_refused() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let token = mint(&ring);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let padded = format!("{token}==");
    let shapes = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        message.to_owned(),
        format!("{message}."),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!(".{token}"),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        padded,
        format!("{message}.{signature}{signature}"),
        format!("{message}.{}", "A".repeat(5000)),
        "A".repeat(1_000_000),
        "pcr_AQEC".to_owned(),
    ];
    for shape in shapes {
        refused(&ring, &shape, "shape");
    }
}

/// More than 4096 bytes are not looked at, however well signed.
#[test]
fn a_token_beyond_4096_bytes_is_refused() {
    let ring = KeyRing::ephemeral(Algorithm::Hs256).unwrap();
    let filled = |roles: usize| {
        with(&ring, |_, content| {
            let list: Vec<String> = (0..roles).map(|n| format!("r{n:030}")).collect();
            content["role"] = json!(list[0]);
            content["roles"] = json!(list);
        })
    };
    let (fits, exceeds) = (filled(70), filled(80));
    assert!(fits.len() <= 4096 && exceeds.len() > 4096, "{} {}", fits.len(), exceeds.len());
    assert!(ring.verify(&fits, &rules(), NOW).is_ok());
    refused(&ring, &exceeds, "too long");
}

#[test]
fn a_public_key_is_no_shared_secret() {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
        let ring = KeyRing::ephemeral(algorithm).unwrap();
        let kid = active_kid(&ring);
        let keys = ring.keys();
        let key = keys.find(&kid, NOW).unwrap();
        let public = key.key.try_get_as_bytes().unwrap();
        let (_, content) = parts(&mint(&ring));
        for alg in ["HS256", key.alg] {
            let header = json!({ "alg": alg, "kid": kid, "typ": "at+jwt" });
            for secret in [public, ring.jwks().as_bytes(), b""] {
                let token = hs256(&header.to_string(), &content.to_string(), secret);
                refused(&ring, &token, alg);
            }
        }
    }
}

#[test]
fn a_token_of_another_ring_is_refused_under_every_kid() {
    for ours in ALL {
        let ring = KeyRing::ephemeral(ours).unwrap();
        let kid = active_kid(&ring);
        for theirs in ALL {
            let foreign = KeyRing::ephemeral(theirs).unwrap();
            refused(&ring, &mint(&foreign), "another ring's");
            let token = with(&foreign, |header, _| header["kid"] = json!(kid));
            refused(&ring, &token, "another ring's under our kid");
            let token = with(&foreign, |header, _| {
                header["kid"] = json!(kid);
                header["alg"] = parts(&mint(&ring)).0["alg"].clone();
            });
            refused(&ring, &token, "another ring's as if it were ours");
        }
    }
}

/// Every position, several replacements, the same letters in another spelling among them: a
/// signature's last letter carries bits that no byte holds.
#[test]
fn a_token_that_differs_in_one_byte_is_refused() {
    for algorithm in ALL {
        let ring = KeyRing::ephemeral(algorithm).unwrap();
        let token = mint(&ring);
        assert!(ring.verify(&token, &rules(), NOW).is_ok());
        let last = token.len() - 1;
        for at in 0..token.len() {
            let old = token.as_bytes()[at];
            let near = [old ^ 1, old ^ 2, old ^ 0x20, b'A', b'_', b'.', b'=', b' ', 0x7f];
            let every = (0..=0x7f).filter(|_| at + 4 > last);
            for new in near.into_iter().chain(every).filter(|new| *new != old && new.is_ascii()) {
                let mut bytes = token.clone().into_bytes();
                bytes[at] = new;
                let forged = String::from_utf8(bytes).unwrap();
                let read = ring.verify(&forged, &rules(), NOW);
                assert_eq!(read, Err(BadToken::Invalid), "{algorithm:?}, {at}: {old} to {new}");
            }
            let mut shorter = token.clone();
            shorter.remove(at);
            assert_eq!(ring.verify(&shorter, &rules(), NOW), Err(BadToken::Invalid), "{at} cut");
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_verifier_fail_otherwise_than_by_refusal(text in "\\PC{0,200}") {
        let ring = KeyRing::ephemeral(Algorithm::Hs256).unwrap();
        prop_assert_eq!(ring.verify(&text, &rules(), NOW), Err(BadToken::Invalid));
        let _ = ring.claims_ours(&text, &rules());
    }
}

fn hs256(header: &str, content: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(content));
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(&message).finalize();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.into_bytes()))
}
