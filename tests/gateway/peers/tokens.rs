//! Advisories about tokens and sessions, continued.

use std::collections::HashSet;
use std::thread;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::{Pair, base64, is_no_token};
use crate::support::{Gateway, Upstream, routes};

const SECRET: &str = "0123456789abcdef0123456789abcdef-and-more";

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).expect("three parts");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
}

fn signed(secret: &[u8], header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let key = EncodingKey::from_secret(secret);
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("signs");
    format!("{message}.{signature}")
}

#[test]
fn cve_2024_21492_a_session_that_lives_on_after_its_logout() {
    let pair = Pair::new();
    let tokens = pair.gateway.login("admin");
    let bearer = format!("Bearer {}", tokens.access);
    pair.gateway.get_as("/admin/x", &tokens.access).expect(200);
    let before = pair.upstream.seen().len();
    pair.gateway.ask("POST /auth/logout", &[("Authorization", &bearer)], "").expect(200);
    pair.gateway.get_as("/admin/x", &tokens.access).expect(401);
    pair.gateway.refresh(&tokens.refresh).expect(401);
    assert_eq!(pair.upstream.seen().len(), before);
}

/// Seeded by the time or by nothing, some bit is always the same or the sequences come again.
#[test]
fn cve_2024_21495_secrets_that_can_be_foretold() {
    let upstream = Upstream::hello();
    let mut seen = HashSet::new();
    let (mut ones, mut zeros) = ([0_u8; 32], [0_u8; 32]);
    for _ in 0..2 {
        // The same clock, the same file: the first numbers of a seeded source would come again.
        let gateway = Gateway::before(&upstream.url());
        for _ in 0..20 {
            let tokens = gateway.login("alice");
            let text = tokens.refresh.strip_prefix("pcr_").expect("a refresh token");
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64");
            // The end is a tag over the rest, the 32 bytes before it are the secret.
            let secret = &bytes[bytes.len() - 48..bytes.len() - 16];
            assert!(seen.insert(secret.to_vec()), "the same secret again");
            assert!(seen.insert(tokens.session.into_bytes()), "the same session again");
            for (at, byte) in secret.iter().enumerate() {
                ones[at] |= byte;
                zeros[at] |= !byte;
            }
        }
    }
    assert_eq!((ones, zeros), ([0xFF; 32], [0xFF; 32]), "a bit that never changed");
}

#[test]
fn cve_2026_1035_two_refreshes_at_once_find_the_token_unused() {
    let pair = Pair::new();
    let first = pair.gateway.login("alice");
    let answers: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> =
            (0..12).map(|_| scope.spawn(|| pair.gateway.refresh(&first.refresh))).collect();
        asking.into_iter().map(|asking| asking.join().expect("an answer")).collect()
    });
    let successors: HashSet<String> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.member("refresh_token"))
        .collect();
    assert_eq!(
        successors.len(),
        1,
        "one chain: {:?}",
        answers.iter().map(|a| a.status).collect::<Vec<_>>()
    );
}

#[test]
fn cve_2026_22817_and_cve_2026_34950_the_public_key_as_a_shared_secret() {
    let pair = Pair::new();
    let good = pair.gateway.login("admin").access;
    let jwks = pair.gateway.get("/auth/jwks.json", &[]).text();
    let keys: Value = serde_json::from_str(&jwks).expect("JSON");
    let key = &keys["keys"][0];
    let x = key["x"].as_str().expect("a public key");
    let raw = BASE64_URL_SAFE_NO_PAD.decode(x).expect("base64");
    let der = [&[0x30, 0x2A, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 3, 0x21, 0][..], &raw].concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::prelude::BASE64_STANDARD.encode(&der)
    );
    let (mut header, claims) = (part(&good, 0), part(&good, 1));
    header["alg"] = json!("HS256");
    let secrets = [
        raw,
        der,
        x.as_bytes().to_vec(),
        jwks.into_bytes(),
        key.to_string().into_bytes(),
        pem.clone().into_bytes(),
        format!(" \n{pem}").into_bytes(),
        pem.trim_end().as_bytes().to_vec(),
    ];
    for secret in secrets {
        is_no_token(&pair, &signed(&secret, &header, &claims));
    }
}

#[test]
fn cve_2026_25537_a_time_that_is_no_number_is_no_time_and_not_absent() {
    let upstream = Upstream::hello();
    let gateway = Gateway::start(&format!(
        "[tokens]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n{}",
        routes(&upstream.url())
    ));
    let pair = Pair { gateway, upstream };
    let good = pair.gateway.login("admin").access;
    let (header, claims) = (part(&good, 0), part(&good, 1));
    pair.gateway.get_as("/admin/x", &signed(SECRET.as_bytes(), &header, &claims)).expect(200);
    let upstream = Upstream::hello();
    let pair = Pair { upstream, ..pair };
    let far = 9_999_999_999_u64;
    for name in ["exp", "iat", "nbf", "aud", "iss", "sub"] {
        for value in [
            json!(far.to_string()),
            json!(1.5),
            json!(null),
            json!(true),
            json!([far]),
            json!({ "value": far }),
            json!(-1),
            json!(u64::MAX),
            json!(1e300),
        ] {
            let mut claims = claims.clone();
            claims[name] = value;
            is_no_token(&pair, &signed(SECRET.as_bytes(), &header, &claims));
        }
        if name != "nbf" {
            let mut claims = claims.clone();
            claims.as_object_mut().expect("claims").remove(name);
            is_no_token(&pair, &signed(SECRET.as_bytes(), &header, &claims));
        }
    }
}

#[test]
fn cve_2026_29000_an_encrypted_token_around_an_unsigned_one() {
    let pair = Pair::new();
    let good = pair.gateway.login("admin").access;
    let unsigned =
        format!("{}.{}.", base64(r#"{"alg":"none"}"#), good.split('.').nth(1).expect("claims"));
    is_no_token(&pair, &unsigned);
    let kid = part(&good, 0)["kid"].clone();
    for algorithm in ["RSA-OAEP-256", "dir", "ECDH-ES"] {
        let header = json!({ "alg": algorithm, "enc": "A256GCM", "cty": "JWT", "kid": kid });
        let parts = [
            base64(header.to_string()),
            base64("k"),
            base64("iv"),
            base64(&unsigned),
            base64("tag"),
        ];
        is_no_token(&pair, &parts.join("."));
        is_no_token(
            &pair,
            &format!("{}.{}.{}", base64(header.to_string()), base64(&unsigned), base64("x")),
        );
    }
}

/// A verdict that was kept for a token counts for its very bytes alone.
#[test]
fn cve_2026_33496_a_cache_that_takes_one_token_for_another() {
    let pair = Pair::new();
    let (admin, alice) = (pair.gateway.login("admin").access, pair.gateway.login("alice").access);
    for _ in 0..3 {
        pair.gateway.get_as("/admin/x", &admin).expect(200);
        pair.gateway.get_as("/admin/x", &alice).expect(403);
    }
    let pair = Pair { upstream: Upstream::hello(), ..pair };
    let (of_admin, of_alice): (Vec<_>, Vec<_>) =
        (admin.split('.').collect(), alice.split('.').collect());
    for mixed in [
        [of_admin[0], of_admin[1], of_alice[2]],
        [of_admin[0], of_alice[1], of_admin[2]],
        [of_alice[0], of_admin[1], of_alice[2]],
    ] {
        is_no_token(&pair, &mixed.join("."));
    }
    let step = (admin.len() / 40).max(1);
    for at in (0..admin.len()).step_by(step).chain([admin.len() - 1]) {
        let mut bytes = admin.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        is_no_token(&pair, &String::from_utf8(bytes).expect("ASCII"));
    }
    for changed in
        [format!("{admin}A"), format!("{admin}="), format!("A{admin}"), admin[1..].to_owned()]
    {
        is_no_token(&pair, &changed);
    }
}

#[test]
fn cve_2026_33544_two_who_sign_in_at_once_get_each_others_account() {
    let pair = Pair::new();
    for _ in 0..4 {
        thread::scope(|scope| {
            for user in ["alice", "admin"] {
                let pair = &pair;
                scope.spawn(move || {
                    let tokens = pair.gateway.login(user);
                    pair.gateway.get_as(&format!("/x?as={user}"), &tokens.access).expect(200);
                });
            }
        });
    }
    let seen = pair.upstream.seen();
    assert_eq!(seen.len(), 8);
    for seen in seen {
        let user = seen.line().rsplit_once('=').expect("who asked").1.to_owned();
        assert_eq!(seen.header("remote-user"), Some(user.as_str()), "{}", seen.head);
    }
}

#[test]
fn cve_2026_34454_a_browser_that_keeps_its_cookies_after_signing_out() {
    let pair = Pair::new();
    let origin = pair.gateway.origin();
    let kept = pair.gateway.login_by_cookie("admin").cookie_header();
    let headers = [("Cookie", kept.as_str()), ("Origin", origin.as_str())];
    let answer = pair.gateway.ask("POST /auth/logout", &headers, "");
    assert!(matches!(answer.status, 200..=303), "{}", answer.status);
    let ended: Vec<_> =
        answer.all("set-cookie").filter(|line| line.contains("Max-Age=0")).collect();
    let sent = kept.split("; ").map(|pair| pair.split('=').next().expect("a name"));
    for name in sent.filter(|name| !name.contains("pc_dev")) {
        let told = ended.iter().any(|line| line.starts_with(&format!("{name}=")));
        assert!(told, "{name} stays: {:?}", answer.headers);
    }
    // Also for a browser that would not listen.
    pair.gateway.get("/admin/x", &[("Cookie", kept.as_str())]).expect(401);
    let page =
        pair.gateway.get("/auth/login", &[("Cookie", kept.as_str()), ("Accept", "text/html")]);
    assert!(!page.text().contains("admin"), "nobody is named: {}", page.text());
    assert_eq!(pair.upstream.seen().len(), 0);
}
