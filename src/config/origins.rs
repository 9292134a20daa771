//! Whether browsers can use the origins that the gateway serves.

use std::net::SocketAddr;

use super::codes;
use super::listen::ListenAddress;
use super::model::{Cookies, Insecure, Server};
use super::problem::{Place, Problem};
use super::routes::Draft;
use super::section::Section;
use crate::request::{HostName, HostPattern, Origin, Scheme};

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
    check_answered(section, server);
    let served = derived(section, server).into_iter().chain(written);
    let served: Vec<_> = served.chain(hosts(server, drafts)).collect();
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

/// Whoever follows a link by http to a listener that speaks TLS gets no answer.
fn check_answered(section: &Section<'_>, server: &Server) {
    let public = server.public_url.as_ref().filter(|origin| origin.scheme() == Scheme::Http);
    let (Some(origin), false) = (public, server.tls.is_empty()) else {
        return;
    };
    let problem = Problem::new(
        &codes::PLAIN_URL,
        section.place_of("public_url"),
        format!("{origin} is plain http, and every listener speaks TLS"),
    );
    section.tell(
        problem
            .label("http beside `tls`")
            .because("the links of invitations begin with it, and nobody would answer there")
            .help("write it with `https://`"),
    );
}

impl Server {
    /// `public_url`, or http://localhost (https with certificates) with the port of each listener
    /// as bound.
    pub fn first_origins(&self, bound: &[SocketAddr]) -> Vec<Origin> {
        if let Some(origin) = &self.public_url {
            return vec![origin.clone()];
        }
        let Ok(localhost) = HostName::new("localhost") else {
            return Vec::new();
        };
        let mut ports: Vec<u16> = bound.iter().map(SocketAddr::port).collect();
        ports.dedup();
        let scheme = if self.tls.is_empty() { Scheme::Http } else { Scheme::Https };
        ports.iter().map(|port| Origin::new(scheme, localhost.clone(), *port)).collect()
    }
}

/// Those that follow from `listen`; none of a port that only the system knows, nor where faulty
/// certificates or a faulty `public_url` leave the scheme open.
fn derived(section: &Section<'_>, server: &Server) -> Vec<(Origin, Place)> {
    if section.has("public_url") || section.has("tls") == server.tls.is_empty() {
        return Vec::new();
    }
    let mut known = server.tcp_listeners();
    known.retain(|address| address.port() > 0);
    let place = section.place_of("listen");
    server.first_origins(&known).into_iter().map(|origin| (origin, place)).collect()
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
