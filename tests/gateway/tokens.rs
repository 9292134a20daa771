//! Access tokens that somebody else made, presented for real.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::sessions::claims;
use crate::support::{Gateway, Upstream};

const SECRET: &str = "0123456789abcdef0123456789abcdef-and-more";

fn house(upstream: &Upstream) -> Gateway {
    Gateway::start(&format!(
        "[tokens]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n{}",
        crate::support::routes(&upstream.url())
    ))
}

fn header(token: &str) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Signs any header over any claims with the gateway's own secret.
fn sign(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn row_37_a_token_that_is_wrong_in_one_thing_is_refused() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let good = gateway.login("alice").access;
    let (head, body) = (header(&good), claims(&good));
    assert_eq!(gateway.get_as("/x", &sign(&head.to_string(), &body.to_string())).status, 200);
    let with = |value: &Value, name: &str, new: Value| {
        let mut changed = value.clone();
        changed[name] = new;
        changed.to_string()
    };
    let without = |value: &Value, name: &str| {
        let mut changed = value.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed.to_string()
    };
    let mut bad = Vec::new();
    for (name, new) in [
        ("alg", json!("none")),
        ("alg", json!("HS384")),
        ("alg", json!("EdDSA")),
        ("alg", json!("hs256")),
        ("kid", json!("other")),
        ("kid", json!("")),
        ("kid", Value::Null),
        ("typ", json!("JWT")),
        ("typ", Value::Null),
        ("jku", json!("https://evil.example/jwks")),
        ("jwk", json!({})),
        ("crit", json!(["exp"])),
        ("x5u", json!("x")),
        ("b64", json!(false)),
    ] {
        bad.push((format!("header {name}"), sign(&with(&head, name, new), &body.to_string())));
    }
    for name in ["alg", "kid", "typ"] {
        bad.push((
            format!("header without {name}"),
            sign(&without(&head, name), &body.to_string()),
        ));
    }
    for (name, new) in [
        ("type", json!("refresh")),
        ("type", Value::Null),
        ("aud", json!("other")),
        ("aud", json!(["portcullis"])),
        ("iss", json!("http://evil.example")),
        ("exp", json!(i64::MAX)),
        ("exp", json!(1e300)),
        ("exp", json!("9999999999")),
        ("exp", Value::Null),
        ("iat", json!(body["iat"].as_i64().unwrap() + 3_600)),
        ("nbf", json!(body["iat"].as_i64().unwrap() + 3_600)),
        ("roles", json!("admin")),
        ("roles", json!(["admin,user"])),
        ("preferred_username", json!("a\r\nRemote-User: admin")),
        ("sid", json!("x")),
        ("sv", json!(-1)),
    ] {
        bad.push((format!("claim {name}"), sign(&head.to_string(), &with(&body, name, new))));
    }
    for name in ["exp", "iat", "iss", "aud", "sub", "type", "sid"] {
        bad.push((format!("no claim {name}"), sign(&head.to_string(), &without(&body, name))));
    }
    let doubled = body.to_string().replacen('{', r#"{"roles":["admin"],"#, 1);
    bad.push(("claims doubled".to_owned(), sign(&head.to_string(), &doubled)));
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    bad.push(("no signature".to_owned(), unsigned));
    bad.push((
        "too long".to_owned(),
        sign(&head.to_string(), &with(&body, "jti", json!("x".repeat(5_000)))),
    ));
    bad.push(("four parts".to_owned(), format!("{good}.x")));
    for (what, token) in bad {
        let answer = gateway.get_as("/x", &token);
        assert_eq!(answer.status, 401, "{what}: {token}");
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_public_key_is_no_secret() {
    let upstream = Upstream::hello();
    let gateway = Gateway::before(&upstream.url());
    let good = gateway.login("alice").access;
    let jwks = gateway.get("/auth/jwks.json", &[]).expect(200);
    assert!(jwks.header("cache-control").unwrap().contains("max-age=300"));
    let key = &jwks.json()["keys"][0];
    assert_eq!(key["kty"], "OKP");
    assert!(key["d"].is_null() && !jwks.text().contains("oct"), "{}", jwks.text());
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    for secret in [public.as_slice(), key["x"].as_str().unwrap().as_bytes(), b""] {
        let mut head = Header::new(Algorithm::HS256);
        head.typ = Some("at+jwt".to_owned());
        head.kid = key["kid"].as_str().map(str::to_owned);
        let forged =
            jsonwebtoken::encode(&head, &claims(&good), &EncodingKey::from_secret(secret)).unwrap();
        gateway.get_as("/x", &forged).expect(401);
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn every_algorithm_signs_and_verifies_and_tells_its_public_key() {
    for (algorithm, kty) in [("EdDSA", "OKP"), ("ES256", "EC"), ("RS256", "RSA")] {
        let upstream = Upstream::hello();
        let gateway = Gateway::start(&format!(
            "[tokens]\nalgorithm = \"{algorithm}\"\n{}",
            crate::support::routes(&upstream.url())
        ));
        let access = gateway.login("alice").access;
        gateway.get_as("/x", &access).expect(200);
        let head = header(&access);
        assert_eq!(head["alg"], algorithm);
        assert_eq!(head["typ"], "at+jwt");
        assert_eq!(head.as_object().unwrap().len(), 3, "{head}");
        let key = gateway.get("/auth/jwks.json", &[]).expect(200).json()["keys"][0].clone();
        assert_eq!(key["kty"], kty);
        assert_eq!(key["kid"], head["kid"]);
        for at in (0..access.len()).step_by(7) {
            let mut bytes = access.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let mutated = String::from_utf8(bytes).unwrap();
            if mutated != access {
                gateway.get_as("/x", &mutated).expect(401);
            }
        }
    }
}

#[test]
fn a_shared_secret_is_told_to_nobody() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    assert_eq!(gateway.get("/auth/jwks.json", &[]).expect(200).json(), json!({ "keys": [] }));
}
