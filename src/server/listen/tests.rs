use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn all_workers_share_the_port_that_the_first_got() {
    let listeners = listen(&[address("127.0.0.1:0")], 3).unwrap();
    let [listener] = &listeners[..] else { panic!("{listeners:?}") };
    assert_ne!(listener.address.port(), 0);
    assert_eq!(listener.sockets.len(), 3);
    for socket in &listener.sockets {
        assert_eq!(socket.local_addr().unwrap(), listener.address);
    }
}

#[test]
fn a_port_in_use_is_told_even_if_its_user_would_share_it() {
    let first = listen(&[address("127.0.0.1:0")], 2).unwrap().remove(0);
    let error = listen(&[first.address], 2).unwrap_err();
    assert!(matches!(error, ListenError::InUse(taken) if taken == first.address), "{error}");
    assert!(error.to_string().contains(&first.address.to_string()), "{error}");
}

#[test]
fn an_address_of_another_machine_is_told() {
    let error = listen(&[address("192.0.2.1:0")], 1).unwrap_err();
    assert!(matches!(error, ListenError::Other { .. }), "{error:?}");
}

#[test]
fn both_wildcards_stand_beside_each_other_on_one_port() {
    let Ok(probe) = listen(&[address("[::]:0")], 1) else {
        return;
    };
    let port = probe[0].address.port();
    drop(probe);
    let both = [address(&format!("0.0.0.0:{port}")), address(&format!("[::]:{port}"))];
    assert_eq!(listen(&both, 2).unwrap().len(), 2);
}
