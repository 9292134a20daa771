//! The second target of WebDAV: where COPY and MOVE write to (RFC 4918 section 10.3).

use http::header::{HeaderMap, HeaderName};
use thiserror::Error;

use super::{Origin, Target};

/// `Destination`, read like the target of a request.
#[derive(Clone, Debug)]
pub struct Destination {
    target: Target,
    form: DestinationForm,
}

/// How a client writes a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationForm {
    /// A URL of the request's own origin.
    Absolute,
    /// A path.
    Path,
}

/// Why a destination cannot be permitted, whoever asks.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadDestination {
    /// 400: two lines, of which each server could follow another.
    #[error("two destinations")]
    Doubled,
    /// 502: another server's (RFC 4918 section 9.8.5).
    #[error("the destination is on another server")]
    Foreign,
    /// 403: no URL or path in normal form, or one that leads elsewhere than the request's own.
    #[error("the destination cannot be written to from here")]
    Forbidden,
}

impl Destination {
    /// Reads it from the headers of a request to this origin; None: there is none.
    pub fn read(headers: &HeaderMap, own: Option<&Origin>) -> Option<Result<Self, BadDestination>> {
        let mut lines = headers.get_all(DESTINATION).iter();
        let only = lines.next()?;
        if lines.next().is_some() {
            return Some(Err(BadDestination::Doubled));
        }
        Some(
            only.to_str()
                .map_err(|_raw| BadDestination::Forbidden)
                .and_then(|text| parse(text, own)),
        )
    }

    /// Path and query.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// How the client wrote it.
    pub fn form(&self) -> DestinationForm {
        self.form
    }
}

fn parse(text: &str, own: Option<&Origin>) -> Result<Destination, BadDestination> {
    // What follows two slashes is a host (RFC 3986 section 4.2).
    if text.starts_with("//") {
        return Err(BadDestination::Foreign);
    }
    let (path, form) = if text.starts_with('/') {
        (text, DestinationForm::Path)
    } else {
        (path_of_url(text, own)?, DestinationForm::Absolute)
    };
    let target = Target::read(path).map_err(|_bad| BadDestination::Forbidden)?;
    Ok(Destination { target, form })
}

fn path_of_url<'a>(url: &'a str, own: Option<&Origin>) -> Result<&'a str, BadDestination> {
    let authority = url.find("://").and_then(|at| at.checked_add(3));
    let after = authority.and_then(|at| url.get(at..)).ok_or(BadDestination::Forbidden)?;
    let length = after.find('/').ok_or(BadDestination::Forbidden)?;
    let (origin, path) = url
        .split_at_checked(url.len().saturating_sub(after.len()).saturating_add(length))
        .ok_or(BadDestination::Forbidden)?;
    let origin = Origin::read(origin).ok_or(BadDestination::Forbidden)?;
    if own == Some(&origin) { Ok(path) } else { Err(BadDestination::Foreign) }
}

/// `Destination`.
pub const DESTINATION: HeaderName = HeaderName::from_static("destination");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Option<Result<String, BadDestination>> {
        let own = Origin::read("https://gw.example:8443").unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(DESTINATION, line.parse().unwrap());
        }
        let read = Destination::read(&headers, Some(&own))?;
        Some(read.map(|found| format!("{:?} {}", found.form(), found.target().path_and_query())))
    }

    #[test]
    fn a_destination_is_a_path_or_a_url_of_the_own_origin() {
        assert_eq!(read(&[]), None);
        for (text, expected) in [
            ("/a/b", "Path /a/b"),
            ("/%7Ea?q=1", "Path /~a?q=1"),
            ("https://gw.example:8443/a%20b", "Absolute /a%20b"),
            ("HTTPS://GW.example:8443/", "Absolute /"),
        ] {
            assert_eq!(read(&[text]), Some(Ok(expected.to_owned())), "{text}");
        }
    }

    #[test]
    fn whatever_else_it_says_is_refused() {
        for text in [
            "http://gw.example:8443/a",
            "https://gw.example/a",
            "https://evil.example:8443/a",
            "https://gw.example.evil:8443/a",
            "//evil.example/a",
            "//gw.example:8443/a",
        ] {
            assert_eq!(read(&[text]), Some(Err(BadDestination::Foreign)), "{text}");
        }
        for text in [
            "",
            "a/b",
            "*",
            "gw.example:8443/a",
            "https:/gw.example:8443/a",
            "https://gw.example:8443",
            "https://gw.example:8443?a",
            "https://u@gw.example:8443/a",
            "https://gw.example:8443\\@evil.example/a",
            "ftp://gw.example:8443/a",
            "/a/../b",
            "/a/%2e%2e/b",
            "/a#b",
            "/a%00",
            "/a b",
            "/a%zz",
        ] {
            assert_eq!(read(&[text]), Some(Err(BadDestination::Forbidden)), "{text}");
        }
        assert_eq!(read(&["/a", "/a"]), Some(Err(BadDestination::Doubled)));
    }
}
