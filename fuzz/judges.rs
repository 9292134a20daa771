//! What must hold for every input whatever, for the fuzzer and for the ordinary test run: each
//! function takes bytes and panics where something does not hold. `None`: they were refused before
//! there was much to judge.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Request, request::Parts};
use jsonwebtoken::{Algorithm, EncodingKey};
use portcullis::clock::Timestamp;
use portcullis::config::{self, Environment, Style};
use portcullis::gateway::Snapshot;
use portcullis::identity::{Caller, Identity, Role, SessionId, UserId, Username, Why};
use portcullis::policy::authorise;
use portcullis::request::{
    CookieNames, CookiePrefix, NormalRequest, Origin, Peer, Target, disturbs_gateway_cookies,
};
use portcullis::secret::Secret;
use portcullis::token::{AccessClaims, AccessRules, KeyRing};
use portcullis::upstream::{Facts, Outbound};

/// A target has no normal form, or one that is normal in every reading.
pub fn target(data: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(data).ok()?;
    let target = Target::read(text).ok()?;
    let normal = target.path_and_query().as_str();
    assert!(normal.bytes().all(|byte| byte.is_ascii_graphic()), "{normal:?}");
    assert!(target.path().starts_with('/') && !normal.contains('#'), "{normal:?}");
    assert_eq!(target.query(), text.split_once('?').map(|(_, query)| query), "{text:?}");
    let again = Target::read(normal).unwrap_or_else(|bad| panic!("{normal:?}: {bad}"));
    assert_eq!(again.path_and_query(), target.path_and_query(), "normal twice");
    assert_eq!(again.readings(), target.readings(), "{normal:?}");
    assert!(target.readings().len() <= 64, "{normal:?}");
    for reading in target.readings() {
        let shown = String::from_utf8_lossy(reading);
        assert!(!reading.iter().any(u8::is_ascii_control), "{shown:?} of {normal:?}");
        let is_dots =
            |segment: &str| segment.contains('.') && segment.trim_matches(['.', ' ']).is_empty();
        assert!(!shown.split('/').any(is_dots), "{shown:?} of {normal:?}");
    }
    let unread =
        target.path().bytes().any(|byte| matches!(byte, b'%' | b'\\' | b';' | b'A'..=b'Z'));
    assert!(!unread || !target.readings().is_empty(), "{normal:?} is not looked at twice");
    Some(())
}

/// What is forwarded for an anonymous holds nothing of what only the gateway may say.
pub fn headers(data: &[u8]) -> Option<()> {
    let head = forwarded(data, "")?;
    for (name, value) in &head.headers {
        let folded = fold(name.as_str());
        let own = ["host", "x-forwarded-for", "x-real-ip", "x-request-id"].contains(&name.as_str())
            || ["x-forwarded-proto", "x-forwarded-port", "x-forwarded-host"]
                .contains(&name.as_str());
        let reserved = folded.starts_with("x-forwarded")
            || ["remote-user", "remote-groups", "x-real-ip", "forwarded", "proxy"]
                .contains(&folded.as_str())
            || ["x-original-url", "x-rewrite-url", "x-http-method-override"]
                .contains(&folded.as_str());
        assert!(own || !reserved, "{name}: {value:?}");
        assert!(!name.as_str().contains('_'), "{name}");
        let hop = ["connection", "upgrade", "keep-alive", "proxy-connection", "trailer"];
        let trailers = name == "connection" && value == "te";
        assert!(trailers || !hop.contains(&name.as_str()), "{name}: {value:?}");
    }
    once(&head.headers, "host", HOST_NAME);
    let framing = ["content-length", "transfer-encoding"];
    let framed = head.headers.keys().filter(|name| framing.contains(&fold(name.as_str()).as_str()));
    assert!(framed.count() <= 1, "{:?}", head.headers);
    Some(())
}

/// The address of a client is that of its connection, whatever it says; behind trusted proxies it is
/// the one that they vouch for, whatever stands beside it.
pub fn forwarding(data: &[u8]) -> Option<()> {
    let headers = forwarded(data, "X-Forwarded-For: ")?.headers;
    told(&headers, STRANGER);
    // One of them for each input: neighbours of it come to the others.
    let (source, list) = TRUSTING[data.len() % TRUSTING.len()];
    behind_proxies(data, source, list);
    Some(())
}

/// The same when there are proxies whose word is taken in this header. One that lists appends to
/// what its client said, in its line or after it; any other writes its own over it.
fn behind_proxies(data: &[u8], source: &'static str, list: bool) {
    let send = |peer: [u8; 4], says: &dyn Fn(&mut HeaderMap)| {
        let mut head = head(data, &format!("{source}: ")).expect("it was read before");
        says(&mut head.headers);
        sent(head, peer, trusting(source)).map(|head| head.headers)
    };
    let holds = |says: &dyn Fn(&mut HeaderMap)| {
        send(PROXY, says).inspect(|headers| told(headers, CLIENT));
        send([192, 0, 2, 1], says).inspect(|headers| told(headers, STRANGER));
    };
    let word = |address: &str| match source {
        "forwarded" => format!("for={address};proto=https"),
        _ => address.to_owned(),
    };
    if list {
        let (client, second) = (word(CLIENT), word("10.0.0.2"));
        holds(&|headers| append(headers, source, &client));
        holds(&|headers| extend(headers, source, &client));
        holds(&|headers| extend(headers, source, &format!("{client}, {second}")));
        holds(&|headers| {
            extend(headers, source, &client);
            append(headers, source, &second);
        });
    } else {
        holds(&|headers| drop(headers.insert(source, HeaderValue::from_static(CLIENT))));
        let twice = send(PROXY, &|headers| {
            append(headers, source, CLIENT);
            append(headers, source, CLIENT);
        });
        twice.inspect(|headers| told(headers, "10.0.0.1"));
    }
}

fn told(headers: &HeaderMap, client: &str) {
    once(headers, "x-forwarded-for", client);
    once(headers, "x-real-ip", client);
    once(headers, "x-forwarded-proto", "https");
    once(headers, "x-forwarded-port", "443");
    once(headers, "x-forwarded-host", HOST_NAME);
    let known = ["for", "proto", "port", "host"];
    let mut further = headers.keys().filter_map(|name| name.as_str().strip_prefix("x-forwarded-"));
    assert!(further.all(|name| known.contains(&name)), "{headers:?}");
    let single = ["forwarded", "cf-connecting-ip"];
    assert!(!single.iter().any(|name| headers.contains_key(*name)), "{headers:?}");
}

/// No cookie of ours is left in any spelling, and every other stays as it was, in order.
pub fn cookies(data: &[u8]) -> Option<()> {
    let public = Origin::read(PUBLIC).expect("an origin");
    let names = CookieNames::new(&public, CookiePrefix::HostHttp);
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        disturbs_gateway_cookies(line);
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, value);
        }
    }
    let before = pairs(&headers);
    names.strip(&mut headers);
    let after = pairs(&headers);
    for pair in &after {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let name = name.trim_matches([' ', '\t', '"']);
        let prefixes = ["__host-http-", "__host-", "__secure-", "__http-"];
        let base = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
        assert!(!["pc_at", "pc_rt", "pc_dev", "pc_own"].contains(&base), "{name} stays");
    }
    let mut sent = before.iter();
    assert!(
        after.iter().all(|pair| sent.any(|other| other == pair)),
        "{before:?} became {after:?}"
    );
    let stripped = headers.clone();
    names.strip(&mut headers);
    assert_eq!(headers, stripped, "stripping twice");
    Some(())
}

/// The only token that counts is one that was minted, or says the same with our own signature.
pub fn tokens(data: &[u8]) -> Option<()> {
    let (ring, rules, good) = minted();
    let now = Timestamp::from_secs(1_800_000_010);
    ring.verify(good, rules, now).expect("a token that was minted");
    let text = String::from_utf8_lossy(data);
    ring.claims_ours(&text, rules);
    assert!(text == **good || ring.verify(&text, rules, now).is_err(), "{text}");
    // The bytes put in the place of others.
    let mut bytes = good.clone().into_bytes();
    let at = data.first().map_or(0, |byte| usize::from(*byte) * bytes.len() / 256);
    let end = bytes.len().min(at + data.len());
    bytes.splice(at..end, data.iter().copied());
    let changed = String::from_utf8_lossy(&bytes);
    assert!(changed == **good || ring.verify(&changed, rules, now).is_err(), "{changed}");
    signed(data, good)
}

/// A header and claims of anybody's, signed by our own secret: what is accepted is what we mint.
fn signed(data: &[u8], good: &str) -> Option<()> {
    let (ring, rules, _) = minted();
    let own: Vec<Vec<u8>> = good
        .split('.')
        .take(2)
        .map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64"))
        .collect();
    let (header, claims) = match data.iter().position(|byte| *byte == 0) {
        Some(0) => (&own[0][..], &data[1..]),
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &own[1][..]),
    };
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let key = EncodingKey::from_secret(SECRET);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    let token = format!("{message}.{}", signature.expect("it signs"));
    let now = Timestamp::from_secs(1_800_000_010);
    let verified = ring.verify(&token, rules, now).ok()?;
    let header: serde_json::Map<_, _> = serde_json::from_slice(header).expect("an object");
    assert_eq!(header.len(), 3, "{header:?}");
    let claims: serde_json::Value = serde_json::from_slice(claims).expect("JSON");
    assert_eq!(claims["iss"], rules.issuer.as_str());
    assert_eq!(claims["aud"], rules.audience.as_str());
    assert_eq!(claims["type"], "access");
    assert!(claims["exp"].is_i64() && verified.expires >= now.minus(rules.leeway), "{claims}");
    let life = verified.issued.until(verified.expires);
    assert!(life <= Duration::from_secs(3_600), "{claims}");
    Some(())
}

/// A configuration is taken or refused with reasons, and a reason names no bytes beyond its text.
pub fn toml(data: &[u8]) -> Option<()> {
    let text = std::str::from_utf8(data).ok()?;
    let file = Path::new("/nonexistent/gateway.toml");
    match config::read(text, file, &Environment::fixed([])) {
        Err(report) => {
            assert!(!report.render(Style::Plain).is_empty(), "refused without a reason");
            serde_json::from_str::<serde_json::Value>(&report.render(Style::Json)).expect("JSON");
            None
        }
        Ok(loaded) => {
            loaded.warnings.render(Style::Plain);
            // What is read without an error can be compiled.
            let bound = [([127, 0, 0, 1], 8080).into()];
            let compiled = Snapshot::compile(&Arc::new(loaded.config), &bound);
            assert!(compiled.is_ok(), "{:?}", compiled.err());
            Some(())
        }
    }
}

const PUBLIC: &str = "https://apps.example.com";
const HOST_NAME: &str = "apps.example.com";
/// Each source of a client's address, and whether it is a list.
const TRUSTING: [(&str, bool); 4] = [
    ("x-forwarded-for", true),
    ("forwarded", true),
    ("x-real-ip", false),
    ("cf-connecting-ip", false),
];
const STRANGER: &str = "192.0.2.1";
const PROXY: [u8; 4] = [10, 0, 0, 1];
const CLIENT: &str = "198.51.100.7";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef-and-more";

/// The head that an upstream would get of what an anonymous sends: the first line is a method and
/// a target, each other one a header, which begins with `name` where it has no colon.
fn forwarded(data: &[u8], name: &str) -> Option<Parts> {
    sent(head(data, name)?, [192, 0, 2, 1], snapshot())
}

fn sent(head: Parts, peer: [u8; 4], snapshot: &Snapshot) -> Option<Parts> {
    let peer = Peer { address: peer.into(), port: 1 };
    let request = NormalRequest::read(head, peer, snapshot.reader()).ok()?;
    let matched = snapshot.table().find(request).ok()?;
    let permitted = authorise(matched, Caller::Anonymous(Why::NoCredential), false).ok()?;
    let request_id = "01";
    let rules = snapshot.header_rules();
    let facts = Facts {
        rules,
        profile: None,
        request_id,
        own_credential: false,
        trace: None,
        assertion: None,
        withheld: &[],
    };
    Some(Outbound::new(permitted, &facts).ok()?.head().clone())
}

fn head(data: &[u8], name: &str) -> Option<Parts> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = first.split_once(' ')?;
    let mut head = Request::builder().method(method).uri(target).body(()).ok()?.into_parts().0;
    head.headers.insert(HOST, HeaderValue::from_static(HOST_NAME));
    for line in lines {
        let whole = [name.as_bytes(), line].concat();
        let line = if line.contains(&b':') { line } else { &whole };
        let Some(at) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..at]), line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            head.headers.append(name, value);
        }
    }
    Some(head)
}

fn append(headers: &mut HeaderMap, name: &'static str, value: &str) {
    headers.append(name, HeaderValue::from_str(value).expect("a value"));
}

/// Into the last line, where there is one.
fn extend(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let mut lines: Vec<HeaderValue> = headers.get_all(name).iter().cloned().collect();
    let longer = match lines.pop() {
        Some(last) => [last.as_bytes(), value.as_bytes()].join(&b", "[..]),
        None => value.as_bytes().to_vec(),
    };
    headers.remove(name);
    lines.push(HeaderValue::from_bytes(&longer).expect("a value"));
    for line in lines {
        headers.append(name, line);
    }
}

/// Nobody's word is taken.
fn snapshot() -> &'static Snapshot {
    static SNAPSHOT: OnceLock<Snapshot> = OnceLock::new();
    SNAPSHOT.get_or_init(|| compiled(""))
}

/// The word of a network is taken, in this header.
fn trusting(source: &str) -> &'static Snapshot {
    static SNAPSHOTS: OnceLock<Vec<Snapshot>> = OnceLock::new();
    let all = SNAPSHOTS.get_or_init(|| {
        let keys = |source: &str| {
            format!("trusted_proxies = [\"10.0.0.0/8\"]\nclient_ip = \"{source}\"\n")
        };
        TRUSTING.iter().map(|(source, _)| compiled(&keys(source))).collect()
    });
    let at = TRUSTING.iter().position(|(name, _)| *name == source).expect("a source");
    &all[at]
}

fn compiled(server: &str) -> Snapshot {
    let text = format!(
        "[server]\npublic_url = \"{PUBLIC}\"\n{server}\
         [[routes]]\npath = \"/*\"\naccess = \"optional\"\nupstream = \"http://127.0.0.1:1\"\n\
         [[routes]]\npath = \"/admin/*\"\nupstream = \"http://127.0.0.1:1\"\n"
    );
    let file = Path::new("/nonexistent/gateway.toml");
    let loaded = config::read(&text, file, &Environment::fixed([]));
    let loaded = loaded.unwrap_or_else(|report| panic!("{}", report.render(Style::Plain)));
    Snapshot::compile(&Arc::new(loaded.config), &[]).expect("it compiles")
}

fn minted() -> &'static (KeyRing, AccessRules, String) {
    static MINTED: OnceLock<(KeyRing, AccessRules, String)> = OnceLock::new();
    MINTED.get_or_init(|| {
        let ring = KeyRing::shared(&[Secret::new(SECRET)]).expect("a ring");
        let rules = AccessRules {
            issuer: PUBLIC.to_owned(),
            audience: "portcullis".to_owned(),
            ttl: Duration::from_secs(300),
            jitter: 0.0,
            leeway: Duration::from_secs(2),
            sub_is_username: false,
        };
        let identity = Identity {
            user: UserId::from_bytes([1; 16]),
            username: Username::new("alice").expect("a name"),
            roles: vec![Role::new("user").expect("a role")].into(),
            session: SessionId::from_bytes([2; 16]),
        };
        let now = Timestamp::from_secs(1_800_000_000);
        let claims = AccessClaims {
            identity: &identity,
            version: 1,
            auth_time: now,
            issued: now,
            session_end: now.plus(Duration::from_secs(86_400)),
            client: "api",
        };
        let (token, _) = ring.mint(&claims, &rules, now).expect("it mints");
        (ring, rules, token)
    })
}

fn once(headers: &HeaderMap, name: &str, value: &str) {
    let all: Vec<_> = headers.get_all(name).iter().collect();
    assert_eq!(all, [value], "{name}");
}

fn pairs(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.map(|pair| pair.trim_ascii().to_vec()).filter(|pair| !pair.is_empty()).collect()
}

fn fold(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect()
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
