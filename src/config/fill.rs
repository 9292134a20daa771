//! `${NAME}`, `${NAME:-default}` and `${NAME:?message}` in strings. A bare `$` is a dollar.

use super::codes;
use super::environment::Environment;
use super::problem::{Place, Problem};
use super::veil::is_secret_key;

/// The text with every variable filled in; none when the text holds none.
pub(super) fn fill(
    text: &str,
    place: Place,
    environment: &Environment,
) -> Result<Option<String>, Vec<Problem>> {
    if !text.contains("${") {
        return Ok(None);
    }
    let (mut filled, mut rest, mut problems) = (String::new(), text, Vec::new());
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            problems.push(malformed(place));
            rest = "";
            break;
        };
        match variable(inside, place, environment) {
            Ok(value) => filled.push_str(&value),
            Err(problem) => problems.push(*problem),
        }
        rest = after;
    }
    filled.push_str(rest);
    if problems.is_empty() { Ok(Some(filled)) } else { Err(problems) }
}

/// As a shell reads it: a default and a message also stand in for an empty value.
fn variable(inside: &str, place: Place, environment: &Environment) -> Result<String, Box<Problem>> {
    let end =
        inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inside.len());
    let (name, rest) = inside.split_at_checked(end).unwrap_or((inside, ""));
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(Box::new(malformed(place)));
    }
    if environment.is_no_text(name) {
        return Err(Box::new(no_text(name, place)));
    }
    let value = environment.variable(name);
    if rest.is_empty() {
        return value.ok_or_else(|| Box::new(unset(name, None, place)));
    }
    let value = value.filter(|value| !value.is_empty());
    match (rest.strip_prefix(":-"), rest.strip_prefix(":?")) {
        (Some(default), _) => Ok(value.unwrap_or_else(|| default.to_owned())),
        (_, Some(message)) => value.ok_or_else(|| Box::new(unset(name, Some(message), place))),
        (None, None) => Err(Box::new(malformed(place))),
    }
}

fn unset(name: &str, message: Option<&str>, place: Place) -> Problem {
    let problem =
        Problem::new(&codes::UNSET, place, format!("the environment variable `{name}` is not set"))
            .label("needed here");
    let problem = match message {
        Some(message) if !message.is_empty() => problem.because(message),
        _ => problem,
    };
    // Nobody should write a secret into the file, least of all as a default.
    if message.is_some() || is_secret_key(name) {
        problem.help(format!("set `{name}` before the gateway starts"))
    } else {
        problem.help(format!(
            "set `{name}` before the gateway starts, or give a default: `${{{name}:-default}}`"
        ))
    }
}

fn no_text(name: &str, place: Place) -> Problem {
    Problem::new(&codes::UNSET, place, format!("the environment variable `{name}` is not UTF-8"))
        .label("needed here")
        .help(format!("set `{name}` to UTF-8; for bytes, name a file that holds them"))
}

fn malformed(place: Place) -> Problem {
    Problem::new(&codes::PLACEHOLDER, place, "`${` begins a variable, but none can be read here")
        .label("not a variable")
        .help("write `${NAME}`, `${NAME:-default}` or `${NAME:?message}`; a `$` without `{` is a plain dollar")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { file: 0, start: 0, end: 0 };

    fn filled(text: &str) -> Result<Option<String>, Vec<&'static str>> {
        let variables = [("A", "a"), ("EMPTY", ""), ("NESTED", "${A}"), ("_1", "one")];
        let environment =
            Environment::fixed(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
        fill(text, PLACE, &environment)
            .map_err(|problems| problems.iter().map(Problem::code).collect())
    }

    #[test]
    fn variables_are_filled_in_as_a_shell_does() {
        for (text, expected) in [
            ("${A}", "a"),
            ("x${A}y${_1}", "xayone"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${UNSET:-}", ""),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${A:?never}", "a"),
            ("$${A}", "$a"),
            // What a variable holds is not looked into.
            ("${NESTED}", "${A}"),
        ] {
            assert_eq!(filled(text), Ok(Some(expected.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_dollar_without_a_brace_is_a_dollar() {
        for text in ["$", "$A", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA", "100$", "{A}"] {
            assert_eq!(filled(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_told_each_time() {
        for (text, codes) in [
            ("${UNSET}${ALSO}", vec!["E021", "E021"]),
            ("${EMPTY:?}", vec!["E021"]),
            ("${}", vec!["E022"]),
            ("${1A}", vec!["E022"]),
            ("${A", vec!["E022"]),
            ("${A B}", vec!["E022"]),
            ("${A:+x}${UNSET}", vec!["E022", "E021"]),
            ("${Ä}", vec!["E022"]),
        ] {
            assert_eq!(filled(text), Err(codes), "{text}");
        }
    }
}
