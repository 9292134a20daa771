//! `auth.page` and `auth.after_logout`: how the gateway's own pages look, and where they lead.

use std::path::Path;

use bytes::Bytes;

use super::codes;
use super::entry::{Entry, table, word};
use super::forms::Form;
use super::keys;
use super::model::{Colour, Logo, LogoKind, Page, PageLanguage};
use super::named_file;
use super::problem::Problem;
use super::section::{Section, unreadable};
use super::value::{Text, bad_value};
use crate::request::LocalPath;

/// The words of `language`.
const LANGUAGES: [(&str, PageLanguage); 3] =
    [("auto", PageLanguage::Auto), ("en", PageLanguage::English), ("de", PageLanguage::German)];

pub(super) fn read(section: &Section<'_>) -> Page {
    let page = section.section("page", &keys::PAGE);
    Page {
        title: page.text("title").and_then(|text| title(&page, text)),
        logo: page.text("logo").and_then(|file| logo(&page, &file)),
        accent: page.form("accent", &COLOUR).unwrap_or(Colour([0x2b, 0x6c, 0xb0])),
        language: page.choice("language", PageLanguage::Auto, &LANGUAGES),
    }
}

/// As the configuration writes it.
pub(super) fn shown(page: &Page) -> Entry {
    let Colour([red, green, blue]) = page.accent;
    table([
        ("title", page.title.clone().into()),
        ("logo", page.logo.as_ref().map(|logo| logo.file.display().to_string()).into()),
        ("accent", format!("#{red:02x}{green:02x}{blue:02x}").into()),
        ("language", word(&LANGUAGES, &page.language)),
    ])
}

/// A path of this origin: a page's form must not lead elsewhere.
pub(super) fn after_logout(section: &Section<'_>) -> LocalPath {
    let Some(text) = section.text("after_logout") else {
        return LocalPath::default();
    };
    LocalPath::read(&text.value).unwrap_or_else(|| {
        let help = "for example \"/\" or \"/goodbye\": it begins with one slash and names no host";
        section.tell(bad_value("after_logout", &text, "a path of this origin").help(help));
        LocalPath::default()
    })
}

fn title(page: &Section<'_>, text: Text) -> Option<String> {
    let fits = (1..=64).contains(&text.value.chars().count());
    if fits && !text.value.chars().any(char::is_control) {
        return Some(text.value);
    }
    page.tell(bad_value("title", &text, "a title").help("1 to 64 characters on one line"));
    None
}

fn logo(page: &Section<'_>, file: &Text) -> Option<Logo> {
    let path = page.context.folder.join(&file.value);
    let bytes = match named_file::bytes(&path, MOST_BYTES) {
        Ok(bytes) => Bytes::from(bytes),
        Err(cause) => {
            page.tell(unreadable(&path, &cause, file.place));
            return None;
        }
    };
    let kind = kind(&path, &bytes);
    if kind.is_none() {
        let problem = Problem::new(&codes::BAD_VALUE, file.place, "this file is no logo")
            .label("not an image that can be shown")
            .help("a logo is an SVG (`.svg`) or PNG (`.png`) file of at most 256 KiB");
        page.tell(problem);
    }
    Some(Logo { file: path, kind: kind?, bytes })
}

/// By its name and its content, which must agree: a browser is told the one and reads the other.
fn kind(path: &Path, bytes: &[u8]) -> Option<LogoKind> {
    let extension = path.extension()?.to_str()?;
    let is_svg = || std::str::from_utf8(bytes).is_ok_and(|text| text.contains("<svg"));
    if extension.eq_ignore_ascii_case("png") && bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(LogoKind::Png)
    } else if extension.eq_ignore_ascii_case("svg") && is_svg() {
        Some(LogoKind::Svg)
    } else {
        None
    }
}

const COLOUR: Form<Colour> =
    Form { what: "a colour", examples: r##""#2b6cb0", "#085""##, unit: None, read: colour };

/// `#rrggbb` or `#rgb`, and nothing else that a style sheet would take.
fn colour(text: &str) -> Option<Colour> {
    let digits = text.strip_prefix('#')?.chars().map(|digit| digit.to_digit(16));
    let digits = digits.map(|digit| u8::try_from(digit?).ok()).collect::<Option<Vec<u8>>>()?;
    match *digits.as_slice() {
        [r, g, b] => Some(Colour([r * 17, g * 17, b * 17])),
        [r, red, g, green, b, blue] => Some(Colour([r * 16 + red, g * 16 + green, b * 16 + blue])),
        _ => None,
    }
}

const MOST_BYTES: u64 = 256 << 10;
