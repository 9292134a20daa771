use super::*;
use crate::upstream::tests::config;

fn place(host: &str, port: u16) -> io::Result<Place> {
    let mut upstream = config(port);
    upstream.host = host.to_owned();
    Place::new(&upstream, &mut None)
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
    let stream = place("localhost", address.port()).unwrap().connect(Duration::from_secs(5)).await;
    assert_eq!(stream.unwrap().peer_addr().unwrap(), address);
}

#[tokio::test]
async fn an_address_needs_no_resolver() {
    let mut resolver = None;
    for host in ["127.0.0.1", "::1", "localhost", "LocalHost"] {
        let mut upstream = config(1);
        upstream.host = host.to_owned();
        Place::new(&upstream, &mut resolver).unwrap();
        assert!(resolver.is_none(), "{host}");
    }
}

#[tokio::test]
async fn nobody_listening_is_told_with_the_address() {
    let failure = place("127.0.0.1", 1).unwrap().connect(Duration::from_secs(5)).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Connect(why) if why.starts_with("127.0.0.1:1: ")),
        "{failure}"
    );
}

#[tokio::test]
async fn a_name_is_looked_up() {
    // With the final dot it is a name like any other.
    let addresses = place("localhost.", 1).unwrap().addresses().await.unwrap();
    assert!(addresses.contains(&Ipv4Addr::LOCALHOST.into()), "{addresses:?}");
}
