//! A file as TOML, and what of it is not.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::DeTable;

use super::codes;
use super::problem::{Place, Problem};
use super::report::{Source, position};
use super::veil::veil;

/// A parsed file, and what of it is not TOML.
pub(super) struct Tree<'s> {
    pub(super) table: Spanned<DeTable<'s>>,
    errors: Vec<Problem>,
}

impl<'s> Tree<'s> {
    pub(super) fn parse(source: &'s Source, file: usize) -> Self {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        let problem = |error: toml::de::Error| {
            let span = error.span().unwrap_or(0..0);
            let place = Place { file, start: span.start, end: span.end };
            let problem = Problem::new(
                &codes::SYNTAX,
                place,
                format!("this is not TOML: {}", error.message()),
            );
            remedies(error.message()).fold(problem.label("here"), Problem::help)
        };
        Self { table, errors: errors.into_iter().map(problem).collect() }
    }

    pub(super) fn veiled(&self, source: &Source) -> Source {
        let text = veil(&source.text, self.table.get_ref(), !self.errors.is_empty());
        Source { path: source.path.clone(), text }
    }
}

/// What to write instead, by what the parser says.
fn remedies(message: &str) -> impl Iterator<Item = &'static str> {
    let known = [
        ("values must be quoted", "put the value into quotes"),
        ("invalid float", "put a word into quotes"),
        ("invalid boolean", "put a word into quotes"),
        (
            "basic string",
            "end the string with its quote, on the same line; a string of several lines begins and ends with three",
        ),
        ("unclosed table", "a header is `[name]`"),
        ("unclosed array table", "a header of one item of a list is `[[name]]`"),
        ("duplicate key", "keep one of the two; items of a list are `[[name]]`"),
    ];
    known.into_iter().filter(move |(part, _)| message.contains(part)).map(|(_, remedy)| remedy)
}

/// Adds the errors of syntax. Beside them only such problems are told as one line shows by itself:
/// what seems to be missing, or in the wrong table, may come of what could not be read.
pub(super) fn with_syntax(
    problems: Vec<Problem>,
    trees: &[&Tree<'_>],
    sources: &[&Source],
) -> Vec<Problem> {
    let errors: Vec<Problem> = trees.iter().flat_map(|tree| tree.errors.iter().cloned()).collect();
    if errors.is_empty() {
        return problems;
    }
    let line =
        |place: Place| Some((place.file, position(&sources.get(place.file)?.text, place.start).0));
    let broken: BTreeSet<_> = errors.iter().filter_map(|error| line(error.place?)).collect();
    let header = |error: &Problem| error.message.contains("table");
    let headers: Vec<Place> =
        errors.iter().filter(|error| header(error)).filter_map(|error| error.place).collect();
    let by_itself = |problem: &Problem| {
        let codes = [
            &codes::UNKNOWN_KEY,
            &codes::NOT_YET,
            &codes::WRONG_TYPE,
            &codes::BARE_NUMBER,
            &codes::BAD_VALUE,
        ];
        let Some(place) = problem.place else {
            return false;
        };
        codes.iter().any(|code| code.id == problem.code())
            && line(place).is_some_and(|line| !broken.contains(&line))
            && !headers.iter().any(|header| header.file == place.file && header.start < place.start)
    };
    let rest = problems.into_iter().filter(by_itself);
    errors.iter().cloned().chain(rest).collect()
}
