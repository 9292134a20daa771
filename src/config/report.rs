//! All problems of a configuration, drawn for people or listed for machines.

use std::path::{Path, PathBuf};

use annotate_snippets::renderer::DEFAULT_TERM_WIDTH;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use super::codes;
use super::problem::{Place, Problem, Severity};
use super::veil::blotted;

/// A file that was read. Its text may hold secrets until [`super::veil`] has been over it.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// For a terminal.
    Colour,
    /// For files and `NO_COLOR`.
    Plain,
    /// For machines: one JSON object.
    Json,
}

/// Every problem of a configuration, in the order of the file; secrets in its lines are blotted out.
#[derive(Clone, Debug)]
pub struct Report {
    file: PathBuf,
    sources: Vec<Source>,
    problems: Vec<Problem>,
}

impl Report {
    pub(super) fn new(file: &Path, mut sources: Vec<Source>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place);
        for place in problems.iter().filter(|problem| problem.hides_value).filter_map(|p| p.place) {
            if let Some(source) = sources.get_mut(place.file) {
                let value = place.start..place.end;
                source.text = blotted(&source.text, std::slice::from_ref(&value));
            }
        }
        Self { file: file.to_owned(), sources, problems }
    }

    /// Every problem, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many are of this kind.
    pub fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity() == severity).count()
    }

    /// Whether the file itself could not be read, so that nothing is known of it.
    pub fn is_unreadable(&self) -> bool {
        self.problems.iter().any(|problem| problem.code() == codes::UNREADABLE.id)
    }

    /// Whether a key that seems to be missing may stand there all the same, misspelt or in a table
    /// that is not its own.
    pub(super) fn may_hide_keys(&self) -> bool {
        self.problems.iter().any(|problem| problem.may_hide_keys)
    }

    /// The report as text, ending with a line that counts; empty when there is nothing to tell.
    pub fn render(&self, style: Style) -> String {
        match style {
            Style::Json => format!("{}\n", self.json()),
            Style::Colour => self.draw(&Renderer::styled()),
            Style::Plain => self.draw(&Renderer::plain()),
        }
    }

    fn draw(&self, renderer: &Renderer) -> String {
        if self.problems.is_empty() {
            return String::new();
        }
        let renderer = renderer.clone().term_width(DEFAULT_TERM_WIDTH);
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&renderer.render(&[self.group(problem)]));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(problem.message.as_str()).id(problem.code.id);
        let notes = problem.notes.iter().map(|note| Level::NOTE.message(note.as_str()));
        let helps = problem.helps.iter().map(|help| Level::HELP.message(help.as_str()));
        Group::with_title(title).elements(self.snippets(problem)).elements(notes).elements(helps)
    }

    /// One snippet a file, that of the problem's own place first.
    fn snippets<'a>(&'a self, problem: &'a Problem) -> Vec<Element<'a>> {
        let main =
            problem.place.map(|place| (AnnotationKind::Primary, place, problem.label.as_str()));
        let also = problem
            .also
            .iter()
            .map(|(place, label)| (AnnotationKind::Context, *place, label.as_str()));
        let mut files: Vec<(usize, Snippet<'a, _>)> = Vec::new();
        for (kind, place, label) in main.into_iter().chain(also) {
            let Some(source) = self.sources.get(place.file) else {
                continue;
            };
            let label = (!label.is_empty()).then_some(label);
            let mark = kind.span(clamp(&source.text, place)).label(label);
            match files.iter_mut().find(|(file, _)| *file == place.file) {
                Some((_, snippet)) => *snippet = snippet.clone().annotation(mark),
                None => {
                    let path = source.path.display().to_string();
                    files.push((
                        place.file,
                        Snippet::source(source.text.as_str()).path(path).annotation(mark),
                    ));
                }
            }
        }
        files.into_iter().map(|(_, snippet)| snippet.into()).collect()
    }

    /// The last line: it must be true for `check`, `run` and a reload alike.
    fn summary(&self) -> String {
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let counts = [(errors, "error"), (warnings, "warning")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }))
            .collect::<Vec<_>>()
            .join(", ");
        let verdict = if errors > 0 { "this file cannot be used" } else { "this file can be used" };
        format!("{}: {counts}; {verdict}.", self.file.display())
    }

    /// For machines.
    pub fn json(&self) -> Value {
        json!({
            "file": self.file.display().to_string(),
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "problems": self.problems.iter().map(|problem| self.problem_json(problem)).collect::<Vec<_>>(),
        })
    }

    fn problem_json(&self, problem: &Problem) -> Value {
        let severity = match problem.severity() {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        json!({
            "code": problem.code(),
            "severity": severity,
            "message": problem.message,
            "label": problem.label,
            "place": problem.place.map(|place| self.place_json(place)),
            "also": problem.also.iter().map(|(place, label)| {
                json!({ "place": self.place_json(*place), "label": label })
            }).collect::<Vec<_>>(),
            "notes": problem.notes,
            "help": problem.helps,
        })
    }

    fn place_json(&self, place: Place) -> Value {
        let Some(source) = self.sources.get(place.file) else {
            return Value::Null;
        };
        let (line, column) = position(&source.text, place.start);
        json!({ "file": source.path.display().to_string(), "line": line, "column": column })
    }
}

/// Line and column, both from 1, the column in characters.
pub(super) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before.get(start..).unwrap_or("").chars().count() + 1)
}

fn clamp(text: &str, place: Place) -> std::ops::Range<usize> {
    let end = place.end.min(text.len());
    place.start.min(end)..end
}
