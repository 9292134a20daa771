//! What the gateway permits against what lenient servers would make of it. The readers share no
//! code with the product.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if bytes[at] == b'%' => {
                decoded.push(value);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn backslashes(path: &str) -> String {
    path.replace('\\', "/")
}

fn without_parameters(path: &str) -> String {
    path.split('/').map(|s| s.split(';').next().unwrap()).collect::<Vec<_>>().join("/")
}

fn until_query(path: &str) -> String {
    path.split(['?', '#', '\0']).next().unwrap().to_owned()
}

fn merged(path: &str) -> String {
    let merged: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    format!("/{}", merged.join("/"))
}

fn trimmed(path: &str) -> String {
    path.split('/').map(|s| s.trim_end_matches(['.', ' '])).collect::<Vec<_>>().join("/")
}

fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// As URL parsers read `//host/path`, also with backslashes.
fn behind_host(path: &str) -> String {
    match path.strip_prefix("//") {
        Some(rest) => {
            let (_host, path) = rest.trim_start_matches('/').split_once('/').unwrap_or_default();
            format!("/{path}")
        }
        None => path.to_owned(),
    }
}

fn lower(path: &str) -> String {
    path.to_lowercase()
}

type Step = fn(&str) -> String;

const READERS: [(&str, &[Step]); 16] = [
    ("as sent", &[]),
    ("decode, then split", &[decode]),
    ("decode twice", &[decode, decode]),
    ("three servers in a row", &[decode, decode, decode]),
    ("merge, then decode", &[merged, decode]),
    ("decode, then merge", &[decode, merged]),
    ("parameters cut, then decode", &[without_parameters, decode, merged]),
    ("decode, then parameters cut", &[decode, without_parameters]),
    ("a server that folds case", &[decode, lower]),
    ("Node's URL", &[backslashes, behind_host, resolved, decode]),
    ("URL of a decoded path", &[decode, backslashes, behind_host, resolved]),
    ("Windows", &[decode, backslashes, merged, trimmed, resolved, lower]),
    ("cut at a decoded query", &[decode, until_query, merged]),
    ("CGI behind a proxy", &[decode, without_parameters, merged, decode, until_query]),
    ("Java", &[without_parameters, decode, merged, resolved]),
    (
        "everything",
        &[
            decode,
            backslashes,
            until_query,
            without_parameters,
            trimmed,
            merged,
            decode,
            resolved,
            lower,
        ],
    ),
];

fn read_by(reader: &[Step], path: &str) -> String {
    reader.iter().fold(path.to_owned(), |path, step| step(&path))
}

fn lies_at(path: &str, guarded: &str) -> bool {
    path.strip_prefix(guarded).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn paths() -> impl Strategy<Value = String> {
    let pieces = vec![
        "/",
        "/",
        "/",
        "%2F",
        "%252F",
        "%25252F",
        "\\",
        "%5C",
        "%255C",
        ";",
        ";x",
        "%3B",
        "%3F",
        "%23",
        "%253F",
        ".",
        "..",
        "%2e",
        "%252e",
        "%20",
        "admin",
        "admin",
        "Admin",
        "%61dmin",
        "%2561dmin",
        "adm%69n",
        "%41dmin",
        "my",
        "docs",
        "auth",
        "x",
        "x",
        "%25",
        "%zz",
        "%00",
        "%C0%AE",
        "//",
        "login",
        "%09",
        "%C3%A9",
    ];
    prop::collection::vec(select(pieces), 0..9).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 6_000, ..ProptestConfig::default() })]

    #[test]
    fn no_lenient_server_reads_a_permitted_path_as_one_of_another_rule(path in paths()) {
        let routes = [
            route("/*", public()),
            route("/admin/*", role("admin")),
            route("/my docs/*", role("admin")),
            route("/x/{id}/admin", signed_in()),
        ];
        let table = table(&routes);
        let Some(request) = request("GET", HOST, &path, &[]) else { return Ok(()) };
        let Ok(matched) = table.find(request) else { return Ok(()) };
        let Ok(permitted) = authorise(matched, anonymous(), false) else { return Ok(()) };
        let forwarded = permitted.request().target().path();
        for (name, reader) in READERS {
            let seen = read_by(reader, forwarded);
            for guarded in ["/admin", "/my docs", "/auth"] {
                prop_assert!(!lies_at(&seen, guarded), "{} reads {} as {}", name, forwarded, seen);
            }
        }
    }

    #[test]
    fn a_gateway_of_one_rule_keeps_its_endpoints_to_itself(path in paths()) {
        let table = table(&[route("/*", public())]);
        let Some(request) = request("GET", HOST, &path, &[]) else { return Ok(()) };
        let Ok(matched) = table.find(request) else { return Ok(()) };
        let Ok(permitted) = authorise(matched, anonymous(), false) else { return Ok(()) };
        let forwarded = permitted.request().target().path();
        for (name, reader) in READERS {
            let seen = read_by(reader, forwarded);
            prop_assert!(!lies_at(&seen, "/auth"), "{} reads {} as {}", name, forwarded, seen);
        }
    }
}
