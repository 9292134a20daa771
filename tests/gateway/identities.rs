//! What applications are told of a caller, by the built-in identities and by a proof.

use crate::support::{Gateway, House, Seen, Upstream};

const PROOF: &str = "a proof of forty printable characters...";

fn house(upstream: &Upstream) -> Gateway {
    let url = upstream.url();
    let preset = |name: &str| {
        format!(
            "[[routes]]\npath = \"/{name}/*\"\naccess = \"optional\"\nidentity = \"{name}\"\n\
             upstream = \"{url}\"\n"
        )
    };
    let presets: String = PRESETS.iter().map(|(name, _)| preset(name)).collect();
    Gateway::start(&format!(
        r#"
[identity.proven]
user = ["X-User", "X-Login"]
proof = {{ header = "X-Gate-Proof", value = "{PROOF}" }}
{presets}
[[routes]]
path = "/proven/*"
access = "optional"
identity = "proven"
upstream = "{url}"
[[routes]]
path = "/public/*"
access = "public"
upstream = "{url}"
"#
    ))
}

const PRESETS: [(&str, &[(&str, &str)]); 11] = [
    ("none", &[]),
    ("jupyter", &[]),
    ("signed", &[]),
    ("default", &[("remote-user", "admin"), ("remote-groups", "admin")]),
    ("webauth", &[("x-webauth-user", "admin"), ("x-webauth-groups", "admin")]),
    (
        "forwarded",
        &[
            ("x-forwarded-user", "admin"),
            ("x-forwarded-preferred-username", "admin"),
            ("x-forwarded-groups", "admin"),
        ],
    ),
    (
        "auth-request",
        &[
            ("x-auth-request-user", "admin"),
            ("x-auth-request-preferred-username", "admin"),
            ("x-auth-request-groups", "admin"),
        ],
    ),
    ("radicale", &[("x-remote-user", "admin")]),
    ("octoprint", &[("remote-user", "admin")]),
    ("pgadmin", &[("remote-user", "admin")]),
    ("calibre-web", &[("remote-user", "admin")]),
];

/// Every header of a request that could tell who sends it.
fn told(seen: &Seen) -> Vec<(String, String)> {
    let plain = ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "x-forwarded-for"];
    let mut told: Vec<(String, String)> = seen
        .fields()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, _)| {
            ["user", "groups", "name", "email", "login", "proof"].iter().any(|w| name.contains(w))
                && !plain.contains(&name.as_str())
        })
        .collect();
    told.sort();
    told
}

fn sorted(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    pairs.sort();
    pairs
}

#[test]
fn each_built_in_identity_tells_its_application_what_that_reads_and_nothing_else() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let token = gateway.login("admin").access;
    // Whatever any of them reads, from a client.
    let bearer = format!("Bearer {token}");
    let mut hostile = vec![("Authorization", bearer.as_str())];
    hostile.extend(PRESETS.iter().flat_map(|(_, told)| *told).map(|(name, _)| (*name, "root")));
    for name in ["Remote-Name", "X-WEBAUTH-NAME", "X_WebAuth.Fullname", "X-Webauth_Email"] {
        hostile.push((name, "root"));
    }
    for (preset, expected) in PRESETS {
        gateway.get(&format!("/{preset}/x"), &hostile).expect(200);
        assert_eq!(told(&upstream.last()), sorted(expected), "{preset}");
        gateway.get(&format!("/{preset}/x"), &hostile[1..]).expect(200);
        assert_eq!(told(&upstream.last()), [], "{preset}, anonymous");
    }
}

#[test]
fn a_proof_goes_to_its_application_alone_and_comes_from_nobody_else() {
    let upstream = Upstream::hello();
    let gateway = house(&upstream);
    let token = gateway.login("alice").access;
    let bearer = format!("Bearer {token}");
    for spelling in ["X-Gate-Proof", "x_gate_proof", "X.Gate-Proof"] {
        for (path, with, expected) in [
            (
                "/proven/x",
                PROOF,
                vec![("x-gate-proof", PROOF), ("x-login", "alice"), ("x-user", "alice")],
            ),
            ("/default/x", "x", vec![("remote-groups", "user"), ("remote-user", "alice")]),
            ("/public/x", "x", vec![]),
        ] {
            let headers = [("Authorization", bearer.as_str()), (spelling, with)];
            gateway.get(path, &headers).expect(200);
            assert_eq!(told(&upstream.last()), sorted(&expected), "{path} {spelling}");
        }
        let nominated = [("Connection", "x-gate-proof"), (spelling, "x")];
        gateway.get("/proven/x", &nominated).expect(200);
        assert_eq!(told(&upstream.last()), sorted(&[("x-gate-proof", PROOF)]), "{spelling}");
    }
}

#[test]
fn a_proof_is_shown_to_nobody() {
    let house = House::new(&format!(
        "[identity.proven]\nuser = \"X-User\"\napp_cookies = [\"sid\", \"remember_*\"]\n\
         proof = {{ header = \"X-Gate\", value = \"{PROOF}\" }}\n\
         [[routes]]\npath = \"/*\"\nidentity = \"proven\"\nupstream = \"http://127.0.0.1:9\"\n"
    ));
    let explained = house.run(&["explain", "GET", "/x", "--user", "alice"]).expect(0);
    let shown = house.run(&["show"]).expect(0);
    for said in [&explained, &shown] {
        assert!(!format!("{}{}", said.out, said.err).contains(PROOF), "{said:?}");
    }
    explained.tells(&["x-user: alice", "x-gate: ********", "cookies of others: sid, remember_*"]);
    shown.tells(&[r#"proof = { header = "x-gate", value = "********" }"#]);
    let json = house.run(&["explain", "GET", "/x", "--user", "alice", "--json"]).expect(0).json();
    assert_eq!(json["app_cookies"], serde_json::json!(["sid", "remember_*"]));
}
