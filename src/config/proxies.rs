//! `trusted_proxies` and `client_ip`: whose word is taken for the address of a client.

use std::net::IpAddr;

use ipnet::IpNet;

use super::codes;
use super::problem::Problem;
use super::section::Section;
use super::value::{Text, bad_value};
use crate::request::{ClientSource, Trust, TrustedProxy, read_address, read_network};

/// The words of `client_ip`.
pub(super) const SOURCES: [(&str, ClientSource); 5] = [
    ("x-forwarded-for", ClientSource::XForwardedFor),
    ("forwarded", ClientSource::Forwarded),
    ("x-real-ip", ClientSource::XRealIp),
    ("cf-connecting-ip", ClientSource::CfConnectingIp),
    ("proxy-protocol", ClientSource::ProxyProtocol),
];

pub(super) fn read(section: &Section<'_>) -> Trust {
    let texts = section.texts("trusted_proxies").unwrap_or_default();
    let proxies = texts.iter().filter_map(|text| proxy(section, text)).collect();
    let source = section.choice("client_ip", ClientSource::default(), &SOURCES);
    Trust { proxies, source }
}

fn proxy(section: &Section<'_>, text: &Text) -> Option<TrustedProxy> {
    let proxy = TrustedProxy::read(&text.value);
    match proxy {
        None => section.tell(no_network("trusted_proxies", text)),
        Some(TrustedProxy::Network(network)) if network.prefix_len() == 0 => {
            let problem = Problem::new(
                &codes::TRUSTS_EVERYBODY,
                text.place,
                format!("`{network}` trusts everybody to say who asks"),
            )
            .label("every address there is")
            .because("whoever reaches this listener can take any address, and so passes every limit and `allow_ips`")
            .help("name the addresses of your proxies alone");
            section.tell(problem);
        }
        Some(_) => {}
    }
    proxy
}

/// A network that cannot be read; where it has bits beyond its prefix, what may have been meant.
fn no_network(key: &str, text: &Text) -> Problem {
    let problem = bad_value(key, text, "an address or a network");
    match text.value.parse::<IpNet>() {
        Ok(network) => problem.label("has bits beyond its prefix").help(format!(
            "write \"{}\" for the network, or \"{}\" for the one address",
            network.trunc(),
            network.addr()
        )),
        Err(_) => problem.help("for example \"10.0.0.0/8\", \"192.0.2.7\", \"2001:db8::/32\""),
    }
}

/// Where clients must be; an empty list says neither anybody nor nobody.
pub(super) fn networks<'a>(section: &Section<'a>, key: &'a str) -> Vec<IpNet> {
    if section.value(key).is_some_and(|value| value.is_empty_list()) {
        let problem = Problem::new(
            &codes::BAD_VALUE,
            section.place_of(key),
            format!("`{key}` names no address"),
        );
        section.tell(
            problem
                .label("an empty list")
                .help(format!("leave `{key}` out to let clients come from everywhere")),
        );
    }
    let texts = section.texts(key).unwrap_or_default();
    let read = |text: &Text| {
        let network = read_network(&text.value);
        if network.is_none() {
            section.tell(no_network(key, text));
        }
        network
    };
    texts.iter().filter_map(read).collect()
}

/// One address.
pub(super) fn address<'a>(section: &Section<'a>, key: &'a str) -> Option<IpAddr> {
    let text = section.text(key)?;
    let address = read_address(text.value.as_bytes());
    if address.is_none() {
        let problem = bad_value(key, &text, "an address");
        section.tell(problem.help("for example \"10.1.2.3\" or \"2001:db8::7\""));
    }
    address
}
