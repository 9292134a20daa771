//! The words of the pages, in every language there is.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::preference::weighted;
use crate::config::PageLanguage;
use crate::password::Rejection;

/// A struct of texts for each page, named as in `strings.toml`.
macro_rules! words {
    ($($page:ident { $($word:ident),* $(,)? })*) => {
        $(
            #[derive(Debug, Default, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(super) struct $page { $(pub(super) $word: String,)* }
        )*
    };
}

words! {
    Common { lang, reference, home }
    Login { title, again, failed, username, password, remember, remember_hint, submit }
    Done { title, lead, plain_http, localhost, not_https, blocked, doubled, again }
    SignedOut { title, lead, again }
    Logout { title, lead, submit }
    Door { title, lead, link }
    Message { wait_second, wait_seconds, wait_minutes, again, other_account }
    Account {
        title, signed_in_as, password, current_password, wrong_password, new_password,
        new_password_hint, change, changed,
        sessions, this_device, unknown_device, on, network, since, last_seen, until, end, end_others,
        end_all,
    }
    Setup { title, username, password, password_hint, rejected, submit }
    Weak { too_short, too_long, characters, username, repeated, listed }
    BadLink { title, lead }
    Said { title, detail }
}

impl Message {
    /// When to try again, in so many seconds. What takes long is told in minutes.
    pub(super) fn wait(&self, seconds: u64) -> String {
        match seconds {
            0..=1 => self.wait_second.clone(),
            2..=120 => self.wait_seconds.replace("{seconds}", &seconds.to_string()),
            _ => self.wait_minutes.replace("{minutes}", &seconds.div_ceil(60).to_string()),
        }
    }
}

/// Every text of one language.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Strings {
    pub(super) common: Common,
    pub(super) login: Login,
    pub(super) done: Done,
    pub(super) signed_out: SignedOut,
    pub(super) logout: Logout,
    pub(super) held: Door,
    pub(super) frame: Door,
    pub(super) recent: Door,
    pub(super) message: Message,
    pub(super) account: Account,
    pub(super) setup: Setup,
    pub(super) weak: Weak,
    pub(super) bad_link: BadLink,
    pub(super) refusals: BTreeMap<String, Said>,
}

impl Strings {
    /// What is wrong with a new password, for its owner.
    pub(super) fn why(&self, reasons: &[Rejection]) -> Vec<String> {
        let text = &self.weak;
        let why = |reason: &Rejection| match reason {
            Rejection::TooShort(least) => text.too_short.replace("{least}", &least.to_string()),
            Rejection::TooLong(most) => text.too_long.replace("{most}", &most.to_string()),
            Rejection::Characters => text.characters.clone(),
            Rejection::Username => text.username.clone(),
            Rejection::Repeated => text.repeated.clone(),
            Rejection::Listed => text.listed.clone(),
        };
        reasons.iter().map(why).collect()
    }
}

/// Every language.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Languages {
    en: Strings,
    de: Strings,
}

impl Languages {
    /// Reads what was compiled in.
    pub(super) fn new() -> Self {
        // That it can be read is held by a test.
        toml::from_str(TEXT).unwrap_or_default()
    }

    /// The language that the operator set, else the one that a browser's `Accept-Language` prefers
    /// among those there are (RFC 4647 section 3.4, by the primary subtag), else English.
    pub(super) fn choose(&self, set: PageLanguage, accepted: &str) -> &Strings {
        match set {
            PageLanguage::English => &self.en,
            PageLanguage::German => &self.de,
            PageLanguage::Auto => {
                let mut best = (0, &self.en);
                for (range, weight) in weighted(accepted) {
                    if let Some(strings) = self.named(range).filter(|_| weight > best.0) {
                        best = (weight, strings);
                    }
                }
                best.1
            }
        }
    }

    fn named(&self, range: &str) -> Option<&Strings> {
        let primary = range.split('-').next().unwrap_or_default();
        let is = |name| primary.eq_ignore_ascii_case(name);
        if is("de") {
            Some(&self.de)
        } else if is("en") || is("*") {
            Some(&self.en)
        } else {
            None
        }
    }
}

const TEXT: &str = include_str!("strings.toml");

#[cfg(test)]
mod tests {
    use toml::{Table, Value};

    use super::super::super::Refusal;
    use super::*;

    /// `section.key` and text of each string of a language.
    fn flat(value: &Value, path: &str, into: &mut BTreeMap<String, String>) {
        if let Some(table) = value.as_table() {
            table.iter().for_each(|(key, value)| flat(value, &format!("{path}.{key}"), into));
        } else {
            into.insert(path.to_owned(), value.as_str().expect("a string").to_owned());
        }
    }

    fn language(name: &str) -> BTreeMap<String, String> {
        let mut flattened = BTreeMap::new();
        flat(&TEXT.parse::<Table>().unwrap()[name], "", &mut flattened);
        flattened
    }

    #[test]
    fn every_language_has_every_text_and_the_same_things_to_fill_in() {
        let read: Languages = toml::from_str(TEXT).expect("the strings can be read");
        assert_eq!(read.en.common.lang, "en");
        let (english, german) = (language("en"), language("de"));
        assert_eq!(english.keys().collect::<Vec<_>>(), german.keys().collect::<Vec<_>>());
        let holes = |text: &str| -> Vec<String> {
            text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap().into()).collect()
        };
        for (key, text) in &english {
            assert!(!text.trim().is_empty() && !german[key].trim().is_empty(), "{key} is empty");
            assert_eq!(holes(text), holes(&german[key]), "{key}");
        }
        let same: Vec<_> = english.iter().filter(|(key, text)| german[*key] == **text).collect();
        assert!(same.is_empty(), "not translated: {same:?}");
    }

    #[test]
    fn every_refusal_has_its_words() {
        let languages = Languages::new();
        for refusal in Refusal::ALL {
            for strings in [&languages.en, &languages.de] {
                let lang = &strings.common.lang;
                assert!(strings.refusals.contains_key(refusal.code()), "{lang} {refusal:?}");
            }
        }
    }

    #[test]
    fn a_wait_is_told_in_seconds_or_minutes_and_one_second_is_one() {
        let languages = Languages::new();
        for (seconds, english, german) in [
            (0, "in 1 second.", "in 1 Sekunde "),
            (1, "in 1 second.", "in 1 Sekunde "),
            (2, "in 2 seconds.", "in 2 Sekunden "),
            (120, "in 120 seconds.", "in 120 Sekunden "),
            (121, "in 3 minutes.", "in 3 Minuten "),
            (600, "in 10 minutes.", "in 10 Minuten "),
        ] {
            let (en, de) = (languages.en.message.wait(seconds), languages.de.message.wait(seconds));
            assert!(en.contains(english) && de.contains(german), "{seconds}: {en} {de}");
        }
    }

    #[test]
    fn the_browsers_language_is_taken_if_there_is_such_a_one() {
        let languages = Languages::new();
        for (set, accepted, expected) in [
            (PageLanguage::Auto, "", "en"),
            (PageLanguage::Auto, "de", "de"),
            (PageLanguage::Auto, "DE-at, en;q=0.9", "de"),
            (PageLanguage::Auto, "fr, de;q=0.5, en;q=0.4", "de"),
            (PageLanguage::Auto, "en;q=0.4, de;q=0.5", "de"),
            (PageLanguage::Auto, "en-GB, de", "en"),
            (PageLanguage::Auto, "de;q=0, fr", "en"),
            (PageLanguage::Auto, "fr;q=0.9, *;q=0.1", "en"),
            (PageLanguage::Auto, "den, ;;;, =,", "en"),
            (PageLanguage::English, "de", "en"),
            (PageLanguage::German, "en", "de"),
        ] {
            let chosen = &languages.choose(set, accepted).common.lang;
            assert_eq!(chosen, expected, "{set:?} {accepted:?}");
        }
    }
}
