mod cookies;
mod head;
mod host;
mod local_path;
mod target;

use http::Request;
use http::request::Parts;

use super::*;

fn reader() -> Reader {
    let public = Origin::read("https://apps.example.com").unwrap();
    Reader {
        served: ServedOrigins::new(std::slice::from_ref(&public), &[], &[]),
        cookies: CookieNames::new(&public, CookiePrefix::HostHttp),
        target_limit: 16 * 1024,
        trust: Trust::default(),
        field_limit: 100,
    }
}

fn peer() -> Peer {
    Peer { address: [192, 0, 2, 7].into(), port: 4711 }
}

/// A head by method, target and further header lines; `Host` is there already.
fn head(method: &str, target: &str, lines: &[(&str, &str)]) -> Parts {
    bare_head(method, target, &[&[("host", "apps.example.com")], lines].concat())
}

fn bare_head(method: &str, target: &str, lines: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn read(head: Parts) -> Result<NormalRequest, Malformed> {
    NormalRequest::read(head, peer(), &reader())
}
