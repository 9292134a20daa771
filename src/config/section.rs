//! A table of the file, read key by key: each method takes one key, tells what is wrong with it,
//! and gives what the rest of the reading can go on with.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::codes;
use super::environment::Environment;
use super::forms::{self, Form};
use super::keys::{self, Keys, nearest};
use super::named_file::{self, LARGEST_SECRET};
use super::problem::{Place, Problem};
use super::value::{Text, Value};
use crate::secret::Secret;

/// What every reader needs, and where it tells its problems.
pub(super) struct Context<'e> {
    pub(super) environment: &'e Environment,
    /// Folder of the main file: where relative names of secrets and included files begin.
    pub(super) folder: PathBuf,
    problems: RefCell<Vec<Problem>>,
}

impl<'e> Context<'e> {
    pub(super) fn new(file: &Path, environment: &'e Environment) -> Self {
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        Self { environment, folder, problems: RefCell::default() }
    }

    pub(super) fn tell(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Whether no problem was told so far.
    pub(super) fn is_silent(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// Bounds of a duration, and why they are there where that needs to be told.
pub(super) struct Between {
    pub(super) least: Duration,
    pub(super) most: Duration,
    pub(super) why: &'static str,
}

/// One table. A table that is absent reads like an empty one.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) context: &'a Context<'a>,
    table: Option<&'a DeTable<'a>>,
    /// Its header, or the braces of an inline table.
    pub(super) place: Place,
    keys: &'static Keys,
}

impl<'a> Section<'a> {
    /// Opens a table, telling every key that it should not have.
    pub(super) fn open(
        context: &'a Context<'a>,
        table: &'a DeTable<'a>,
        place: Place,
        keys: &'static Keys,
    ) -> Self {
        let section = Self { context, table: Some(table), place, keys };
        for key in table.keys() {
            section.check_key(
                key.get_ref(),
                Place { start: key.span().start, end: key.span().end, ..place },
            );
        }
        section
    }

    fn check_key(&self, key: &str, place: Place) {
        let Keys { table, built, later } = *self.keys;
        if built.contains(&key) || key.is_empty() {
            return;
        }
        if later.contains(&key) {
            return self.tell(not_yet(format!("`{key}` in {}", called(table)), place));
        }
        let problem = Problem::new(
            &codes::UNKNOWN_KEY,
            place,
            format!("unknown key `{key}` in {}", called(table)),
        );
        let of_file = keys::ROOT.built.contains(&key);
        let main_alone = table == keys::INCLUDED.table && of_file;
        let problem = match nearest(key, built.iter().copied()) {
            _ if main_alone => problem.label("belongs into the main file"),
            _ if of_file => problem
                .label("belongs to the file itself")
                .help("write it above the first table, or under a header of its own"),
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem.label("no such key"),
        };
        let mut known = built.to_vec();
        known.sort_unstable();
        self.tell(problem.help(format!("keys of {}: {}", called(table), known.join(", "))));
    }

    pub(super) fn tell(&self, problem: Problem) {
        self.context.tell(problem);
    }

    /// Whether the key is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// The value of a key, with its place.
    pub(super) fn value(&self, key: &'a str) -> Option<Value<'a>> {
        let inner: &'a Spanned<DeValue<'a>> = self.table?.get(key)?;
        Some(Value::new(self.context, key, inner, self.place.file))
    }

    /// Where a key's value stands; the whole table's place when it is not written.
    pub(super) fn place_of(&self, key: &'a str) -> Place {
        self.value(key).map_or(self.place, |value| value.place)
    }

    /// Where each item of a list stands, or the one value that stands in its place.
    pub(super) fn places(&self, key: &'a str) -> Vec<Place> {
        self.value(key).map_or_else(Vec::new, |value| value.places())
    }

    /// A string.
    pub(super) fn text(&self, key: &'a str) -> Option<Text> {
        self.value(key)?.text()
    }

    /// A string that must be there.
    pub(super) fn needed(&self, key: &'a str, why: &str) -> Option<Text> {
        if !self.has(key) {
            let problem = Problem::new(&codes::MISSING, self.place, format!("`{key}` is missing"))
                .label(format!("this needs `{key} = ...`"))
                .because(why);
            self.tell(problem);
        }
        self.text(key)
    }

    /// A string, or a list of strings; those that can be read.
    pub(super) fn texts(&self, key: &'a str) -> Option<Vec<Text>> {
        let value = self.value(key)?;
        value
            .as_list("a string or a list of strings")
            .map(|items| items.iter().filter_map(Value::text).collect())
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'a str, default: bool) -> bool {
        self.value(key).and_then(|value| value.flag()).unwrap_or(default)
    }

    /// A whole number within bounds.
    pub(super) fn count(
        &self,
        key: &'a str,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> usize {
        let Some(value) = self.value(key) else {
            return default;
        };
        let Some(count) = value.integer() else {
            return default;
        };
        let within = usize::try_from(count).ok().filter(|count| bounds.contains(count));
        within.unwrap_or_else(|| {
            self.out_of_bounds(&value, &format!("from {} to {}", bounds.start(), bounds.end()), "");
            default
        })
    }

    /// A string in a notation.
    pub(super) fn form<T>(&self, key: &'a str, form: &Form<T>) -> Option<T> {
        self.value(key)?.form(form)
    }

    /// A duration within bounds.
    pub(super) fn duration(&self, key: &'a str, default: Duration, bounds: &Between) -> Duration {
        match self.form(key, &forms::DURATION) {
            Some(duration) if (bounds.least..=bounds.most).contains(&duration) => duration,
            Some(_) => {
                if let Some(value) = self.value(key) {
                    let [from, to] = [bounds.least, bounds.most].map(forms::duration_text);
                    self.out_of_bounds(&value, &format!("from \"{from}\" to \"{to}\""), bounds.why);
                }
                default
            }
            None => default,
        }
    }

    fn out_of_bounds(&self, value: &Value<'_>, bounds: &str, why: &str) {
        let problem = Problem::new(
            &codes::OUT_OF_BOUNDS,
            value.place,
            format!("`{}` is out of bounds", value.key),
        )
        .label(format!("must be {bounds}"));
        self.tell(if why.is_empty() { problem } else { problem.because(why) });
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &'a str, default: T, words: &[(&str, T)]) -> T {
        self.value(key).and_then(|value| value.choice(words, &[])).unwrap_or(default)
    }

    /// Any of a few words.
    pub(super) fn choices<T: Copy>(&self, key: &'a str, words: &[(&str, T)]) -> Vec<T> {
        let items =
            self.value(key).and_then(|value| value.as_list("a string or a list of strings"));
        items.unwrap_or_default().iter().filter_map(|item| item.choice(words, &[])).collect()
    }

    /// A table of which nothing is written: every key has its default.
    pub(super) fn empty(&self, keys: &'static Keys) -> Section<'a> {
        Section { table: None, keys, ..*self }
    }

    /// A table within this one.
    pub(super) fn section(&self, key: &'a str, keys: &'static Keys) -> Section<'a> {
        self.value(key).and_then(|value| value.section(keys)).unwrap_or_else(|| self.empty(keys))
    }

    /// An array of tables.
    pub(super) fn sections(&self, key: &'a str, keys: &'static Keys) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let items = value.as_array("an array of tables").unwrap_or_default();
        items.iter().filter_map(|item| item.section(keys)).collect()
    }

    /// Tables by name: `[upstreams.api]`; the name with its place.
    pub(super) fn named(
        &self,
        key: &'a str,
        keys: &'static Keys,
    ) -> Vec<(&'a str, Place, Section<'a>)> {
        self.section_entries(key)
            .into_iter()
            .filter_map(|(place, value)| Some((value.key, place, value.section(keys)?)))
            .collect()
    }

    /// The entries of a table of the writer's own keys, each with the place of its key, in order.
    pub(super) fn section_entries(&self, key: &'a str) -> Vec<(Place, Value<'a>)> {
        let Some(table) = self.value(key).and_then(|value| value.as_table()) else {
            return Vec::new();
        };
        let file = self.place.file;
        let entry = |(key, inner): (&'a Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let name: &'a std::borrow::Cow<'a, str> = key.get_ref();
            let place = Place { file, start: key.span().start, end: key.span().end };
            (place, Value::new(self.context, name, inner, file))
        };
        let mut entries: Vec<_> = table.iter().map(entry).collect();
        entries.sort_by_key(|(place, _)| *place);
        entries
    }

    /// A secret, written here or in the file that the twin key names.
    pub(super) fn secret(&self, key: &'a str, twin: &'a str) -> Option<(Secret, Place)> {
        if self.clash(key, twin) {
            return None;
        }
        match self.text(key) {
            Some(text) => Some((Secret::from(text.value), text.place)),
            None => self.text(twin).and_then(|file| self.secret_file(&file)),
        }
    }

    /// The same for a key that takes a list as well.
    pub(super) fn secrets(&self, key: &'a str, twin: &'a str) -> Vec<(Secret, Place)> {
        if self.clash(key, twin) {
            return Vec::new();
        }
        match self.texts(key) {
            Some(texts) => {
                texts.into_iter().map(|text| (Secret::from(text.value), text.place)).collect()
            }
            None => self.text(twin).and_then(|file| self.secret_file(&file)).into_iter().collect(),
        }
    }

    /// Tells when two keys are written of which only one may be.
    pub(super) fn clash(&self, key: &'a str, other: &'a str) -> bool {
        let (Some(first), Some(second)) = (self.value(key), self.value(other)) else {
            return false;
        };
        let problem = Problem::new(
            &codes::BOTH,
            second.place,
            format!("both `{key}` and `{other}` are given"),
        )
        .label("given as well")
        .also(first.place, "given here")
        .help("keep one of the two");
        // It may be the secret itself.
        self.tell(if other.ends_with("_file") { problem.hiding_value() } else { problem });
        true
    }

    fn secret_file(&self, file: &Text) -> Option<(Secret, Place)> {
        let path = self.context.folder.join(&file.value);
        match named_file::bytes(&path, LARGEST_SECRET) {
            Ok(mut bytes) => {
                let end = bytes.strip_suffix(b"\n").map_or(bytes.len(), <[u8]>::len);
                bytes.truncate(end);
                let end = bytes.strip_suffix(b"\r").map_or(bytes.len(), <[u8]>::len);
                bytes.truncate(end);
                Some((Secret::new(bytes), file.place))
            }
            Err(cause) => {
                self.tell(if names_a_place(&self.context.folder, &file.value) {
                    unreadable(&path, &cause, file.place)
                } else {
                    no_secret_file(&cause, file.place)
                });
                None
            }
        }
    }
}

/// Whether a text names a file that is there, or one somewhere in a folder that is: a secret, written
/// where the name of its file belongs, does neither.
fn names_a_place(folder: &Path, text: &str) -> bool {
    let mut above = Path::new(text).ancestors().skip(1).filter(|above| above.file_name().is_some());
    folder.join(text).symlink_metadata().is_ok() || above.any(|above| folder.join(above).is_dir())
}

fn no_secret_file(cause: &std::io::Error, place: Place) -> Problem {
    Problem::new(&codes::NAMED_FILE, place, "cannot read the file of a secret")
        .label(reason(cause))
        .hiding_value()
        .because("what is written here is not shown: it may be the secret itself")
        .help("write the name of a file that holds the secret; a relative name begins at the folder of this configuration")
}

/// A file that is named here and cannot be read.
pub(super) fn unreadable(path: &Path, cause: &std::io::Error, place: Place) -> Problem {
    Problem::new(&codes::NAMED_FILE, place, format!("cannot read the file `{}`", path.display()))
        .label(reason(cause))
        .help("a relative name begins at the folder of this configuration; the user that runs the gateway must be allowed to read it")
}

fn reason(cause: &std::io::Error) -> String {
    let kind = cause.kind();
    if kind == std::io::ErrorKind::NotFound {
        "there is no such file".to_owned()
    } else if kind == std::io::ErrorKind::PermissionDenied {
        "this user may not read it".to_owned()
    } else {
        cause.to_string()
    }
}

/// A feature that is promised and not there.
pub(super) fn not_yet(what: impl std::fmt::Display, place: Place) -> Problem {
    Problem::new(&codes::NOT_YET, place, format!("{what} is not supported yet"))
        .label("not supported yet")
        .help("take it out: this version would not do what it says")
}

/// How a message names a table.
pub(super) fn called(table: &str) -> String {
    match table {
        "[[routes]]" => "a route".to_owned(),
        "[[tests]]" => "a test".to_owned(),
        "[[bootstrap]]" => "a bootstrap user".to_owned(),
        plain if plain.contains(' ') => plain.to_owned(),
        quoted => format!("`{quoted}`"),
    }
}
