use proptest::prelude::*;

use super::*;

fn trust(proxies: &[&str], source: ClientSource) -> Trust {
    let proxies = proxies.iter().map(|text| TrustedProxy::read(text).unwrap()).collect();
    Trust { proxies, source }
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    headers
}

fn peer(address: &str) -> Peer {
    Peer { address: address.parse().unwrap(), port: 4711 }
}

const PROXY: &str = "10.0.0.1";

#[track_caller]
fn counts_for(source: ClientSource, lines: &[(&str, &str)], wanted: &str) {
    let trust = trust(&["10.0.0.0/8", "2001:db8:ffff::/48"], source);
    let got = trust.client(&headers(lines), peer(PROXY));
    assert_eq!(got.to_string(), wanted, "{source:?} {lines:?}");
}

#[test]
fn a_list_is_read_from_the_right_past_our_own_proxies() {
    for (lines, wanted) in [
        (&["203.0.113.7"][..], "203.0.113.7"),
        (&["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        (&["6.6.6.6, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
        (&["6.6.6.6", "203.0.113.7", "10.9.9.9"], "203.0.113.7"),
        (&["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        (&["203.0.113.7,2001:db8:ffff::1"], "203.0.113.7"),
        (&["nonsense, 10.2.2.2"], "10.2.2.2"),
        (&["203.0.113.7, unknown, 10.2.2.2"], "10.2.2.2"),
        (&["203.0.113.7, unknown"], PROXY),
        (&["203.0.113.7,"], PROXY),
        (&["203.0.113.7,,10.2.2.2"], "10.2.2.2"),
        (&[""], PROXY),
        (&["203.0.113.7", ""], PROXY),
        (&["203.0.113.7 10.0.0.2"], PROXY),
        (&["203.0.113.7, \u{e9}"], PROXY),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        counts_for(ClientSource::XForwardedFor, &lines, wanted);
    }
    counts_for(ClientSource::XForwardedFor, &[], PROXY);
}

#[test]
fn addresses_are_understood_in_every_usual_spelling_and_in_no_other() {
    for (text, wanted) in [
        ("203.0.113.7:4711", "203.0.113.7"),
        (" \t203.0.113.7 ", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0.7]:1", "fe80::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:cb00:7107]:80", "203.0.113.7"),
        ("203.0.113.7:_sec", "203.0.113.7"),
    ] {
        let got = read_address(text.as_bytes()).map(|address| address.to_string());
        assert_eq!(got.as_deref(), Some(wanted), "{text}");
    }
    for text in [
        "",
        " ",
        "203.0.113",
        "0203.0.113.7",
        "203.0.113.7:",
        "203.0.113.7:x",
        "203.0.113.7:65536",
        "203.0.113.7:+1",
        "203.0.113.7:000080",
        "203.0.113.7:_",
        "203.0.113.7/32",
        "3405803783",
        "0xcb.0.113.7",
        "[203.0.113.7]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]x",
        "[2001:db8::1]:",
        "[[::1]]",
        "fe80::1%",
        "fe80::1%a b",
        "203.0.113.7%eth0",
        "localhost",
        "unknown",
        "_hidden",
        "\"203.0.113.7\"",
        "203.0.113.7;",
        "203.0.113.7\0",
    ] {
        assert_eq!(read_address(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn forwarded_is_read_by_its_grammar() {
    for (lines, wanted) in [
        (&["for=203.0.113.7"][..], "203.0.113.7"),
        (&["For=203.0.113.7;proto=http;by=10.0.0.2"], "203.0.113.7"),
        (&["by=10.0.0.2;FOR=\"203.0.113.7:4711\""], "203.0.113.7"),
        (&["for=\"[2001:db8::1]\""], "2001:db8::1"),
        (&["for=\"[2001:db8::1]:4711\";host=\"a,b;c\""], "2001:db8::1"),
        (&["for=6.6.6.6, for=203.0.113.7, for=10.9.9.9"], "203.0.113.7"),
        (&["for=203.0.113.7", "for=10.9.9.9"], "203.0.113.7"),
        (&["for=203.0.113.7;host=\"\\\"\\\\\", for=10.9.9.9"], "203.0.113.7"),
        (&[";;for=203.0.113.7;"], "203.0.113.7"),
        (&["for=\"203.0.113.7:_x\""], "203.0.113.7"),
        // No address: the proxy's own holds.
        (&["for=unknown"], PROXY),
        (&["for=_hidden"], PROXY),
        (&["for=203.0.113.7, proto=http"], PROXY),
        (&["proto=http"], PROXY),
        // No element.
        (&["203.0.113.7"], PROXY),
        (&["for=2001:db8::1"], PROXY),
        (&["for=\"2001:db8::1\""], PROXY),
        (&["for=203.0.113.7:4711"], PROXY),
        (&["for = 203.0.113.7"], PROXY),
        (&["for=\" 203.0.113.7\""], PROXY),
        (&["for=203.0.113.7;for=6.6.6.6"], PROXY),
        (&["for=203.0.113.7;x=1;X=2"], PROXY),
        (&["for=\"203.0.113.7"], PROXY),
        (&["for=203.0.113.7\""], PROXY),
        (&["for=\"203.0.113.\\7\""], PROXY),
        (&["for=203.0.113.7 proto=http"], PROXY),
        (&["for=203.0.113.7,"], PROXY),
    ] {
        let lines: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
        counts_for(ClientSource::Forwarded, &lines, wanted);
    }
}

#[test]
fn a_source_of_one_value_counts_once_or_not_at_all() {
    for (source, name) in
        [(ClientSource::XRealIp, "x-real-ip"), (ClientSource::CfConnectingIp, "cf-connecting-ip")]
    {
        counts_for(source, &[(name, "[2001:db8::1]:99")], "2001:db8::1");
        counts_for(source, &[(name, "10.7.7.7")], "10.7.7.7");
        counts_for(source, &[(name, "203.0.113.7"), (name, "203.0.113.7")], PROXY);
        counts_for(source, &[(name, "203.0.113.7, 203.0.113.8")], PROXY);
        counts_for(source, &[("x-forwarded-for", "203.0.113.7")], PROXY);
        counts_for(source, &[], PROXY);
    }
}

#[test]
fn nobody_is_believed_who_is_not_trusted() {
    let lines = headers(&[
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
    ]);
    for source in [ClientSource::XForwardedFor, ClientSource::Forwarded, ClientSource::XRealIp] {
        for (proxies, from) in [
            (&[][..], "10.0.0.1"),
            (&["10.0.0.0/8"], "203.0.113.7"),
            (&["unix"], "127.0.0.1"),
            (&["10.0.0.0/8"], "2001:db8::1"),
        ] {
            let trust = trust(proxies, source);
            assert_eq!(trust.peer_kind(peer(from)), PeerKind::Client);
            assert_eq!(trust.client(&lines, peer(from)), peer(from).address);
        }
    }
}

#[test]
fn a_peer_by_unix_socket_is_trusted_by_name_alone() {
    let lines = headers(&[("x-forwarded-for", "203.0.113.7")]);
    let by_network = trust(&["0.0.0.0/0", "::/0"], ClientSource::XForwardedFor);
    assert_eq!(by_network.peer_kind(Peer::UNIX), PeerKind::Client);
    assert_eq!(by_network.client(&lines, Peer::UNIX), Peer::UNIX.address);
    let by_name = trust(&["unix"], ClientSource::XForwardedFor);
    assert_eq!(by_name.peer_kind(Peer::UNIX), PeerKind::Proxy);
    assert_eq!(by_name.client(&lines, Peer::UNIX).to_string(), "203.0.113.7");
}

#[test]
fn headers_say_nothing_where_the_preamble_does() {
    let trust = trust(&["10.0.0.0/8"], ClientSource::ProxyProtocol);
    let lines = headers(&[("x-forwarded-for", "203.0.113.7"), ("x-real-ip", "203.0.113.7")]);
    assert_eq!(trust.peer_kind(peer(PROXY)), PeerKind::Announcer);
    assert_eq!(trust.client(&lines, peer(PROXY)).to_string(), PROXY);
}

#[test]
fn a_network_has_no_bits_beyond_its_prefix() {
    for (text, shown) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::ffff:10.1.2.3", "10.1.2.3/32"),
        ("unix", "unix"),
    ] {
        assert_eq!(TrustedProxy::read(text).unwrap().to_string(), shown, "{text}");
    }
    for text in ["", "10.1.2.3/8", "10.0.0.0/33", "10.0.0/8", "2001:db8::1/32", "proxy", "UNIX"] {
        assert_eq!(TrustedProxy::read(text), None, "{text}");
    }
}

fn written(address: IpAddr, style: u8) -> String {
    match (address, style % 3) {
        (address, 0) => address.to_string(),
        (IpAddr::V4(address), _) => format!("{address}:80"),
        (IpAddr::V6(address), 1) => format!("[{address}]"),
        (IpAddr::V6(address), _) => format!("[{address}]:80"),
    }
}

proptest! {
    #[test]
    fn whatever_a_client_writes_the_proxys_entry_holds(
        forged in "[ -~]{0,60}", address: IpAddr, style: u8,
    ) {
        let address = address.to_canonical();
        let trust = trust(&["192.0.2.1"], ClientSource::XForwardedFor);
        prop_assume!(address != peer("192.0.2.1").address);
        let line = format!("{forged}, {}", written(address, style));
        let got = trust.client(&headers(&[("x-forwarded-for", &line)]), peer("192.0.2.1"));
        prop_assert_eq!(got, address, "{}", line);
    }

    #[test]
    fn no_quote_of_a_client_swallows_the_proxys_element(
        forged in r#"[ -~]{0,30}["\\=;, fora-z0-9.]{0,30}"#, address: IpAddr,
    ) {
        let address = address.to_canonical();
        prop_assume!(address != peer("192.0.2.1").address);
        let trust = trust(&["192.0.2.1"], ClientSource::Forwarded);
        let node = match address {
            IpAddr::V4(address) => format!("\"{address}:80\""),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let line = format!("{forged}, for={node};host=\"a, b\\\"\"");
        let got = trust.client(&headers(&[("forwarded", &line)]), peer("192.0.2.1"));
        prop_assert_eq!(got, address, "{}", line);
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_read(line in proptest::collection::vec(any::<u8>(), 0..80)) {
        read_address(&line);
        for element in node::Elements::from_the_end(&line) {
            node::read_element(element);
        }
        let whole: Vec<u8> = {
            let mut elements: Vec<_> = node::Elements::from_the_end(&line).collect();
            elements.reverse();
            elements.join(&b',')
        };
        prop_assert_eq!(whole, line);
    }
}
