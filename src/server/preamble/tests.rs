use proptest::prelude::*;

use super::*;

/// What is read of these bytes, and what is left behind it.
fn read_all(mut bytes: &[u8]) -> (Option<Announced>, &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = runtime.block_on(read(&mut bytes)).ok();
    (read, bytes)
}

fn client(address: &str, port: u16) -> Option<Announced> {
    Some(Announced::Client(Peer { address: address.parse().unwrap(), port }))
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, rest].concat()
}

/// 203.0.113.7:4711 to 192.0.2.1:443.
const ENDS: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 1, 0xbb];

#[test]
fn a_line_names_the_client_and_nothing_behind_it_is_taken() {
    for (line, wanted) in [
        ("PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\r\n", client("203.0.113.7", 4711)),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 0 443\r\n", client("2001:db8::7", 0)),
        ("PROXY TCP6 ::ffff:203.0.113.7 ::1 1 443\r\n", client("203.0.113.7", 1)),
        ("PROXY UNKNOWN\r\n", Some(Announced::Itself)),
        ("PROXY UNKNOWN ffff:: ffff:: 65535 65535\r\n", Some(Announced::Itself)),
    ] {
        let bytes = format!("{line}GET / HTTP/1.1\r\n");
        assert_eq!(read_all(bytes.as_bytes()), (wanted, &b"GET / HTTP/1.1\r\n"[..]), "{line:?}");
    }
}

#[test]
fn a_line_that_is_not_exactly_one_is_refused() {
    let too_long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(93));
    for line in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 4711 443 \r\n",
        "PROXY TCP4  203.0.113.7 192.0.2.1 4711 443\r\n",
        "PROXY TCP4 203.0.113.07 192.0.2.1 4711 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 04711 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 +4711 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 65536 443\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 1 443\r\n",
        "PROXY TCP6 203.0.113.7 192.0.2.1 1 443\r\n",
        "PROXY UDP4 203.0.113.7 192.0.2.1 1 443\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY \r\n        ",
        "proxy TCP4 203.0.113.7 192.0.2.1 4711 443\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1",
        &too_long,
    ] {
        assert_eq!(read_all(line.as_bytes()).0, None, "{line:?}");
    }
}

#[test]
fn a_binary_preamble_names_the_client_and_its_values_are_passed_over() {
    let six =
        [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x12, 0x67, 1, 0xbb]].concat();
    let with = |values: &[u8]| [&ENDS[..], values].concat();
    for (bytes, wanted) in [
        (binary(PROXY, TCP_4, &ENDS), client("203.0.113.7", 4711)),
        (binary(PROXY, TCP_4, &with(&[4, 0, 2, 1, 1, 3, 0, 0])), client("203.0.113.7", 4711)),
        (binary(PROXY, TCP_6, &six), client("2001:db8::7", 4711)),
        (binary(PROXY, UNIX_STREAM, &[b'x'; 216]), Some(Announced::Itself)),
        (binary(PROXY, UNSPECIFIED, b"anything"), Some(Announced::Itself)),
        (binary(LOCAL, UNSPECIFIED, b""), Some(Announced::Itself)),
        (binary(LOCAL, TCP_4, b"xx"), Some(Announced::Itself)),
    ] {
        let whole = [&bytes[..], b"GET"].concat();
        assert_eq!(read_all(&whole), (wanted, &b"GET"[..]), "{bytes:?}");
    }
}

#[test]
fn a_binary_preamble_that_is_malformed_is_refused() {
    let with = |values: &[u8]| binary(PROXY, TCP_4, &[&ENDS[..], values].concat());
    for bytes in [
        binary(PROXY, TCP_4, &ENDS[..11]),
        binary(PROXY, TCP_6, &ENDS),
        binary(PROXY, UNIX_STREAM, &[0; 215]),
        binary(PROXY, 0x12, &ENDS),
        binary(PROXY, 0x41, &ENDS),
        binary(0x22, TCP_4, &ENDS),
        binary(0x11, TCP_4, &ENDS),
        with(&[4]),
        with(&[4, 0, 3, 1, 1]),
        binary(PROXY, TCP_4, &[0; LONGEST_REST + 1]),
        binary(PROXY, TCP_4, &ENDS)[..20].to_vec(),
        SIGNATURE.to_vec(),
    ] {
        assert_eq!(read_all(&bytes).0, None, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_in_both_versions(
        source: IpAddr, other: IpAddr, ports: (u16, u16), behind in "[ -~]{0,20}",
    ) {
        prop_assume!(source.is_ipv4() == other.is_ipv4());
        let octets = |address: IpAddr| match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let (name, family) = if source.is_ipv4() { ("TCP4", TCP_4) } else { ("TCP6", TCP_6) };
        let line = format!("PROXY {name} {source} {other} {} {}\r\n", ports.0, ports.1);
        let numbers = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
        let rest = [octets(source), octets(other), numbers].concat();
        let wanted = client(&source.to_canonical().to_string(), ports.0);
        for preamble in [line.into_bytes(), binary(PROXY, family, &rest)] {
            let whole = [&preamble[..], behind.as_bytes()].concat();
            prop_assert_eq!(read_all(&whole), (wanted, behind.as_bytes()));
        }
    }

    #[test]
    fn no_bytes_are_too_odd_to_be_read(
        start in 0_usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let starts = [&b""[..], b"PROXY TCP4 ", &SIGNATURE[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11"];
        read_all(&[starts[start], &bytes].concat());
    }
}
