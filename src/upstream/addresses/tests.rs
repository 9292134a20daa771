use std::cell::{Cell, RefCell};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::upstream::pool::{Pool, Room};
use crate::upstream::resolve::{Place, Resolver};
use crate::upstream::standing::Standing;
use crate::upstream::tests::{config, run, server};

/// A name server that says of every name what it was told to.
#[derive(Clone)]
struct Names {
    address: SocketAddr,
    says: Rc<RefCell<Says>>,
    asked: Rc<Cell<usize>>,
}

#[derive(Clone)]
enum Says {
    At(Vec<Ipv4Addr>),
    NoSuchName,
    Nothing,
}

impl Names {
    async fn saying(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let names = Self { address, says: Rc::new(RefCell::new(says)), asked: Rc::default() };
        tokio::task::spawn_local(names.clone().serve(socket));
        names
    }

    async fn serve(self, socket: UdpSocket) {
        let mut query = [0; 1500];
        loop {
            let (_, from) = socket.recv_from(&mut query).await.unwrap();
            self.asked.set(self.asked.get() + 1);
            if let Some(answer) = self.answer(&query) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    }

    /// RFC 1035 section 4.1.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
        let is_a = query[end - 4..end - 2] == [0, 1];
        let (code, addresses) = match &*self.says.borrow() {
            Says::At(addresses) if is_a => (0, addresses.clone()),
            Says::At(_) => (0, Vec::new()),
            Says::NoSuchName => (3, Vec::new()),
            Says::Nothing => return None,
        };
        let mut answer = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0];
        answer.extend([u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0]);
        answer.extend(&query[12..end]);
        for address in addresses {
            // The name asked for, A, IN, valid for no time, four bytes.
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
            answer.extend(address.octets());
        }
        Some(answer)
    }

    fn say(&self, says: Says) {
        *self.says.borrow_mut() = says;
    }

    fn resolver(&self) -> TokioResolver {
        let mut connection = ConnectionConfig::udp();
        connection.port = self.address.port();
        let server = NameServerConfig::new(self.address.ip(), true, vec![connection]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        builder.options_mut().cache_size = 0;
        builder.build().unwrap()
    }

    fn of(&self) -> Addresses {
        Addresses::new("app.internal.", Arc::new(self.resolver()))
    }

    /// A pool of connections to this port, wherever the name leads.
    fn pool(&self, port: u16) -> Rc<Pool> {
        let mut resolver = Resolver::of(self.resolver());
        let place = Place::new(&server("app.internal.", port), None, &mut resolver).unwrap();
        Rc::new(Pool::new(&config(1), place, Arc::new(Standing::unknown()), 1))
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// The same port at two addresses.
async fn both() -> (TcpListener, TcpListener, u16) {
    loop {
        let one = TcpListener::bind((ONE, 0)).await.unwrap();
        let port = one.local_addr().unwrap().port();
        if let Ok(other) = TcpListener::bind((OTHER, port)).await {
            return (one, other, port);
        }
    }
}

/// One more connection, given back at once; where it leads.
async fn connect(pool: &Rc<Pool>) -> IpAddr {
    let Some(Room::Lease(lease)) = pool.room() else { panic!("something is idle") };
    let link = Pool::connect(lease, PATIENCE).await.unwrap();
    let peer = link.peer().unwrap();
    pool.keep(link);
    peer
}

/// Whether a connection is idle; it is used up.
fn is_idle(pool: &Rc<Pool>) -> bool {
    matches!(pool.room(), Some(Room::Link(_)))
}

#[test]
fn the_last_good_addresses_serve_while_the_name_is_gone_and_not_for_ever() {
    run(async {
        let names = Names::saying(Says::At(vec![ONE, OTHER])).await;
        let addresses = names.of();
        let good = addresses.look_up(PATIENCE).await.unwrap();
        assert_eq!(good.len(), 2);
        names.say(Says::NoSuchName);
        assert_eq!(addresses.look_up(PATIENCE).await, Ok(good));
        addresses.grow_old(KEPT_FOR);
        let failure = addresses.look_up(PATIENCE).await.unwrap_err();
        assert!(matches!(failure, Failure::Connect(_)), "{failure}");
        names.say(Says::At(vec![OTHER]));
        assert_eq!(addresses.look_up(PATIENCE).await, Ok(vec![OTHER.into()]));
    });
}

#[test]
fn a_name_server_that_is_silent_holds_up_only_whom_nothing_else_can_help() {
    run(async {
        let names = Names::saying(Says::Nothing).await;
        let addresses = names.of();
        let short = Duration::from_millis(50);
        assert_eq!(addresses.look_up(short).await, Err(Failure::TimedOut));
        names.say(Says::At(vec![ONE]));
        addresses.look_up(PATIENCE).await.unwrap();
        names.say(Says::Nothing);
        let asked = names.asked.get();
        assert_eq!(addresses.look_up(PATIENCE).await, Ok(vec![ONE.into()]));
        assert!(names.asked.get() > asked, "nobody was asked");
    });
}

#[test]
fn a_name_that_never_had_an_address_is_told_so() {
    run(async {
        let names = Names::saying(Says::At(Vec::new())).await;
        let failure = names.of().look_up(PATIENCE).await.unwrap_err();
        assert!(matches!(&failure, Failure::Connect(why) if why.contains("app.internal")));
    });
}

#[test]
fn connections_follow_a_name_that_moves() {
    run(async {
        let (_one, _other, port) = both().await;
        let names = Names::saying(Says::At(vec![ONE])).await;
        let pool = names.pool(port);
        assert_eq!(connect(&pool).await, ONE);
        pool.look_again().await;
        assert!(is_idle(&pool), "nothing has changed, and the connection is gone");
        connect(&pool).await;
        names.say(Says::At(vec![OTHER]));
        pool.look_again().await;
        assert!(!is_idle(&pool), "idle at an address that the name has left");
        assert_eq!(connect(&pool).await, OTHER);
        assert!(is_idle(&pool));
    });
}

#[test]
fn what_is_under_way_ends_and_is_then_closed() {
    run(async {
        let (_one, _other, port) = both().await;
        let names = Names::saying(Says::At(vec![ONE])).await;
        let pool = names.pool(port);
        connect(&pool).await;
        let Some(Room::Link(under_way)) = pool.room() else { panic!("nothing is idle") };
        names.say(Says::At(vec![OTHER]));
        pool.look_again().await;
        pool.keep(under_way);
        assert!(!is_idle(&pool), "kept at an address that the name has left");
        // Moved back before anybody looked: what is connected now is kept all the same.
        names.say(Says::At(vec![ONE]));
        assert_eq!(connect(&pool).await, ONE);
        assert!(is_idle(&pool));
    });
}

#[test]
fn connections_outlive_a_name_that_vanishes() {
    run(async {
        let (_one, _other, port) = both().await;
        let names = Names::saying(Says::At(vec![ONE])).await;
        let pool = names.pool(port);
        connect(&pool).await;
        names.say(Says::NoSuchName);
        pool.look_again().await;
        assert!(is_idle(&pool));
        assert_eq!(connect(&pool).await, ONE);
    });
}

#[test]
fn of_several_addresses_one_that_answers_is_found_and_all_have_their_turn() {
    run(async {
        let (one, _other, port) = both().await;
        let names = Names::saying(Says::At(vec![ONE, OTHER])).await;
        let pool = names.pool(port);
        let mut peers = Vec::new();
        for _ in 0..2 {
            peers.push(connect(&pool).await);
            is_idle(&pool);
        }
        peers.sort();
        assert_eq!(peers, [ONE, OTHER]);
        drop(one);
        for _ in 0..2 {
            assert_eq!(connect(&pool).await, OTHER);
            is_idle(&pool);
        }
    });
}

#[test]
fn both_families_take_turns() {
    let addresses = |texts: &[&str]| -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    let all = addresses(&["1.1.1.1", "1.1.1.2", "1.1.1.3", "::1", "::2"]);
    assert_eq!(by_turns(&all, 0), addresses(&["::1", "1.1.1.1", "::2", "1.1.1.2", "1.1.1.3"]));
    assert_eq!(by_turns(&all, 1), addresses(&["::2", "1.1.1.2", "::1", "1.1.1.3", "1.1.1.1"]));
    assert_eq!(by_turns(&[], 7), addresses(&[]));
}
