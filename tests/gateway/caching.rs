//! Who may keep the answers of an application: `cache` of a route.

use std::time::Duration;

use crate::support::{Answer, Gateway, Upstream};

const SENT: &str = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=600\r\n\
    Surrogate-Control: max-age=600\r\nETag: \"x\"\r\nContent-Length: 2\r\n\r\nok";

/// One route for each word, a public one for each word, and one that says nothing.
fn house(upstream: &Upstream) -> Gateway {
    let url = upstream.url();
    let mut file = format!("[[routes]]\npath = \"/*\"\nupstream = \"{url}\"\n");
    for word in ["private", "no-store", "upstream"] {
        for (path, access) in [("", "signed in"), ("/open", "public"), ("/maybe", "optional")] {
            file += &format!(
                "[[routes]]\npath = \"/{word}{path}\"\naccess = \"{access}\"\ncache = \"{word}\"\nupstream = \"{url}\"\n"
            );
        }
    }
    Gateway::start(&file)
}

fn told(answer: &Answer) -> (Vec<&str>, Option<&str>) {
    (answer.all("cache-control").collect(), answer.header("surrogate-control"))
}

#[test]
fn a_route_says_who_may_keep_its_answers() {
    let upstream = Upstream::answering(SENT);
    let gateway = house(&upstream);
    let cookies = gateway.login_by_cookie("alice").cookie_header();
    let as_sent = (vec!["public, max-age=600"], Some("max-age=600"));
    let private = (vec!["max-age=600, private"], None);
    let nobody = (vec!["no-store"], None);
    for (path, known, unknown) in [
        ("/x", &private, None),
        ("/private", &private, None),
        ("/private/open", &as_sent, Some(&as_sent)),
        ("/private/maybe", &private, Some(&as_sent)),
        ("/no-store", &nobody, None),
        ("/no-store/open", &nobody, Some(&nobody)),
        ("/no-store/maybe", &nobody, Some(&nobody)),
        ("/upstream", &as_sent, None),
        ("/upstream/maybe", &as_sent, Some(&as_sent)),
    ] {
        let answer = gateway.get(path, &[("Cookie", &cookies)]).expect(200);
        assert_eq!(told(&answer), *known, "{path}, signed in");
        assert_eq!(answer.header("etag"), Some("\"x\""), "{path}");
        if let Some(expected) = unknown {
            assert_eq!(told(&gateway.get(path, &[]).expect(200)), *expected, "{path}, nobody");
        }
    }
}

#[test]
fn no_shared_cache_keeps_a_renewed_cookie_whatever_the_route_says() {
    let upstream = Upstream::answering(SENT);
    let gateway = house(&upstream);
    let mut cookies = gateway.login_by_cookie("alice").cookie_header();
    for (path, expected) in [
        ("/upstream", "max-age=600, private"),
        ("/upstream/maybe", "max-age=600, private"),
        ("/private", "max-age=600, private"),
        ("/no-store", "no-store"),
    ] {
        gateway.advance(Duration::from_secs(16 * 60));
        let answer = gateway.get(path, &[("Cookie", &cookies)]).expect(200);
        assert!(answer.cookie("pc_rt").is_some(), "{path}: {:?}", answer.headers);
        assert_eq!(told(&answer), (vec![expected], None), "{path}");
        cookies = answer.cookie_header();
    }
}
