//! `[tokens]`, `[sessions]` and `[cookies]`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::codes;
use super::forms::duration_text;
use super::keys;
use super::model::{Cookies, Insecure, SameSite, Sessions, Tokens};
use super::problem::{Place, Problem};
use super::section::{Between, Section};
use crate::secret::Secret;
use crate::session::Windows;
use crate::token::Algorithm;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

const ACCESS_TTL: Between = Between {
    least: MINUTE,
    most: HOUR,
    why: "a shorter life makes every page renew, a longer one lets a stolen token act for long",
};
const LEEWAY: Between = Between {
    least: Duration::ZERO,
    most: Duration::from_secs(5),
    why: "it is for clocks that differ a little, not for longer lives",
};
const ROTATION: Between = Between {
    least: DAY,
    most: Duration::from_secs(3_650 * 86_400),
    why: "a key is published a quarter of an hour before it signs, and verifies for an hour after",
};
const LIFE: Between = Between { least: MINUTE, most: Duration::from_secs(3_650 * 86_400), why: "" };
const WINDOW: Between = Between { least: SECOND, most: HOUR, why: "" };

/// How the file calls the algorithms.
pub(super) const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("EdDSA", Algorithm::EdDsa),
    ("ES256", Algorithm::Es256),
    ("RS256", Algorithm::Rs256),
    ("HS256", Algorithm::Hs256),
];

pub(super) fn read(section: Section<'_>, data_dir: &Path) -> Tokens {
    let algorithm = section.choice("algorithm", Algorithm::EdDsa, &ALGORITHMS);
    Tokens {
        algorithm,
        secrets: secrets(&section, algorithm),
        key_dir: data_dir
            .join(section.text("key_dir").map_or_else(|| "keys".to_owned(), |text| text.value)),
        issuer: word(&section, "issuer"),
        audience: word(&section, "audience").unwrap_or_else(|| "portcullis".to_owned()),
        access_ttl: section.duration("access_ttl", 15 * MINUTE, &ACCESS_TTL),
        access_jitter: jitter(&section),
        leeway: section.duration("leeway", 5 * SECOND, &LEEWAY),
        sub_is_username: section.choice("sub", false, &[("id", false), ("username", true)]),
        rotate_every: section.duration("rotate_every", 90 * DAY, &ROTATION),
    }
}

/// A string that cannot be empty.
pub(super) fn word<'a>(section: &Section<'a>, key: &'a str) -> Option<String> {
    let text = section.text(key)?;
    if text.value.is_empty() {
        let problem =
            Problem::new(&codes::BAD_VALUE, text.place, format!("`{key}` cannot be empty"));
        section.tell(problem.label("says nothing").help("leave it out for its default"));
        return None;
    }
    Some(text.value)
}

fn jitter(section: &Section<'_>) -> f64 {
    let Some(value) = section.value("access_jitter") else {
        return 0.2;
    };
    let Some(jitter) = value.number() else {
        return 0.2;
    };
    if (0.0..=0.5).contains(&jitter) {
        return jitter;
    }
    let problem =
        Problem::new(&codes::OUT_OF_BOUNDS, value.place, "`access_jitter` is out of bounds")
            .label("must be from 0 to 0.5")
            .because("it is the share of access_ttl by which each token lives less, at random");
    section.tell(problem);
    0.2
}

fn secrets(section: &Section<'_>, algorithm: Algorithm) -> Vec<Secret> {
    let written = section.has("secret") || section.has("secret_file");
    let secrets = section.secrets("secret", "secret_file");
    if algorithm != Algorithm::Hs256 {
        if written {
            let key = if section.has("secret") { "secret" } else { "secret_file" };
            section.tell(idle_secret(key, section.place_of(key)));
        }
        return Vec::new();
    }
    if !written || section.value("secret").is_some_and(|value| value.is_empty_list()) {
        section.tell(no_secret(section.place_of("algorithm")));
    }
    for (secret, place) in &secrets {
        if let Some(problem) = weakness(secret, *place) {
            section.tell(problem);
        }
    }
    for (at, (secret, place)) in secrets.iter().enumerate() {
        if secrets.iter().take(at).any(|(known, _)| known.expose() == secret.expose()) {
            let problem = Problem::new(&codes::DUPLICATE, *place, "a secret is given twice");
            section.tell(problem.label("again").help("take one out: a list is for old and new"));
        }
    }
    secrets.into_iter().map(|(secret, _)| secret).collect()
}

fn idle_secret(key: &str, place: Place) -> Problem {
    Problem::new(
        &codes::IDLE_SECRET,
        place,
        format!("`{key}` is given, but the algorithm has no use for it"),
    )
    .label("used by HS256 alone")
    .because("EdDSA, ES256 and RS256 sign with keys that the gateway makes itself, in key_dir")
    .help(format!("take `{key}` out, or write `algorithm = \"HS256\"`"))
}

fn no_secret(place: Place) -> Problem {
    Problem::new(&codes::NO_SECRET, place, "HS256 needs a secret, and none is given")
        .label("asks for a secret")
        .help("add `secret = \"${JWT_SECRET}\"` or `secret_file = \"...\"`; `openssl rand -base64 48` makes a good one")
}

/// Texts that stand in examples and are published therefore.
const PLACEHOLDERS: [&str; 10] = [
    "changeme",
    "change_me",
    "change-me",
    "change me",
    "placeholder",
    "yoursecret",
    "your_secret",
    "your-secret",
    "super_secret",
    "supersecret",
];
/// The key of a widely copied tutorial.
const TUTORIAL_KEY: &str = "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7";

fn weakness(secret: &Secret, place: Place) -> Option<Problem> {
    let bytes = secret.expose();
    let lower = String::from_utf8_lossy(bytes).to_lowercase();
    let label = if PLACEHOLDERS.iter().any(|word| lower.contains(word))
        || lower == "secret"
        || lower == TUTORIAL_KEY
    {
        "a placeholder that everybody knows"
    } else if bytes.len() < 32 {
        "shorter than 32 bytes"
    } else if bytes.iter().collect::<BTreeSet<_>>().len() == 1 {
        "one character, repeated"
    } else {
        return None;
    };
    Some(
        Problem::new(&codes::WEAK_SECRET, place, "this secret can be guessed")
            .label(label)
            .because(
                "whoever guesses it can make a token for any user, and HS256 lets them try at home",
            )
            .help("use at least 32 random bytes: `openssl rand -base64 48`"),
    )
}

/// `ttl` is where `tokens.access_ttl` is written.
pub(super) fn read_sessions(
    section: Section<'_>,
    tokens: &Tokens,
    ttl: Place,
    data_dir: &Path,
) -> Sessions {
    let life = |key, default| section.duration(key, default, &LIFE);
    let sessions = Sessions {
        remember_default: section.flag("remember_default", true),
        remember_idle: life("remember_idle", 14 * DAY),
        remember_absolute: life("remember_absolute", 30 * DAY),
        idle: life("idle", 12 * HOUR),
        absolute: life("absolute", DAY),
        windows: windows(&section, tokens, ttl),
        max_per_user: section.count("max_per_user", 20, 1..=10_000),
        reauth_max_age: life("reauth_max_age", 15 * MINUTE),
        master_keys: master_keys(&section, data_dir),
    };
    check_order(&section, ("idle", sessions.idle), ("absolute", sessions.absolute));
    let remember = ("remember_idle", sessions.remember_idle);
    check_order(&section, remember, ("remember_absolute", sessions.remember_absolute));
    let least = tokens.access_ttl.saturating_add(sessions.windows.cookie).saturating_add(MINUTE);
    for idle in [("idle", sessions.idle), remember] {
        check_idle(&section, idle, least);
    }
    sessions
}

fn check_order<'a>(
    section: &Section<'a>,
    idle: (&'a str, Duration),
    absolute: (&'a str, Duration),
) {
    if idle.1 <= absolute.1 {
        return;
    }
    let written = if section.has(idle.0) { idle.0 } else { absolute.0 };
    let problem = Problem::new(
        &codes::LIFETIMES,
        section.place_of(written),
        format!("`{}` ({}) is longer than `{}` ({})", idle.0, duration_text(idle.1), absolute.0, duration_text(absolute.1)),
    )
    .label("never reached")
    .because("a session ends at its absolute end whatever happens, so the idle end beyond it says nothing")
    .help(format!("make `{}` the shorter of the two", idle.0));
    section.tell(problem);
}

/// A session is known to be in use when its tokens are renewed: an access token after the last one, and
/// that may be given until the end of the window. A minute is for whoever reads a page.
fn check_idle<'a>(section: &Section<'a>, (key, idle): (&'a str, Duration), least: Duration) {
    if idle >= least {
        return;
    }
    // The defaults are longer than any.
    let problem = Problem::new(
        &codes::SHORT_IDLE,
        section.place_of(key),
        format!("`{key}` ({}) signs out people who are active", duration_text(idle)),
    )
    .label(format!("at least {} here", duration_text(least)))
    .because("a session moves its idle end when an access token is renewed: at most `access_ttl` and `retry_window.cookie` after the last time, and a minute is for reading a page")
    .help(format!("lengthen `sessions.{key}`, or shorten `tokens.access_ttl`"));
    section.tell(problem);
}

fn windows(section: &Section<'_>, tokens: &Tokens, ttl: Place) -> Windows {
    let table = section.section("retry_window", &keys::RETRY_WINDOW);
    let cookie = table.duration("cookie", 30 * SECOND, &WINDOW);
    let keyed = table.duration("keyed", 120 * SECOND, &WINDOW);
    let most = tokens.access_ttl / 4;
    if cookie > most {
        let place = if section.has("retry_window") { table.place_of("cookie") } else { ttl };
        let cookie = duration_text(cookie);
        let problem = Problem::new(&codes::RETRY_WINDOW, place, format!("`retry_window.cookie` ({cookie}) is above a quarter of `access_ttl`"))
            .label(format!("at most {} here", duration_text(most)))
            .because("within this window an old token is answered again; it must be small beside the time between two refreshes, or a stolen token is noticed late")
            .help("shorten `sessions.retry_window.cookie`, or lengthen `tokens.access_ttl`");
        section.tell(problem);
    }
    Windows { cookie, keyed }
}

fn master_keys(section: &Section<'_>, data_dir: &Path) -> Vec<(u8, PathBuf)> {
    if !section.has("master_keys") {
        return vec![(1, data_dir.join("master"))];
    }
    let mut keys: Vec<(u8, PathBuf)> = Vec::new();
    for entry in section.sections("master_keys", &keys::MASTER_KEY) {
        if !entry.has("id") {
            entry.needed("id", "the store notes which key made what");
        }
        let id = u8::try_from(entry.count("id", 1, 1..=255)).unwrap_or(1);
        let Some(file) = entry.needed("file", "the key lies in a file of its own") else {
            continue;
        };
        if keys.iter().any(|(known, _)| *known == id) {
            let problem = Problem::new(
                &codes::DUPLICATE,
                entry.place_of("id"),
                format!("two master keys have the id {id}"),
            );
            section.tell(problem.label("again").help("give each key an id of its own, for ever"));
        }
        let path = data_dir.join(file.value);
        if keys.iter().any(|(_, known)| *known == path) {
            let message = "two master keys are of one file";
            let problem = Problem::new(&codes::DUPLICATE, file.place, message);
            section.tell(problem.label("again").help("give each key a file of its own"));
        }
        keys.push((id, path));
    }
    if keys.is_empty() {
        let problem = Problem::new(
            &codes::MISSING,
            section.place_of("master_keys"),
            "`master_keys` names no key",
        )
        .label("none here")
        .help("leave the key out for `[{ id = 1, file = \"master\" }]`");
        section.tell(problem);
    }
    keys
}

/// The words of `cookies.same_site`.
pub(super) const SAME_SITE: [(&str, SameSite); 2] =
    [("lax", SameSite::Lax), ("strict", SameSite::Strict)];

pub(super) fn read_cookies(section: Section<'_>) -> Cookies {
    let same_site =
        section.value("same_site").and_then(|value| value.choice(&SAME_SITE, &["none"]));
    Cookies {
        same_site: same_site.unwrap_or(SameSite::Lax),
        insecure: insecure(&section),
        access_token_in_body: section.flag("access_token_in_body", false),
        allow_browser_body: section.flag("allow_browser_body", false),
    }
}

fn insecure(section: &Section<'_>) -> Insecure {
    let Some(value) = section.value("insecure") else {
        return Insecure::No;
    };
    if value.is_text() {
        return value
            .choice(&[("trusted-network", Insecure::TrustedNetwork)], &[])
            .unwrap_or(Insecure::No);
    }
    match value.flag_or_word("false, true or \"trusted-network\"") {
        Some(true) => Insecure::Loopback,
        _ => Insecure::No,
    }
}
