//! The cookies of applications, as far as the gateway must tell them apart.
//!
//! As lenient as taking out our own: what some parser could take for a cookie's name is one.

use std::borrow::Cow;

use http::header::{COOKIE, HeaderMap, HeaderValue};

use super::cookies::{names_in, pairs, without};

/// Every name that some parser could find in the `Cookie` lines.
pub fn cookie_names(headers: &HeaderMap) -> impl Iterator<Item = Cow<'_, [u8]>> {
    headers.get_all(COOKIE).iter().flat_map(pairs).flat_map(names_in)
}

/// Removes from the `Cookie` lines every cookie that some parser could know by such a name. All
/// others stay byte for byte, in order.
pub fn remove_cookies(headers: &mut HeaderMap, is_doomed: impl Fn(&[u8]) -> bool) {
    let doomed =
        |line: &HeaderValue| pairs(line).any(|pair| names_in(pair).any(|name| is_doomed(&name)));
    if !headers.get_all(COOKIE).iter().any(doomed) {
        return;
    }
    let lines: Vec<_> =
        headers.get_all(COOKIE).iter().filter_map(|line| without(line, &is_doomed)).collect();
    headers.remove(COOKIE);
    for line in lines {
        headers.append(COOKIE, line);
    }
}
