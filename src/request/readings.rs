//! Every way another server might read a path.
//!
//! The readings of a path are its closure under what servers do to paths: decode once more, take
//! `\` for `/`, cut path parameters, cut at a decoded `?` or `#`, merge slashes, drop dots and
//! blanks at the end of a segment, take the segment after `//` for a host. They are raw bytes,
//! since what a path decodes to need not be UTF-8.

use super::target::BadTarget;

/// The most readings a path may have.
const MOST_READINGS: usize = 64;

/// How often a chain of servers may decode one path.
const MOST_DECODINGS: usize = 3;

/// Makes another reading of one; None where it would be the same.
type Step = fn(&[u8]) -> Option<Vec<u8>>;

/// Steps that do not decode.
const STEPS: [Step; 6] =
    [backslashes_as_slashes, cut_parameters, cut_query, merge_slashes, trim_segments, drop_host];

/// Every reading of a path, itself first, each once; none of them is judged here.
pub fn readings(path: &[u8]) -> Result<Vec<Vec<u8>>, BadTarget> {
    let mut found = vec![path.to_vec()];
    let mut level = 0;
    // Level by level, so that each reading is met with the fewest decodings that lead to it.
    for round in 0..=MOST_DECODINGS {
        let mut at = level;
        while let Some(reading) = found.get(at) {
            let further: Vec<_> = STEPS.iter().filter_map(|step| step(reading)).collect();
            add(&mut found, further)?;
            at += 1;
        }
        if round < MOST_DECODINGS {
            let further: Vec<_> = found.iter().skip(level).filter_map(|r| decode(r)).collect();
            level = found.len();
            add(&mut found, further)?;
        }
    }
    Ok(found)
}

/// A reading as it is looked up: letter case folded, without its final slash.
pub fn fold_path(mut reading: Vec<u8>) -> Box<[u8]> {
    if reading.is_ascii() {
        reading.make_ascii_lowercase();
    } else {
        reading = fold_letters(&reading);
    }
    if reading.len() > 1 && reading.ends_with(b"/") {
        reading.pop();
    }
    reading.into()
}

/// Letters beyond ASCII have cases too, and some are ASCII letters in another case: U+212A is a `k`,
/// U+017F an `s`, U+0130 and U+0131 are each an `i` to somebody.
fn fold_letters(reading: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(reading.len());
    for chunk in reading.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let letter = if letter == '\u{130}' { 'i' } else { letter };
            let cases = letter.to_uppercase().flat_map(char::to_lowercase);
            cases.for_each(|c| folded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()));
        }
        folded.extend_from_slice(chunk.invalid());
    }
    folded
}

/// Refuses what no rule can make harmless: dot segments, controls, overlong forms of ASCII.
pub(super) fn check(reading: &[u8]) -> Result<(), BadTarget> {
    if reading.split(|byte| *byte == b'/').any(is_dots) {
        return Err(BadTarget::DotSegment);
    }
    if reading.iter().any(u8::is_ascii_control) || has_c1_control(reading) {
        return Err(BadTarget::Control);
    }
    if has_overlong_ascii(reading) { Err(BadTarget::Overlong) } else { Ok(()) }
}

fn add(found: &mut Vec<Vec<u8>>, further: Vec<Vec<u8>>) -> Result<(), BadTarget> {
    for reading in further {
        if !found.contains(&reading) {
            found.push(reading);
        }
    }
    if found.len() > MOST_READINGS { Err(BadTarget::TooManyReadings) } else { Ok(()) }
}

/// Decodes what is valid and leaves the rest, as lenient decoders do.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        match (*byte == b'%').then(|| hex_pair(after)).flatten() {
            Some((value, after)) => {
                decoded.push(value);
                rest = after;
            }
            None => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    (decoded.len() < path.len()).then_some(decoded)
}

/// The byte that two hex digits stand for, and what comes after them.
pub(super) fn hex_pair(text: &[u8]) -> Option<(u8, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    match text {
        [high, low, rest @ ..] => Some(((digit(*high)? << 4) | digit(*low)?, rest)),
        _ => None,
    }
}

fn backslashes_as_slashes(path: &[u8]) -> Option<Vec<u8>> {
    path.contains(&b'\\')
        .then(|| path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect())
}

fn cut_parameters(path: &[u8]) -> Option<Vec<u8>> {
    path.contains(&b';').then(|| {
        shorten_segments(path, |segment| {
            let mut parts = segment.split(|byte| *byte == b';');
            parts.next().unwrap_or_default()
        })
    })
}

fn cut_query(path: &[u8]) -> Option<Vec<u8>> {
    let at = path.iter().position(|byte| matches!(byte, b'?' | b'#'))?;
    path.get(..at).map(<[u8]>::to_vec)
}

fn merge_slashes(path: &[u8]) -> Option<Vec<u8>> {
    path.windows(2).any(|pair| pair == b"//").then(|| {
        let mut merged = path.to_vec();
        merged.dedup_by(|a, b| *a == b'/' && *b == b'/');
        merged
    })
}

fn trim_segments(path: &[u8]) -> Option<Vec<u8>> {
    let is_blunt = |segment: &[u8]| matches!(segment.last(), Some(b'.' | b' '));
    let mut segments = path.split(|byte| *byte == b'/');
    segments.any(is_blunt).then(|| {
        shorten_segments(path, |mut segment| {
            while let Some((b'.' | b' ', rest)) = segment.split_last() {
                segment = rest;
            }
            segment
        })
    })
}

fn drop_host(path: &[u8]) -> Option<Vec<u8>> {
    let after = path.strip_prefix(b"//")?;
    let host = after.iter().position(|byte| *byte != b'/').unwrap_or(after.len());
    let end = after.iter().skip(host).position(|byte| *byte == b'/').map(|length| host + length);
    Some(end.and_then(|end| after.get(end..)).unwrap_or(b"/").to_vec())
}

fn shorten_segments(path: &[u8], shorten: impl Fn(&[u8]) -> &[u8]) -> Vec<u8> {
    let segments: Vec<_> = path.split(|byte| *byte == b'/').map(shorten).collect();
    segments.join(&b'/')
}

fn is_dots(segment: &[u8]) -> bool {
    segment.contains(&b'.') && segment.iter().all(|byte| matches!(byte, b'.' | b' '))
}

/// U+0080 to U+009F in UTF-8.
fn has_c1_control(reading: &[u8]) -> bool {
    reading.windows(2).any(|pair| matches!(pair, [0xC2, 0x80..=0x9F]))
}

/// Two to six bytes for what is one byte in UTF-8 (RFC 3629 section 10).
fn has_overlong_ascii(reading: &[u8]) -> bool {
    let mut rest = reading;
    while let Some((_, after)) = rest.split_first() {
        if matches!(
            rest,
            [0xC0 | 0xC1, 0x80..=0xBF, ..]
                | [0xE0, 0x80 | 0x81, 0x80..=0xBF, ..]
                | [0xF0, 0x80, 0x80 | 0x81, 0x80..=0xBF, ..]
                | [0xF8, 0x80, 0x80, 0x80 | 0x81, 0x80..=0xBF, ..]
                | [0xFC, 0x80, 0x80, 0x80, 0x80 | 0x81, 0x80..=0xBF, ..]
        ) {
            return true;
        }
        rest = after;
    }
    false
}
