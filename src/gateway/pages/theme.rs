//! What pages look like: the style sheet with the operator's colour, and the headers that pin it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::config::Colour;

/// Who may show a page within a page of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Embedding {
    /// Nobody: what is on it can be clicked.
    Never,
    /// Pages of the same origin.
    SameOrigin,
}

/// Title, logo and colours.
#[derive(Debug)]
pub(in super::super) struct Theme {
    title: String,
    logo: bool,
    style: String,
    alone: HeaderValue,
    framed: HeaderValue,
}

impl Theme {
    pub(super) fn new(title: String, logo: bool, accent: Colour) -> Self {
        let style = STYLE
            .replace("ON_ACCENT", &hex(ink(accent)))
            .replace("ACCENT", &hex(accent))
            .replace("LINK_LIGHT", &hex(readable(accent, WHITE, BLACK)))
            .replace("LINK_DARK", &hex(readable(accent, DARK_CARD, WHITE)));
        let hash = STANDARD.encode(Sha256::digest(&style));
        let images = if logo { "; img-src 'self'" } else { "" };
        let policy = |ancestors| {
            let text = format!(
                "default-src 'none'; style-src 'sha256-{hash}'{images}; form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
            );
            // Base64 and the text above are visible ASCII.
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("default-src 'none'"))
        };
        Self { title, logo, alone: policy("'none'"), framed: policy("'self'"), style }
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    pub(super) fn has_logo(&self) -> bool {
        self.logo
    }

    /// The text of the one `<style>`: ours, and colours; nothing that a request could reach.
    pub(super) fn style(&self) -> &str {
        &self.style
    }

    /// `Content-Security-Policy`: this style sheet, our own forms, and nothing else.
    pub(super) fn policy(&self, embedding: Embedding) -> &HeaderValue {
        match embedding {
            Embedding::Never => &self.alone,
            Embedding::SameOrigin => &self.framed,
        }
    }
}

fn hex(Colour([red, green, blue]): Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Black or white, whichever reads better on a colour; either reaches 4.5 where the other does not.
fn ink(back: Colour) -> Colour {
    if contrast(back, WHITE) >= contrast(back, BLACK) { WHITE } else { BLACK }
}

/// The colour, mixed with as much of another as it needs to be read on that ground (WCAG 2.2,
/// success criterion 1.4.3).
fn readable(colour: Colour, ground: Colour, with: Colour) -> Colour {
    let mixed = (0..=MOST_PARTS).map(|parts| mix(colour, with, parts));
    mixed.into_iter().find(|mixed| contrast(*mixed, ground) >= ENOUGH).unwrap_or(with)
}

/// `parts` of [`MOST_PARTS`] of the second colour.
fn mix(Colour(one): Colour, Colour(two): Colour, parts: u16) -> Colour {
    let channel = |(one, two): (u8, u8)| {
        let sum = u16::from(one) * (MOST_PARTS - parts) + u16::from(two) * parts;
        u8::try_from(sum / MOST_PARTS).unwrap_or(u8::MAX)
    };
    let [red, green, blue] = one;
    let [red_two, green_two, blue_two] = two;
    Colour([(red, red_two), (green, green_two), (blue, blue_two)].map(channel))
}

/// From 1 to 21 (WCAG 2.2, "contrast ratio").
fn contrast(one: Colour, two: Colour) -> f64 {
    let (one, two) = (luminance(one) + 0.05, luminance(two) + 0.05);
    one.max(two) / one.min(two)
}

fn luminance(Colour(channels): Colour) -> f64 {
    let linear = channels.map(|channel| {
        let share = f64::from(channel) / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    });
    let [red, green, blue] = linear;
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

const STYLE: &str = include_str!("style.css");
const WHITE: Colour = Colour([255; 3]);
const BLACK: Colour = Colour([0; 3]);
/// `--card` in the dark.
const DARK_CARD: Colour = Colour([0x1d, 0x20, 0x25]);
const ENOUGH: f64 = 4.5;
const MOST_PARTS: u16 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_that_of_the_standard() {
        assert!((contrast(WHITE, BLACK) - 21.0).abs() < 0.01);
        assert!((contrast(Colour([0x76; 3]), WHITE) - 4.54).abs() < 0.01);
    }

    #[test]
    fn whatever_the_accent_everything_can_be_read() {
        let steps = || (0..=255_u8).step_by(51);
        for red in steps() {
            for (green, blue) in steps().flat_map(|green| steps().map(move |blue| (green, blue))) {
                let accent = Colour([red, green, blue]);
                let pairs = [
                    (ink(accent), accent),
                    (readable(accent, WHITE, BLACK), WHITE),
                    (readable(accent, DARK_CARD, WHITE), DARK_CARD),
                ];
                for (ink, ground) in pairs {
                    let got = contrast(ink, ground);
                    assert!(got >= ENOUGH, "{accent:?}: {ink:?} on {ground:?} is {got}");
                }
            }
        }
    }

    #[test]
    fn a_readable_accent_stays_as_it_is() {
        let blue = Colour([0x2b, 0x6c, 0xb0]);
        assert_eq!(readable(blue, WHITE, BLACK), blue);
    }

    /// `--name:#rrggbb` of the light (first) and the dark (second) sheet.
    fn colour(name: &str, scheme: usize) -> Colour {
        let sheets: Vec<&str> = STYLE.lines().take(2).collect();
        let (_, rest) = sheets[scheme].split_once(&format!("--{name}:#")).unwrap();
        let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        let digits = if digits.len() == 3 {
            digits.chars().flat_map(|digit| [digit, digit]).collect()
        } else {
            digits
        };
        let [_, red, green, blue] = u32::from_str_radix(&digits, 16).unwrap().to_be_bytes();
        Colour([red, green, blue])
    }

    #[test]
    fn the_style_sheet_keeps_its_own_contrasts() {
        for scheme in [0, 1] {
            for (ink, ground, least) in [
                ("text", "card", 7.0),
                ("muted", "card", ENOUGH),
                ("fault", "fault-back", ENOUGH),
                // The edge of a field (WCAG 2.2, success criterion 1.4.11).
                ("field", "card", 3.0),
            ] {
                let got = contrast(colour(ink, scheme), colour(ground, scheme));
                assert!(got >= least, "{ink} on {ground} in {scheme}: {got}");
            }
        }
        assert_eq!(colour("card", 1), DARK_CARD);
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        let theme = Theme::new(String::new(), false, WHITE);
        for word in ["ACCENT", "LINK"] {
            assert!(!theme.style().contains(word), "{}", theme.style());
        }
    }
}
