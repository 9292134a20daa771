//! Values as the configuration writes them, for `show`.

use std::time::Duration;

use toml::Value;

use super::forms::{duration_text, size_text};
use super::model::Rate;

/// What stands in the place of a secret.
pub(super) const MASK: &str = "********";

/// A value to be written; none: the key is left out.
pub(super) struct Entry(pub(super) Option<Value>);

impl From<&str> for Entry {
    fn from(text: &str) -> Self {
        Self(Some(text.into()))
    }
}

impl From<String> for Entry {
    fn from(text: String) -> Self {
        Self(Some(text.into()))
    }
}

impl From<Option<String>> for Entry {
    fn from(text: Option<String>) -> Self {
        Self(text.map(Value::String))
    }
}

impl From<bool> for Entry {
    fn from(flag: bool) -> Self {
        Self(Some(flag.into()))
    }
}

impl From<usize> for Entry {
    fn from(number: usize) -> Self {
        Self(i64::try_from(number).ok().map(Value::Integer))
    }
}

impl From<Duration> for Entry {
    fn from(duration: Duration) -> Self {
        duration_text(duration).into()
    }
}

pub(super) fn table<const N: usize>(entries: [(&str, Entry); N]) -> Entry {
    let entries = entries.into_iter().filter_map(|(key, entry)| Some((key.to_owned(), entry.0?)));
    Entry(Some(Value::Table(entries.collect())))
}

pub(super) fn list(items: impl Iterator<Item = impl ToString>) -> Entry {
    Entry(Some(Value::Array(items.map(|item| Value::String(item.to_string())).collect())))
}

pub(super) fn some_list(items: impl Iterator<Item = impl ToString>) -> Entry {
    let Entry(Some(Value::Array(items))) = list(items) else {
        return Entry(None);
    };
    Entry((!items.is_empty()).then_some(Value::Array(items)))
}

pub(super) fn chosen(words: &[(bool, &str)]) -> Entry {
    list(words.iter().filter(|(chosen, _)| *chosen).map(|(_, word)| word))
}

pub(super) fn size(bytes: usize) -> Entry {
    size_text(u64::try_from(bytes).unwrap_or(u64::MAX)).into()
}

pub(super) fn rate(rate: Rate) -> Entry {
    table([("burst", Entry(Some(rate.burst.into()))), ("every", rate.every.into())])
}

/// How the file writes one of a few choices.
pub(super) fn word<T: PartialEq>(words: &[(&str, T)], chosen: &T) -> Entry {
    words.iter().find(|(_, value)| value == chosen).map(|(word, _)| (*word).to_owned()).into()
}

/// A name as a key of TOML, in quotes where it needs them.
pub(super) fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if bare { name.to_owned() } else { Value::String(name.to_owned()).to_string() }
}
