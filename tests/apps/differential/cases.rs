//! What is sent: targets and heads put together from pieces that somebody reads in an odd way.

use std::fmt;

use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, block, frame};

/// A request in its pieces, so that it can be made smaller.
#[derive(Clone)]
pub struct Case {
    method: &'static str,
    version: &'static str,
    /// Before the path: nothing, or the scheme of an absolute-form target.
    scheme: &'static str,
    target: Vec<&'static str>,
    lines: Vec<&'static str>,
    /// The body, where it is chunked.
    chunks: &'static str,
}

/// Puts one together.
pub type Make = fn(&mut Dice) -> Case;

/// The same for the same seed.
pub fn many(make: Make, count: usize, seed: u64) -> Vec<Case> {
    let mut dice = Dice(seed);
    (0..count).map(|_| make(&mut dice)).collect()
}

/// A small generator (SplitMix64): the same seed gives the same cases.
pub struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn one_of(&mut self, all: &[&'static str]) -> &'static str {
        all[self.below(all.len())]
    }

    fn some_of(&mut self, all: &[&'static str], most: usize) -> Vec<&'static str> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.one_of(all)).collect()
    }
}

impl Case {
    /// An odd target in a plain head.
    pub fn of_target(dice: &mut Dice) -> Self {
        let scheme = dice.one_of(&["", "", "", "", "", "http://", "HTTP://"]);
        let target = dice.some_of(&PATH, 8);
        Self { method: "GET", version: "1.1", scheme, target, lines: Vec::new(), chunks: "" }
    }

    /// An odd target that begins with what everybody may have.
    pub fn of_open_target(dice: &mut Dice) -> Self {
        let mut case = Self::of_target(dice);
        case.target.insert(0, "public");
        case
    }

    /// A plain target in an odd head, some with a body.
    pub fn of_head(dice: &mut Dice) -> Self {
        let method = dice.one_of(&["GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS"]);
        let mut lines = dice.some_of(&LINES, 5);
        match dice.below(4) {
            0 => lines.push("Content-Length: 43"),
            1 => lines.push("Transfer-Encoding: chunked"),
            _ => {}
        }
        let version = dice.one_of(&["1.1", "1.1", "1.1", "1.1", "1.0"]);
        let (target, chunks) = (vec!["public"], dice.one_of(&CHUNKED));
        Self { method, version, scheme: "", target, lines, chunks }
    }

    /// Whole by every framing that could be meant, so that nobody waits for more.
    fn body(&self) -> &'static str {
        let chunked = |line: &&str| line.trim_end().ends_with("chunked");
        if self.lines.iter().any(chunked) {
            return self.chunks;
        }
        let lengths = self.lines.iter().any(|line| line.to_ascii_lowercase().contains("length"));
        if lengths { INNER } else { "" }
    }

    /// Its bytes for the gateway.
    pub fn bytes(&self, host: &str, number: u32) -> Vec<u8> {
        let Self { method, version, scheme, target, .. } = self;
        let (authority, path) = (if scheme.is_empty() { "" } else { host }, target.concat());
        let mut text = format!(
            "{method} {scheme}{authority}/{path} HTTP/{version}\r\nHost: {host}\r\nX-Case: {number}\r\n"
        );
        for line in &self.lines {
            text += line;
            text += "\r\n";
        }
        text += "\r\n";
        text += self.body();
        text.into_bytes()
    }

    /// Its frames for the gateway by HTTP/2: the same pieces, each line as a field, as far as names
    /// may be written there at all. The body needs no framing, so it is there without any as well.
    pub fn frames(&self, host: &str, number: u32) -> Vec<u8> {
        let Self { method, scheme, target, .. } = self;
        let authority = if scheme.is_empty() { "" } else { host };
        let (path, number) =
            (format!("{scheme}{authority}/{}", target.concat()), number.to_string());
        let mut fields = vec![
            (":method", *method),
            (":scheme", "http"),
            (":authority", host),
            (":path", path.as_str()),
            ("x-case", number.as_str()),
        ];
        let names: Vec<String> = self.lines.iter().map(|line| name_and_value(line).0).collect();
        let values = self.lines.iter().map(|line| name_and_value(line).1);
        fields.extend(names.iter().map(String::as_str).zip(values));
        let bare = self.is_odd() && !matches!(*method, "GET" | "HEAD");
        let body = if self.body().is_empty() && bare { self.chunks } else { self.body() };
        if body.is_empty() {
            return frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields));
        }
        let head = frame(HEADERS, END_HEADERS, 1, &block(&fields));
        [head, frame(DATA, END_STREAM, 1, body.as_bytes())].concat()
    }

    /// Whether the connection is of no use after it.
    pub fn is_odd(&self) -> bool {
        !self.lines.is_empty()
    }

    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The smallest form of it that still `fails`: nothing more can be left out.
    pub fn smallest(self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut least = self;
        while let Some(smaller) = least.smaller().into_iter().find(|smaller| fails(smaller)) {
            least = smaller;
        }
        least
    }

    fn smaller(&self) -> Vec<Self> {
        let plain = Self { scheme: "", version: "1.1", ..self.clone() };
        let plain = (self.scheme != plain.scheme || self.version != plain.version).then_some(plain);
        let targets = (0..self.target.len()).map(|at| {
            let mut smaller = self.clone();
            smaller.target.remove(at);
            smaller
        });
        let lines = (0..self.lines.len()).map(|at| {
            let mut smaller = self.clone();
            smaller.lines.remove(at);
            smaller
        });
        plain.into_iter().chain(targets).chain(lines).collect()
    }
}

/// HTTP/2 has no blanks around a value, and no capital in a name (RFC 9113 section 8.2).
fn name_and_value(line: &'static str) -> (String, &'static str) {
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']))
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.bytes("HOST", 0)))
    }
}

const PATH: [&str; 64] = [
    "/",
    "/",
    "/",
    "/",
    "//",
    "%2F",
    "%2f",
    "%252F",
    "%25252F",
    "\\",
    "%5C",
    "%5c",
    "%255C",
    ";",
    ";x",
    ";a=b",
    "%3B",
    "%253B",
    "?",
    "%3F",
    "%23",
    "%253F",
    ".",
    "..",
    "%2e",
    "%252e",
    "%20",
    "%2520",
    "admin",
    "admin",
    "admin",
    "Admin",
    "ADMIN",
    "%61dmin",
    "%2561dmin",
    "adm%69n",
    "%41dmin",
    "my%20docs",
    "my%20docs",
    "my+docs",
    "MY%20docs",
    "auth",
    "Auth",
    "login",
    "x",
    "x",
    "public",
    "index.html",
    "%25",
    "%zz",
    "%00",
    "%C0%AE",
    "%09",
    "%C3%A9",
    "%E2%84%AA",
    "*",
    "@",
    ":80",
    "localhost",
    "http:",
    "~",
    "%7E",
    "&",
    "%ef%bc%8f",
];

const INNER: &str = "GET /admin HTTP/1.1\r\nX-Case: 4294967295\r\n\r\n";

const CHUNKED: [&str; 6] = [
    "2b\r\nGET /admin HTTP/1.1\r\nX-Case: 4294967295\r\n\r\n\r\n0\r\n\r\n",
    "2B;x=\"y\"\r\nGET /admin HTTP/1.1\r\nX-Case: 4294967295\r\n\r\n\r\n0\r\n\r\n",
    "1\r\na\r\n0\r\nRemote-User: forged\r\n\r\n",
    "0002\r\nab\r\n000\r\n\r\n",
    "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: localhost\r\nX-Case: 4294967295\r\n\r\n",
    "1\r\na\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n",
];

const LINES: [&str; 61] = [
    "Remote-User: forged",
    "Remote_User: forged",
    "REMOTE-USER: forged",
    "remote.user: forged",
    "Remote~User: forged",
    "Remote-Groups: forged",
    "X-Forwarded-User: forged",
    "X_Forwarded-User: forged",
    "X-Forwarded-For: 6.6.6.6",
    "Forwarded: for=6.6.6.6",
    "X-Original-URL: /admin",
    "X-Rewrite-URL: /admin",
    "Proxy: http://forged",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: Host, X-Forwarded-For, Content-Length",
    "Connection: Transfer-Encoding",
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "Upgrade: TLS/1.0, HTTP/1.1",
    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: close",
    "TE: trailers",
    "TE: chunked;q=1",
    "Trailer: Remote-User",
    "Content-Length: 43",
    "Content-Length: 0",
    "Content-Length: +43",
    "Content-Length: 0x2b",
    "Content-Length: 043",
    "Content-Length: 43, 43",
    "Content_Length: 43",
    "Content-Length : 43",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: \u{b}chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: xchunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Host: forged",
    "X: a\r\n b",
    "X: a\r\n\tRemote-User: forged",
    "X: a\nRemote-User: forged",
    "X: a\rRemote-User: forged",
    "X\0: a",
    "X: a\0b",
    ": a",
    "X",
    " X: a",
    "X-Empty:",
    "X: \u{e9}",
    "X:a",
    "Content-Type: application/x-www-form-urlencoded",
    "Content-Encoding: gzip",
    "Authorization: Basic YTpi",
    "Cookie: a=b; $Version=1; c=\"d; e\"",
    "X-HTTP-Method-Override: DELETE",
    "Range: bytes=0-0",
];
