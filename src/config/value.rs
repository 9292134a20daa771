//! One value of the file, with its place; each method reads it as one type, or tells why not.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::codes;
use super::fill::fill;
use super::forms::Form;
use super::keys::{Keys, nearest};
use super::problem::{Place, Problem};
use super::section::{Context, Section, not_yet};
use super::veil::without_secrets;

/// A string of the file, its variables filled in. It may be a secret.
pub(super) struct Text {
    pub(super) value: String,
    /// As messages may show it: what the environment filled in stays out of sight.
    pub(super) shown: String,
    /// Whether the environment had part in it.
    pub(super) filled: bool,
    pub(super) place: Place,
}

/// What is wanted where a table should be.
const TABLE: &str = "a table";

/// A value with the key that it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    context: &'a Context<'a>,
    pub(super) key: &'a str,
    inner: &'a DeValue<'a>,
    pub(super) place: Place,
}

impl<'a> Value<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        key: &'a str,
        inner: &'a Spanned<DeValue<'a>>,
        file: usize,
    ) -> Self {
        let place = Place { file, start: inner.span().start, end: inner.span().end };
        Self { context, key, inner: inner.get_ref(), place }
    }

    fn wrong_type(&self, wanted: &str) -> Problem {
        let found = self.inner.type_str();
        let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
        Problem::new(&codes::WRONG_TYPE, self.place, format!("`{}` must be {wanted}", self.key))
            .label(format!("this is {article} {found}"))
            .hiding_keys(wanted == TABLE || self.inner.is_table() || self.inner.is_array())
    }

    pub(super) fn is_table(&self) -> bool {
        self.inner.is_table()
    }

    pub(super) fn is_text(&self) -> bool {
        self.inner.is_str()
    }

    pub(super) fn is_empty_list(&self) -> bool {
        self.inner.as_array().is_some_and(|items| items.is_empty())
    }

    pub(super) fn text(&self) -> Option<Text> {
        self.text_as("a string", None)
    }

    /// A string; `with_unit` gives what to write for a bare number.
    fn text_as(&self, wanted: &str, with_unit: Option<&dyn Fn(&str) -> String>) -> Option<Text> {
        let Some(text) = self.inner.as_str() else {
            let problem = match (self.inner, with_unit) {
                (DeValue::Integer(number), Some(with_unit)) => {
                    self.bare_number(wanted, &with_unit(&number.to_string()))
                }
                (DeValue::Float(number), Some(with_unit)) => {
                    self.bare_number(wanted, &with_unit(number.as_str()))
                }
                _ => self.wrong_type(wanted),
            };
            self.context.tell(problem);
            return None;
        };
        match fill(text, self.place, self.context.environment) {
            Ok(filled) => Some(Text {
                filled: filled.is_some(),
                value: filled.unwrap_or_else(|| text.to_owned()),
                shown: presentable(text),
                place: self.place,
            }),
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.context.tell(problem));
                None
            }
        }
    }

    fn bare_number(&self, wanted: &str, example: &str) -> Problem {
        Problem::new(
            &codes::BARE_NUMBER,
            self.place,
            format!("`{}` is {wanted}, and a bare number has no unit", self.key),
        )
        .label("which unit?")
        .help(format!("write it as a string with its unit, such as {example}"))
    }

    pub(super) fn flag(&self) -> Option<bool> {
        self.flag_or_word("true or false")
    }

    /// `true` or `false` where words are possible too; `wanted` names them all.
    pub(super) fn flag_or_word(&self, wanted: &str) -> Option<bool> {
        self.or_tell(self.inner.as_bool(), wanted)
    }

    pub(super) fn integer(&self) -> Option<i64> {
        self.integer_or("a whole number")
    }

    /// A whole number where something else is possible too; `wanted` names both.
    pub(super) fn integer_or(&self, wanted: &str) -> Option<i64> {
        let read = self
            .inner
            .as_integer()
            .and_then(|number| i64::from_str_radix(number.as_str(), number.radix()).ok());
        self.or_tell(read, wanted)
    }

    /// An integer will do where a fraction is asked for.
    pub(super) fn number(&self) -> Option<f64> {
        let float =
            self.inner.as_float().and_then(|number| number.as_str().replace('_', "").parse().ok());
        let whole = || self.inner.as_integer().and_then(|number| number.as_str().parse().ok());
        self.or_tell(float.or_else(whole), "a number")
    }

    pub(super) fn form<T>(&self, form: &Form<T>) -> Option<T> {
        let with_unit = form.unit.map(|unit| {
            move |number: &str| {
                let text = format!("{number}{unit}");
                let accepted = (form.read)(&text).is_some();
                if accepted { format!("\"{text}\"") } else { form.examples.to_owned() }
            }
        });
        let with_unit =
            with_unit.as_ref().map(|with_unit| -> &dyn Fn(&str) -> String { with_unit });
        let text = self.text_as(form.what, with_unit)?;
        let read = (form.read)(&text.value);
        if read.is_none() {
            self.context.tell(
                bad_value(self.key, &text, form.what)
                    .help(format!("for example {}", form.examples)),
            );
        }
        read
    }

    /// One of a few words; `later` are words of features that are not there yet.
    pub(super) fn choice<T: Copy>(&self, words: &[(&str, T)], later: &[&str]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
        let text = self.text_as(&alternatives(&names), None)?;
        let found = words.iter().find(|(name, _)| *name == text.value).map(|(_, value)| *value);
        if found.is_none() && later.contains(&text.value.as_str()) {
            self.context.tell(not_yet(format!("`{} = \"{}\"`", self.key, text.shown), self.place));
        } else if found.is_none() {
            let problem =
                bad_value(self.key, &text, &alternatives(&names)).label("not one of these");
            self.context.tell(match nearest(&text.value, names) {
                Some(near) => problem.help(format!("did you mean \"{near}\"?")),
                None => problem,
            });
        }
        found
    }

    /// The items of a list, or the one value that stands in its place.
    pub(super) fn as_list(&self, wanted: &str) -> Option<Vec<Value<'a>>> {
        match self.inner {
            DeValue::String(_) => Some(vec![*self]),
            DeValue::Array(_) => self.as_array(wanted),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Table(_) => self.or_tell(None, wanted),
        }
    }

    pub(super) fn as_array(&self, wanted: &str) -> Option<Vec<Value<'a>>> {
        let item = |inner| Value::new(self.context, self.key, inner, self.place.file);
        self.or_tell(self.inner.as_array().map(|items| items.iter().map(item).collect()), wanted)
    }

    pub(super) fn places(&self) -> Vec<Place> {
        let at =
            |span: std::ops::Range<usize>| Place { start: span.start, end: span.end, ..self.place };
        self.inner.as_array().map_or_else(
            || vec![self.place],
            |items| items.iter().map(|item| at(item.span())).collect(),
        )
    }

    pub(super) fn as_table(&self) -> Option<&'a DeTable<'a>> {
        self.or_tell(self.inner.as_table(), TABLE)
    }

    pub(super) fn section(&self, keys: &'static Keys) -> Option<Section<'a>> {
        Some(Section::open(self.context, self.as_table()?, self.place, keys))
    }

    fn or_tell<T>(&self, read: Option<T>, wanted: &str) -> Option<T> {
        if read.is_none() {
            self.context.tell(self.wrong_type(wanted));
        }
        read
    }
}

/// `"a", "b" or "c"`
fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// As a message can quote it: on one line, and without the secrets of a URL.
fn presentable(text: &str) -> String {
    without_secrets(text).chars().fold(String::new(), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        shown
    })
}

/// A string that does not say what it must.
pub(super) fn bad_value(key: &str, text: &Text, wanted: &str) -> Problem {
    Problem::new(
        &codes::BAD_VALUE,
        text.place,
        format!("`{key}` must be {wanted}, not \"{}\"", text.shown),
    )
    .label(format!("not {wanted}"))
}
