//! What an application that checks signatures is told of a caller, and what that is not good for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use portcullis::token::OldKeys;
use serde_json::{Value, json};

use crate::support::{Gateway, Upstream};

const JWT: &str = "x-portcullis-jwt";

fn house(upstream: &Upstream, tokens: &str) -> Gateway {
    Gateway::start(&format!(
        r#"
[tokens]
issuer = "https://apps.example.com"
{tokens}
[identity.both]
user = "X-User"
jwt = ["X-Assertion", "X-Again"]
[upstreams.wiki]
servers = ["{url}"]
[[routes]]
path = "/*"
access = "optional"
identity = "signed"
upstream = "wiki"
[[routes]]
path = "/both/*"
identity = "both"
upstream = "{url}"
[[routes]]
path = "/public/*"
access = "public"
upstream = "wiki"
identity = "signed"
"#,
        url = upstream.url()
    ))
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Verifies as an application would: by the published keys alone.
#[track_caller]
fn verified(gateway: &Gateway, token: &str, audience: &str) -> Value {
    let jwks = gateway.get("/auth/jwks.json", &[]).expect(200).text();
    let jwks: JwkSet = serde_json::from_str(&jwks).unwrap();
    let kid = part(token, 0)["kid"].as_str().unwrap().to_owned();
    let key = jwks.find(&kid).unwrap_or_else(|| panic!("{kid} is not in {jwks:?}"));
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&[audience]);
    validation.set_issuer(&["https://apps.example.com"]);
    // The gateway's clock is moved by tests.
    validation.validate_exp = false;
    let key = DecodingKey::from_jwk(key).unwrap();
    jsonwebtoken::decode::<Value>(token, &key, &validation).expect("it verifies").claims
}

fn told(upstream: &Upstream) -> String {
    upstream.last().header(JWT).expect("an assertion").to_owned()
}

#[test]
fn an_application_can_check_who_the_caller_is() {
    for tokens in ["", "algorithm = \"HS256\"\nsecret = \"more than thirty-two bytes of secret!\""]
    {
        let upstream = Upstream::hello();
        let gateway = house(&upstream, tokens);
        let access = gateway.login("alice").access;
        gateway.get_as("/x", &access).expect(200);
        let token = told(&upstream);
        let header = part(&token, 0);
        assert_eq!(header["typ"], "portcullis-assertion+jwt");
        assert_eq!(header.as_object().unwrap().len(), 3, "{header}");
        let claims = verified(&gateway, &token, "wiki");
        let now = gateway.clock.now().as_secs();
        let subject = part(&access, 1)["sub"].clone();
        let jti = claims["jti"].clone();
        assert_eq!(
            claims,
            json!({
                "iss": "https://apps.example.com", "sub": subject, "aud": "wiki", "iat": now,
                "exp": now + 60, "jti": jti, "type": "assertion", "roles": ["user"],
                "preferred_username": "alice",
            })
        );
        gateway.get_as("/both/x", &access).expect(200);
        let seen = upstream.last();
        let token = seen.header("x-assertion").unwrap();
        assert_eq!(seen.header("x-again"), Some(token));
        assert_eq!(seen.header("x-user"), Some("alice"));
        let claims = verified(&gateway, token, &upstream.url());
        assert_ne!(claims["jti"], jti, "one for each request");
        let jwks = gateway.get("/auth/jwks.json", &[]).text();
        assert!(!jwks.contains("oct") && !jwks.contains("\"d\""), "{jwks}");
    }
}

#[test]
fn an_assertion_signs_nobody_in() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream, "");
    let login = gateway.login_by_cookie("alice");
    let mine = login.cookie_header();
    gateway.get("/x", &[("Cookie", &mine)]).expect(200);
    let token = told(&upstream);
    gateway.get_as("/both/x", &token).expect(401);
    gateway.get_as("/auth/me", &token).expect(401);
    let (access, _) = mine.split_once('=').unwrap();
    gateway.get("/both/x", &[("Cookie", &format!("{access}={token}"))]).expect(401);
    // Neither under another type: the access verifier does not hold its key.
    let kid = part(&token, 0)["kid"].as_str().unwrap().to_owned();
    let of_access = part(&gateway.login("alice").access, 0)["kid"].clone();
    assert_ne!(of_access, kid);
    // And it goes no further than to its application.
    let headers = [("Cookie", mine.as_str()), (JWT, token.as_str())];
    gateway.get("/both/x", &headers).expect(200);
    assert_eq!(upstream.last().all(JWT), [""; 0]);
}

#[test]
fn nobody_else_asserts_anything() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream, "");
    let access = gateway.login("alice").access;
    let bearer = format!("Bearer {access}");
    for spelling in ["X-Portcullis-Jwt", "x_portcullis_jwt", "X-Assertion", "x.again"] {
        let forged = [(spelling, "forged")];
        for path in ["/x", "/public/x"] {
            gateway.get(path, &forged).expect(200);
            assert!(!upstream.last().head.contains("forged"), "{path}: {:?}", upstream.last());
            assert_eq!(upstream.last().all(JWT), [""; 0], "{path}");
        }
        let nominated =
            [("Authorization", bearer.as_str()), forged[0], ("Connection", "x-portcullis-jwt")];
        gateway.get("/x", &nominated).expect(200);
        assert!(!upstream.last().head.contains("forged"));
        verified(&gateway, &told(&upstream), "wiki");
    }
}

#[test]
fn its_keys_are_kept_and_change_like_those_of_access_tokens() {
    let upstream = Upstream::hello();
    let mut gateway = house(&upstream, "access_ttl = \"60m\"\naccess_jitter = 0.0\n");
    let kid = |gateway: &Gateway| {
        let access = gateway.login("alice").access;
        gateway.get_as("/x", &access).expect(200);
        let token = told(&upstream);
        verified(gateway, &token, "wiki");
        part(&token, 0)["kid"].as_str().unwrap().to_owned()
    };
    let first = kid(&gateway);
    let folder = gateway.folder().join("data/keys/assertions");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    gateway.restart();
    assert_eq!(kid(&gateway), first);

    gateway.auth().keys().rotate(OldKeys::Overlap).access.unwrap();
    assert_eq!(kid(&gateway), first, "the next one is published first");
    gateway.advance(Duration::from_secs(16 * 60));
    let second = kid(&gateway);
    assert_ne!(second, first);
    let jwks = gateway.get("/auth/jwks.json", &[]).text();
    assert!(jwks.contains(&first), "what it signed may still be on its way");
    gateway.auth().keys().rotate(OldKeys::Revoked).access.unwrap();
    let third = kid(&gateway);
    assert!(third != second && !gateway.get("/auth/jwks.json", &[]).text().contains(&second));
}

#[test]
fn the_first_signed_identity_may_come_by_a_reload() {
    let upstream = Upstream::hello();
    let mut gateway = Gateway::start(&format!(
        "[tokens]\nissuer = \"https://apps.example.com\"\n[upstreams.wiki]\nservers = [\"{}\"]\n\
         [[routes]]\npath = \"/*\"\nidentity = \"radicale\"\nupstream = \"wiki\"\n",
        upstream.url()
    ));
    let access = gateway.login("alice").access;
    gateway.get_as("/x", &access).expect(200);
    let folder = gateway.folder().join("data/keys/assertions");
    assert!(!folder.exists(), "no key is made that nobody needs");
    gateway.reconfigure("\"radicale\"", "\"signed\"");
    gateway.reload().expect("it is taken over");
    gateway.get_as("/x", &access).expect(200);
    verified(&gateway, &told(&upstream), "wiki");
}
