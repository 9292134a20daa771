//! One fault of a configuration: what, where, why, and what to write instead.

use super::codes::{self, Code};

/// Where something stands: a range of bytes in one of the files that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Whether the file can be used all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can: what is written is legal and dangerous.
    Warning,
}

/// A fault in a configuration, or a danger.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(super) code: &'static Code,
    pub(super) message: String,
    pub(super) place: Option<Place>,
    pub(super) label: String,
    pub(super) also: Vec<(Place, String)>,
    pub(super) notes: Vec<String>,
    pub(super) helps: Vec<String>,
    /// Whether keys of one table may stand in another, or may have been taken for something else.
    pub(super) may_hide_keys: bool,
    /// Whether what stands at its place may be a secret.
    pub(super) hides_value: bool,
}

impl Problem {
    pub(super) fn new(code: &'static Code, place: Place, message: impl Into<String>) -> Self {
        Self { place: Some(place), ..Self::nowhere(code, message) }
    }

    /// A problem of the file as a whole.
    pub(super) fn nowhere(code: &'static Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            place: None,
            label: String::new(),
            also: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
            may_hide_keys: [codes::SYNTAX.id, codes::UNKNOWN_KEY.id].contains(&code.id),
            hides_value: false,
        }
    }

    /// A few words under the place itself.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// A second place that has part in it.
    pub(super) fn also(mut self, place: Place, label: impl Into<String>) -> Self {
        self.also.push((place, label.into()));
        self
    }

    /// Why it matters.
    pub(super) fn because(mut self, why: impl Into<String>) -> Self {
        self.notes.push(why.into());
        self
    }

    /// What to write instead.
    pub(super) fn help(mut self, remedy: impl Into<String>) -> Self {
        self.helps.push(remedy.into());
        self
    }

    pub(super) fn hiding_keys(mut self, may_hide_keys: bool) -> Self {
        self.may_hide_keys = may_hide_keys;
        self
    }

    /// What stands at its place is not shown.
    pub(super) fn hiding_value(mut self) -> Self {
        self.hides_value = true;
        self
    }

    /// The stable code: `E011`, `W002`.
    pub fn code(&self) -> &'static str {
        self.code.id
    }

    /// What is wrong, on one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether it keeps the file from being used.
    pub fn severity(&self) -> Severity {
        if self.code.id.starts_with('W') { Severity::Warning } else { Severity::Error }
    }
}
