//! Whether browsers can use the origins that the gateway serves.

use super::codes;
use super::listen::ListenAddress;
use super::model::{Cookies, Insecure, Server};
use super::problem::{Place, Problem};
use super::routes::Draft;
use super::section::Section;
use crate::request::{HostPattern, Origin, Scheme};

pub(super) fn check(
    section: &Section<'_>,
    server: &Server,
    cookies: (&Cookies, Place),
    drafts: &[Draft],
) {
    check_presence(section, server);
    let places = section.places("public_origins");
    if places.len() != server.public_origins.len() {
        return;
    }
    let further = server.public_origins.iter().cloned().zip(places);
    let public = server.public_url.clone().map(|origin| (origin, section.place_of("public_url")));
    let written: Vec<(Origin, Place)> = public.into_iter().chain(further).collect();
    for (origin, place) in &written {
        check_secure(section, origin, *place, cookies);
    }
    let served: Vec<_> = written.into_iter().chain(hosts(server, drafts)).collect();
    check_clashes(section, &served);
}

fn check_presence(section: &Section<'_>, server: &Server) {
    let open = server.listen.iter().find_map(reached_from_elsewhere);
    let (Some(address), false) = (open, section.has("public_url")) else {
        return;
    };
    let problem = Problem::new(&codes::NO_PUBLIC_URL, section.place_of("listen"), "`public_url` is missing")
        .label(format!("{address} can be reached from elsewhere"))
        .because("cookies, the issuer of tokens and the check of where a request comes from need the origin that browsers see")
        .help("add `public_url = \"https://apps.example.com\"`; it can be left out only while every listener is on loopback");
    section.tell(problem);
}

/// What is not for this machine alone, as messages call it. Who comes by a Unix socket has browsers
/// behind it, wherever they are.
fn reached_from_elsewhere(listen: &ListenAddress) -> Option<String> {
    match listen {
        ListenAddress::Tcp(address) if address.ip().is_loopback() => None,
        ListenAddress::Tcp(_) | ListenAddress::Unix(_) => Some(listen.to_string()),
        ListenAddress::Systemd => Some("a socket of systemd".to_owned()),
    }
}

fn check_secure(
    section: &Section<'_>,
    origin: &Origin,
    place: Place,
    (cookies, insecure): (&Cookies, Place),
) {
    let loopback = origin.host().is_loopback();
    if !loopback && origin.scheme() == Scheme::Http && cookies.insecure != Insecure::TrustedNetwork
    {
        let problem = Problem::new(
            &codes::PLAIN_HTTP,
            place,
            format!("{origin} is plain http, and not on this machine"),
        )
        .label("http off loopback")
        .because(
            "browsers drop Secure cookies there, so every login would end at the login page again",
        )
        .help("serve it by https: a TLS proxy in front and `https://` here will do")
        .help(
            "or, in a network where nobody listens, write `cookies.insecure = \"trusted-network\"`",
        );
        section.tell(problem);
    } else if !loopback && cookies.insecure == Insecure::Loopback {
        let problem = Problem::new(
            &codes::INSECURE_ELSEWHERE,
            insecure,
            format!("`insecure = true` is for loopback, and {origin} is not"),
        )
        .label("for loopback alone")
        .also(place, "served here")
        .help("take it out, or write `insecure = \"trusted-network\"`");
        section.tell(problem);
    }
}

/// The origins of the hosts that routes name: scheme and port are those of `public_url`.
fn hosts(server: &Server, drafts: &[Draft]) -> Vec<(Origin, Place)> {
    let Some(public) = &server.public_url else {
        return Vec::new();
    };
    let of = |draft: &Draft| {
        let place = draft.host;
        draft.route.hosts.clone().into_iter().filter_map(move |host| match host {
            HostPattern::Exact(name) => {
                Some((Origin::new(public.scheme(), name, public.port()), place))
            }
            HostPattern::Wildcard(_) | HostPattern::Any => None,
        })
    };
    drafts.iter().flat_map(of).collect()
}

fn check_clashes(section: &Section<'_>, served: &[(Origin, Place)]) {
    for (at, (origin, place)) in served.iter().enumerate() {
        let Some((first, first_place)) =
            served.iter().take(at).find(|(first, _)| clash(first, origin))
        else {
            continue;
        };
        let problem = Problem::new(&codes::ORIGIN_CLASH, *place, format!("{first} and {origin} cannot both be served"))
            .label("the same place by another scheme")
            .also(*first_place, "served here")
            .because("a request tells its host and port, not its scheme, so its own origin could not be known")
            .help("keep one of the two");
        section.tell(problem);
    }
}

/// The same host and port by two schemes, or the usual ports of both; the names of loopback are one.
fn clash(one: &Origin, other: &Origin) -> bool {
    let usual = |origin: &Origin| match origin.scheme() {
        Scheme::Http => origin.port() == 80,
        Scheme::Https => origin.port() == 443,
    };
    let (host, other_host) = (one.host(), other.host());
    (host == other_host || (host.is_loopback() && other_host.is_loopback()))
        && one.scheme() != other.scheme()
        && (one.port() == other.port() || (usual(one) && usual(other)))
}
