//! Blots secrets out of the lines that a report shows, byte for byte, so that places still hold.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys;

/// The text with every secret blotted out.
///
/// Where the text is not TOML (`broken`) its tree cannot be relied on: every line that seems to
/// begin a secret is blotted out as well.
pub(super) fn veil(text: &str, tree: &DeTable<'_>, broken: bool) -> String {
    let mut spans = Vec::new();
    find_in_table(text, ("", tree), &mut spans);
    if broken {
        find_in_lines(text, &mut spans);
    }
    blotted(text, &spans)
}

/// The text with these parts blotted out, byte for byte.
pub(super) fn blotted(text: &str, spans: &[Range<usize>]) -> String {
    let blotted = text.char_indices().flat_map(|(at, c)| {
        let hidden = c != '\n' && spans.iter().any(|span| span.contains(&at));
        let (shown, times) = if hidden { ('*', c.len_utf8()) } else { (c, 1) };
        std::iter::repeat_n(shown, times)
    });
    blotted.collect()
}

/// Whether what a key or header holds must not be shown; near misses of such a name included.
pub(super) fn is_secret_key(key: &str) -> bool {
    const PARTS: [&str; 9] = [
        "secret",
        "password",
        "passwd",
        "passphrase",
        "hash",
        "authorization",
        "credential",
        "api-key",
        "apikey",
    ];
    let key = key.to_lowercase().replace('_', "-");
    let near = |word| strsim::normalized_damerau_levenshtein(&key, word) >= 0.65;
    let named = PARTS.iter().any(|part| key.contains(part))
        || key.ends_with("token")
        || key.ends_with("value")
        || ["pass", "pwd"].contains(&&*key);
    !key.ends_with("-file")
        && (named || ["secret", "password", "hash", "value"].into_iter().any(near))
}

/// The same for the name of a header.
pub(super) fn is_secret_header(name: &str) -> bool {
    let name = name.to_lowercase();
    ["cookie", "-key", "-auth"].iter().any(|part| name.ends_with(part)) || is_secret_key(&name)
}

/// The same within a table, a dot before its name where it is not of the root. One that has a secret
/// may hold it under any name that it does not know.
fn is_secret_in(table: &str, key: &str) -> bool {
    let among = |keys: &keys::Keys| is_secret_key(key) || !keys.built.contains(&key);
    match table {
        "tokens" => among(&keys::TOKENS),
        "bootstrap" => among(&keys::BOOTSTRAP),
        ".set" | ".set_response" => is_secret_header(key),
        _ => is_secret_key(key),
    }
}

const PROOF: &str = "proof";

fn find_in_table(text: &str, (name, table): (&str, &DeTable<'_>), spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        let inner = value.get_ref();
        if &**key.get_ref() == PROOF {
            find_in_proof(text, value, spans);
        } else if !is_secret_in(name, key.get_ref()) || inner.is_table() {
            let dot = if name.is_empty() { "" } else { "." };
            let name = format!("{dot}{}", key.get_ref());
            find_in_value(text, (&name, inner), value.span(), spans);
        } else {
            match inner.as_array() {
                Some(items) => {
                    spans.extend(items.iter().filter_map(|item| hidden_part(text, item.span())));
                }
                None => spans.extend(hidden_part(text, value.span())),
            }
            find_remarks(text, value.span(), spans);
        }
    }
}

/// Comments on the lines of a secret, where a former one may stand.
fn find_remarks(text: &str, span: Range<usize>, spans: &mut Vec<Range<usize>>) {
    let rest = text.get(span.end..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let mut start = span.start;
    for line in text.get(span.start..span.end + rest.len()).unwrap_or("").split_inclusive('\n') {
        spans.extend(line.find('#').map(|at| start + at..start + line.len()));
        start += line.len();
    }
}

/// Its value is a secret under a plain name, which a slip makes no name at all.
fn find_in_proof(text: &str, proof: &Spanned<DeValue<'_>>, spans: &mut Vec<Range<usize>>) {
    let Some(table) = proof.get_ref().as_table() else {
        spans.extend(hidden_part(text, proof.span()));
        return;
    };
    let is_shown = |key: &str, value: &DeValue<'_>| {
        (key == "header" || key.ends_with("_file")) && value.as_str().is_some()
    };
    let hidden = table.iter().filter(|(key, value)| !is_shown(key.get_ref(), value.get_ref()));
    spans.extend(hidden.filter_map(|(_, value)| hidden_part(text, value.span())));
    find_in_table(text, (PROOF, table), spans);
}

fn find_in_value(
    text: &str,
    (key, value): (&str, &DeValue<'_>),
    span: Range<usize>,
    spans: &mut Vec<Range<usize>>,
) {
    match value {
        DeValue::Table(table) => find_in_table(text, (key, table), spans),
        DeValue::Array(items) => items.iter().for_each(|item| {
            find_in_value(text, (key, item.get_ref()), item.span(), spans);
        }),
        DeValue::String(_) => {
            let written = text.get(span.clone()).unwrap_or("");
            let parts = [user_part(written), query_part(written)].into_iter().flatten();
            spans.extend(parts.map(|part| span.start + part.start..span.start + part.end));
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

/// All of a value, unless it only names a variable.
fn hidden_part(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    let written = text.get(span.clone())?.trim_matches(['"', '\'']);
    let variable = written.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let name = variable.map(|inside| inside.split_once(":?").map_or(inside, |(name, _)| name));
    let harmless =
        name.is_some_and(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    (!harmless).then_some(span)
}

/// `user:password` of a URL.
fn user_part(written: &str) -> Option<Range<usize>> {
    let start = written.find("://")?.checked_add(3)?;
    let end = written.rfind('@').filter(|end| *end > start)?;
    Some(start..end)
}

/// What stands behind the `?` of a URL.
fn query_part(written: &str) -> Option<Range<usize>> {
    let start = written.find("://")?;
    let start = start + written.get(start..)?.find('?')? + 1;
    let end = written.trim_end_matches(['"', '\'']).len();
    (start < end).then_some(start..end)
}

/// A URL without its `user:password` and its query.
pub(super) fn without_secrets(text: &str) -> String {
    let mut shown = text.to_owned();
    for part in [user_part, query_part] {
        if let Some(part) = part(&shown) {
            shown.replace_range(part, "***");
        }
    }
    shown
}

/// What stands before an `@`, and whatever follows a word such as `secret`, to the end of the line,
/// or beyond it where a list or a string of several lines begins.
fn find_in_lines(text: &str, spans: &mut Vec<Range<usize>>) {
    let (mut start, mut header) = (0, "");
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            header = line;
        }
        let found = ends_of_secret_words(line, header);
        spans.extend(found.into_iter().map(|end| {
            let at = start + end;
            at..at + length_of_secret(text.get(at..).unwrap_or(""))
        }));
        let value = line.find('=').unwrap_or(0);
        spans.extend(line.rfind('@').map(|end| start + value..start + end));
        start += line.len();
    }
}

/// Where the words of a line end behind which a secret may stand; so may one behind its first word,
/// below a header whose table knows no such key.
fn ends_of_secret_words(line: &str, header: &str) -> Vec<usize> {
    let part_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let table = header.trim_start().trim_start_matches('[').split(']').next().unwrap_or("").trim();
    // Its keys, such as `cookie`, have times.
    let of_times = [line, header].iter().any(|text| text.contains("retry_window"));
    let is_secret = |word: &str| {
        word == PROOF
            || word.ends_with("_file")
            || is_secret_key(word)
            || (is_secret_header(word) && !of_times)
    };
    let mut ends = Vec::new();
    let mut at = 0;
    for word in line.split_inclusive(|c| !part_of_word(c)) {
        let before = line.get(..at).unwrap_or(line);
        let is_first = before.chars().all(|c| c.is_whitespace() || c == '"' || c == '\'');
        at += word.len();
        let word = word.trim_end_matches(|c| !part_of_word(c));
        if is_secret(word) || (is_first && !word.is_empty() && is_secret_in(table, word)) {
            ends.push(at);
        }
    }
    ends
}

fn length_of_secret(rest: &str) -> usize {
    let line = rest.lines().next().unwrap_or("");
    let quotes = ["\"\"\"", "'''"].into_iter().find(|quotes| line.contains(quotes));
    if let Some(quotes) = quotes {
        return rest
            .match_indices(quotes)
            .nth(1)
            .map_or(rest.len(), |(end, _)| end)
            .max(line.len());
    }
    if line.contains('[') && !line.contains(']') {
        return rest.find(']').unwrap_or(rest.len());
    }
    // A slip may have torn the value off its key, or its end off its beginning: it stands below.
    let is_torn = line.trim_matches(|c: char| c == '=' || c.is_whitespace()).is_empty();
    let mut below = rest.split_inclusive('\n').skip(1);
    let first = if is_torn { below.next().map_or(0, str::len) } else { 0 };
    let goes_on = |line: &&str| !line.contains('=') && !line.starts_with('[');
    let more: usize = below.take_while(goes_on).map(str::len).sum();
    let end = if first + more > 0 { 1 } else { 0 };
    line.len() + end + first + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_by_their_likes() {
        for key in [
            "secret",
            "password",
            "pasword",
            "Passwort",
            "hash",
            "Authorization",
            "X-Api-Key",
            "auth_token",
            "value",
            "proof_value",
        ] {
            assert!(is_secret_key(key), "{key}");
        }
        for key in [
            "secret_file",
            "password_file",
            "path",
            "name",
            "passes",
            "listen",
            "host",
            "users",
            "access",
            "server",
        ] {
            assert!(!is_secret_key(key), "{key}");
        }
    }

    #[test]
    fn a_value_torn_off_its_key_is_blotted_out_too() {
        for (text, expected) in [
            ("secret =\n  \"a\",\n]\nx = 1", "secret *\n******\n*\nx = 1"),
            ("secret \n\"a=\"\n[x]", "secret \n****\n[x]"),
            ("secret = '\n  \"a\",\n]\nx = 1", "secret ***\n******\n*\nx = 1"),
            ("proof = { \"lue = \"x\" }", "proof ****************"),
            ("secret_file = \"a\nb = 1", "secret_file ****\nb = 1"),
            ("[tokens] # x\nkey = \"a\n[x]", "[tokens] # x\nkey ****\n[x]"),
            ("[tokens]\nalgorithm = \"a\n[x]", "[tokens]\nalgorithm = \"a\n[x]"),
            ("[[bootstrap]]\n\"pas\" = \"a\n[x]", "[[bootstrap]]\n\"pas\"*****\n[x]"),
            ("[u.tokens]\nkey = \"a\n[x]", "[u.tokens]\nkey = \"a\n[x]"),
            ("retry_window = { cookie = 3s }", "retry_window = { cookie = 3s }"),
            ("[s.retry_window]\ncookie = 3s", "[s.retry_window]\ncookie = 3s"),
            ("X-Auth = \"a", "X-Auth ****"),
        ] {
            let (tree, _) = DeTable::parse_recoverable(text);
            assert_eq!(veil(text, tree.get_ref(), true), expected);
        }
    }

    #[test]
    fn secrets_are_blotted_out_byte_for_byte() {
        for (text, expected) in [
            ("secret = \"é\"\nx = 1", "secret = ****\nx = 1"),
            ("secret = [\"a\", \"${B}\"]", "secret = [***, \"${B}\"]"),
            ("secret = \"${B:-c}\"", "secret = *********"),
            ("a = { password = \"x\", b = 1 }", "a = { password = ***, b = 1 }"),
            ("u = \"http://a:b@c/\"", "u = \"http://***@c/\""),
            ("secret = \"\"\"a\nb\"\"\"\n", "secret = ****\n****\n"),
            ("secret_file = \"x\"", "secret_file = \"x\""),
            ("secret = \"a\" # b\nx = 1", "secret = *** ***\nx = 1"),
            ("secret = \"${A}\" # b", "secret = \"${A}\" ***"),
            ("secret = [ # a\n\"b\", # c\n]", "secret = [ ***\n***, ***\n]"),
            ("u = \"pg://b/c?d=e\"", "u = \"pg://b/c?***\""),
            ("[tokens]\nkey = \"a\"", "[tokens]\nkey = ***"),
            ("tls = { key = \"a\" }", "tls = { key = \"a\" }"),
            (
                "h.set = { cookie = \"a\", X-Auth = \"b\" }",
                "h.set = { cookie = ***, X-Auth = *** }",
            ),
            ("[u.tokens]\nservers = \"a\"", "[u.tokens]\nservers = \"a\""),
            ("[u.bootstrap]\nservers = \"a\"", "[u.bootstrap]\nservers = \"a\""),
            ("[[bootstrap]]\npas = \"a\"", "[[bootstrap]]\npas = ***"),
            ("retry_window = { cookie = \"1s\" }", "retry_window = { cookie = \"1s\" }"),
            ("proof = { header = \"h\", lue = \"x\" }", "proof = { header = \"h\", lue = *** }"),
            (
                "[a.proof]\nlue = \"x\"\nvalue_file = \"f\"",
                "[a.proof]\nlue = ***\nvalue_file = \"f\"",
            ),
        ] {
            let (tree, errors) = DeTable::parse_recoverable(text);
            assert!(errors.is_empty());
            assert_eq!(veil(text, tree.get_ref(), false), expected);
        }
    }
}
