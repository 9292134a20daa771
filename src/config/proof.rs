//! `proof` of an identity: a secret by which an application knows that the gateway speaks.

use http::{HeaderName, HeaderValue};

use super::codes;
use super::entry::{Entry, MASK, table};
use super::identities::header;
use super::keys;
use super::problem::{Place, Problem};
use super::section::Section;
use crate::secret::Secret;

/// The header and its value, which no message and no `Debug` shows.
pub(super) fn read(identity: &Section<'_>) -> Option<(HeaderName, HeaderValue)> {
    if !identity.has("proof") {
        return None;
    }
    let section = identity.section("proof", &keys::PROOF);
    let name = section.needed("header", "the proof goes into a header");
    let name = name.and_then(|text| header(&section, "header", &text));
    if !section.has("value") && !section.has("value_file") {
        section.needed("value", "the application compares it with what it was told");
    }
    let value = section.secret("value", "value_file");
    let value = value.and_then(|(secret, place)| value_of(&section, &secret, place));
    Some((name?, value?))
}

fn value_of(section: &Section<'_>, secret: &Secret, place: Place) -> Option<HeaderValue> {
    let plain = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    let bytes = secret.expose();
    let sound = bytes.iter().all(plain) && bytes.trim_ascii().len() == bytes.len();
    let value = HeaderValue::from_bytes(bytes).ok().filter(|_| sound && !bytes.is_empty());
    let Some(mut value) = value else {
        let problem = Problem::new(&codes::BAD_VALUE, place, "a proof cannot have this value")
            .label("empty, or not one line of printable ASCII")
            .because("it is compared byte for byte with what the application was told")
            .help("make one by `openssl rand -hex 32`");
        section.tell(problem);
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

/// As the file writes it, but for the secret.
pub(super) fn shown(proof: Option<&(HeaderName, HeaderValue)>) -> Entry {
    proof.map_or(Entry(None), |(name, _)| {
        table([("header", name.as_str().into()), ("value", MASK.into())])
    })
}
