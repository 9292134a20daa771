use super::*;
use crate::upstream::tests::server;

fn place(host: &str, port: u16) -> io::Result<Place> {
    Place::new(&server(host, port), None, &mut Resolver::default())
}

#[tokio::test]
async fn localhost_is_either_loopback() {
    let listener = tokio::net::TcpListener::bind("[::1]:0").await;
    // A machine without IPv6 shows the other half.
    let listener = match listener {
        Ok(listener) => listener,
        Err(_) => tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(),
    };
    let address = listener.local_addr().unwrap();
    let place = place("localhost", address.port()).unwrap();
    let stream = place.connect_over_network(Duration::from_secs(5)).await;
    assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
}

#[tokio::test]
async fn an_address_needs_no_resolver() {
    let mut resolver = Resolver::default();
    for host in ["127.0.0.1", "::1", "localhost", "LocalHost"] {
        Place::new(&server(host, 1), None, &mut resolver).unwrap();
        assert!(resolver.0.is_none(), "{host}");
    }
}

#[tokio::test]
async fn nobody_listening_is_told_with_the_address() {
    let failure = place("127.0.0.1", 1)
        .unwrap()
        .connect(Duration::from_secs(5), Offer::Http1)
        .await
        .unwrap_err();
    assert!(
        matches!(&failure, Failure::Connect(why) if why.starts_with("127.0.0.1:1: ")),
        "{failure}"
    );
}

#[tokio::test]
async fn a_name_is_looked_up() {
    // With the final dot it is a name like any other.
    let addresses =
        place("localhost.", 1).unwrap().addresses(Duration::from_secs(5)).await.unwrap();
    assert!(addresses.contains(&Ipv4Addr::LOCALHOST.into()), "{addresses:?}");
}
