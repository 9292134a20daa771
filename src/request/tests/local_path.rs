//! Where a browser may be sent on to: a corpus of what could lead elsewhere.

use super::*;

/// What browsers, or servers that decode once more, could take for another origin; and what is no
/// path in normal form.
const ELSEWHERE: [&str; 63] = [
    "",
    " ",
    "evil.example",
    "evil",
    "?x",
    "#x",
    ".",
    "..",
    "https://evil.example/",
    "HTTPS://evil.example/",
    "https:evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "//evil.example",
    "///evil.example",
    "////evil.example/%2f..",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/a\\b",
    "/x?y=\\",
    "/%2Fevil.example",
    "/%2fevil.example",
    "/%2F%2Fevil.example",
    "/%5Cevil.example",
    "/%5cevil.example",
    "/%5c%5cevil.example",
    "/%252Fevil.example",
    "/%25252fevil.example",
    "/%255cevil.example",
    "/%09/evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    "\n//evil.example",
    " //evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "/x\r\nSet-Cookie: a=b",
    "/x%0d%0aSet-Cookie:%20a=b",
    "/x\u{0}",
    "/x%00",
    "/./evil.example",
    "/.//evil.example",
    "/..//evil.example",
    "/%2e%2e//evil.example",
    "/;//evil.example",
    "/ /evil.example",
    "/caf\u{e9}",
    "/\u{ff0f}evil.example",
    "/\u{3002}evil",
    "//evil.example#x",
    "/x#y#z",
    "/x#y\\",
    "/x# y",
    "/x#\u{e9}",
    "/x#y\r\nSet-Cookie: a=b",
    "/x%",
    "/x%zz",
    "@evil.example",
    ":443",
    "/x?\u{e9}",
    "/x? y",
];

#[test]
fn paths_of_this_origin_are_kept_as_they_are() {
    for path in [
        "/",
        "/private/hello",
        "/private/hello?x=1&y=%2F%2F",
        "/a/b//c",
        "/caf%C3%A9",
        "/a%20b",
        "/search?q=https://evil.example/",
        "/group%2Fname/-/tree",
        "/@evil.example",
        "/.well-known/x",
        "/evil.example",
        "/?next=//evil.example",
        "/#/inbox/7?sort=new",
        "/app?x=1#y%20z",
        "/x#//evil.example",
    ] {
        let read = LocalPath::read(path);
        assert_eq!(read.as_ref().map(LocalPath::as_str), Some(path), "{path}");
    }
}

#[test]
fn what_could_lead_elsewhere_is_none() {
    for path in ELSEWHERE {
        assert_eq!(LocalPath::read(path), None, "{path:?}");
    }
}

#[test]
fn two_kibibytes_are_the_most() {
    let path = format!("/{}", "a".repeat(2047));
    assert!(LocalPath::read(&path).is_some());
    assert_eq!(LocalPath::read(&format!("{path}a")), None);
}

#[test]
fn no_browser_would_resolve_one_to_another_origin() {
    // Every short text of the bytes that matter, resolved as URL parsers do (WHATWG URL section
    // 4.4): control characters and blanks at the ends and tabs and line ends anywhere are dropped,
    // `\` counts as `/`.
    let letters = ['/', '\\', '.', '%', '2', 'f', '5', 'c', '\t', '\n', ' ', '@', ':', 'e'];
    let mut texts = vec![String::new()];
    for _ in 0..4 {
        let longer =
            texts.iter().flat_map(|text| letters.iter().map(move |c| format!("{text}{c}")));
        texts = longer.collect();
        for text in &texts {
            let Some(path) = LocalPath::read(&format!("/{text}")) else { continue };
            let mut seen = path.as_str().to_owned();
            for _ in 0..3 {
                let plain = seen.replace(['\t', '\n', '\r'], "").replace('\\', "/");
                let plain = plain.trim_matches(|c: char| c <= ' ');
                assert!(plain.starts_with('/') && !plain.starts_with("//"), "{text:?} as {seen:?}");
                seen = seen
                    .replace("%2F", "/")
                    .replace("%2f", "/")
                    .replace("%5C", "\\")
                    .replace("%25", "%");
            }
        }
    }
}
