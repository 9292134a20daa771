//! kill -9 amid a thousand refreshes: nobody is signed out, and nobody has two successors.

use std::collections::HashMap;
use std::path::Path;
use std::thread;

use portcullis::clock::Clock;
use portcullis::identity::{SessionId, UserId, Username};
use portcullis::secret;
use portcullis::session::Transport;
use portcullis::store::{Added, Begun, NewSession, NewUser, Place, Store, User};
use portcullis::token::{MasterKey, MasterKeys};
use rusqlite::Connection;

use crate::support::{Client, Door, House, Process, allow_descriptors, eventually};

const LIMITS: &str = r#"
[sessions]
max_per_user = 50

[rate_limits]
refresh_per_session = { burst = 1000000, every = "1ms" }
refresh_per_ip = { burst = 1000000, every = "1ms" }
auth_per_ip = { burst = 1000000, every = "1ms" }
"#;

/// Sessions that retry with their key, in every round.
const FAITHFUL: usize = 1_000;

/// Further sessions of each round, which retry without it; that ends them.
const FORGETFUL: usize = 50;

const MOST_ROUNDS: usize = 20;

/// Committed refreshes whose answers never came, that must have been met in sum.
const ENOUGH: usize = 100;

#[derive(Clone)]
struct Holder {
    session: SessionId,
    token: String,
}

impl Holder {
    fn body(&self) -> String {
        format!(r#"{{"refresh_token":"{}"}}"#, self.token)
    }

    fn key(&self, round: usize) -> String {
        format!("round {round} of {}", self.session)
    }

    fn request(&self, door: &Door, key: Option<&str>) -> String {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        door.request("POST /auth/refresh", &headers, &self.body())
    }
}

#[test]
fn row_17_a_kill_amid_refreshes_loses_no_session_and_doubles_none() {
    allow_descriptors();
    let house = House::new(LIMITS);
    house.start().stop();
    let mut faithful = begin_sessions(&house, FAITHFUL + MOST_ROUNDS * FORGETFUL);
    let mut forgetful = faithful.split_off(FAITHFUL);
    let mut gateway = house.start();
    let (mut unread, mut ended, mut rounds) = (0, 0, 0);
    while (unread < ENOUGH || ended == 0) && rounds < MOST_ROUNDS {
        rounds += 1;
        let leaving = forgetful.split_off(forgetful.len() - FORGETFUL);
        let all: Vec<_> = leaving.iter().chain(&faithful).cloned().collect();
        let before = generations(&house);
        let read = kill_amid_refreshes(&house, &mut gateway, (&all, rounds));
        gateway = house.start();
        let after = generations(&house);
        let committed = |holder: &Holder| {
            let steps = after[&holder.session] - before[&holder.session];
            assert!(matches!(steps, 0 | 1), "{steps} steps by one refresh");
            steps == 1
        };
        let lost =
            all.iter().filter(|holder| committed(holder) && !read.contains_key(&holder.session));
        let lost = lost.count();
        let done = all.iter().filter(|holder| committed(holder)).count();
        for session in read.keys() {
            assert_eq!(after[session], before[session] + 1, "an answer before its commit");
        }
        println!(
            "round {rounds}: {done} of {} committed, {} answers read, {lost} lost",
            all.len(),
            read.len()
        );
        unread += lost;
        faithful = retry_with_key(&house, (&faithful, rounds), (&before, &read));
        ended += retry_without_key(&house, &leaving, committed);
    }
    println!(
        "{unread} refreshes were committed with their answers unread, in {rounds} rounds; {ended} retries without a key were refused"
    );
    assert!(unread >= ENOUGH, "only {unread} in {rounds} rounds");
    assert!(ended > 0, "no retry without a key met a committed refresh");
    gateway.stop();
}

/// Sends a refresh for each at once, kills the gateway when answers begin to come, and gives the
/// refresh tokens that were read.
fn kill_amid_refreshes(
    house: &House,
    gateway: &mut Process,
    (holders, round): (&[Holder], usize),
) -> HashMap<SessionId, String> {
    let mut clients: Vec<_> = holders.iter().map(|_| house.connect()).collect();
    for (client, holder) in clients.iter_mut().zip(holders) {
        client.send(holder.request(house, Some(&holder.key(round))));
    }
    // Now and then early, now and then late.
    let enough = 1 + round * 37 % 400;
    eventually("answers come", || {
        let come = clients.iter().filter(|client| has_come(client)).take(enough);
        (come.count() == enough).then_some(())
    });
    gateway.kill();
    let read = clients.iter_mut().zip(holders).filter_map(|(client, holder)| {
        let answer = client.answer()?;
        let length = answer.header("content-length")?.parse();
        if length != Ok(answer.body.len()) {
            return None;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        Some((holder.session, answer.member("refresh_token")))
    });
    read.collect()
}

/// Each retries with its key, and then goes on with what it got: the successor of its token.
fn retry_with_key(
    house: &House,
    (holders, round): (&[Holder], usize),
    (before, read): (&HashMap<SessionId, i64>, &HashMap<SessionId, String>),
) -> Vec<Holder> {
    let retried = ask_all(house, holders, |holder| Some(holder.key(round)));
    let retried: Vec<_> = holders
        .iter()
        .zip(retried)
        .map(|(holder, (status, token))| {
            assert_eq!(status, 200, "the retry of {}: {token}", holder.session);
            if let Some(read) = read.get(&holder.session) {
                assert_eq!(read, &token, "two successors of one token");
            }
            Holder { token, ..holder.clone() }
        })
        .collect();
    let now = generations(house);
    let went_on = ask_all(house, &retried, |_| None);
    let later = generations(house);
    retried
        .iter()
        .zip(went_on)
        .map(|(holder, (status, token))| {
            let session = &holder.session;
            assert_eq!(now[session], before[session] + 1, "one successor of {session}");
            assert_eq!(status, 200, "{session} goes on: {token}");
            assert_eq!(later[session], before[session] + 2);
            Holder { token, ..holder.clone() }
        })
        .collect()
}

/// Each retries without its key; gives how many were refused, and their sessions ended with it.
fn retry_without_key(
    house: &House,
    holders: &[Holder],
    committed: impl Fn(&Holder) -> bool,
) -> usize {
    let answers = ask_all(house, holders, |_| None);
    let mut refused = 0;
    for (holder, (status, body)) in holders.iter().zip(answers) {
        if committed(holder) {
            assert_eq!(status, 401, "{body}");
            assert!(body.contains("refresh_reused"), "{body}");
            refused += 1;
        } else {
            assert_eq!(status, 200, "{body}");
        }
    }
    refused
}

/// Status and refresh token (or body) of a refresh of each, in order.
fn ask_all(
    house: &House,
    holders: &[Holder],
    key: impl Fn(&Holder) -> Option<String> + Sync,
) -> Vec<(u16, String)> {
    let door: &Door = house;
    let share = holders.len().div_ceil(16).max(1);
    thread::scope(|scope| {
        let threads: Vec<_> = holders
            .chunks(share)
            .map(|holders| {
                let key = &key;
                scope.spawn(move || {
                    let mut client = door.connect();
                    let ask = |holder: &Holder| {
                        let answer = client.ask(holder.request(door, key(holder).as_deref()));
                        let told = match answer.status {
                            200 => answer.member("refresh_token"),
                            _ => answer.text(),
                        };
                        if answer.status != 200 {
                            client = door.connect();
                        }
                        (answer.status, told)
                    };
                    holders.iter().map(ask).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn has_come(client: &Client) -> bool {
    let stream = client.stream();
    stream.set_nonblocking(true).expect("a socket can be changed");
    let come = matches!(stream.peek(&mut [0; 1]), Ok(1..));
    stream.set_nonblocking(false).expect("a socket can be changed");
    come
}

/// The generation of every session; the database is whole.
fn generations(house: &House) -> HashMap<SessionId, i64> {
    let database = Connection::open(house.path("data/portcullis.db")).unwrap();
    let whole: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    let mut all = database.prepare("SELECT sid, gen FROM sessions").unwrap();
    let rows = all.query_map([], |row| Ok((SessionId::from_bytes(row.get(0)?), row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

/// Begins body sessions, as logins would, but without a thousand hashes.
fn begin_sessions(house: &House, count: usize) -> Vec<Holder> {
    let key = MasterKey::read(1, &house.path("data/master")).unwrap();
    let masters = MasterKeys::new(vec![key]).unwrap();
    let path = house.path("data/portcullis.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let store = open(&path, &masters);
        let mut holders = Vec::new();
        for number in 0..count.div_ceil(OF_ONE_USER) {
            let user = add_user(&store, number).await;
            let mut begun = Vec::new();
            for _ in 0..OF_ONE_USER {
                let session = SessionId::from_bytes(secret::random());
                let token = masters.first(session);
                let text = masters.text(&token).expose_str().unwrap().to_owned();
                holders.push(Holder { session, token: text });
                let (store, new) = (store.clone(), new_session(&user, &token));
                begun.push(tokio::spawn(async move { store.begin(new).await }));
            }
            for begun in begun {
                assert!(matches!(begun.await.unwrap(), Ok(Begun::Yes { .. })));
            }
        }
        holders
    })
}

const OF_ONE_USER: usize = 50;

async fn add_user(store: &Store, number: usize) -> User {
    let username = Username::new(&format!("user-{number}")).unwrap();
    let new = NewUser {
        id: UserId::from_bytes(secret::random()),
        username: username.clone(),
        name: None,
        email: None,
        roles: Vec::new(),
        hash: None,
    };
    assert!(matches!(store.add_user(new).await, Ok(Added::Yes)));
    store.user(&username).await.unwrap().unwrap()
}

fn open(path: &Path, masters: &MasterKeys) -> Store {
    Store::open(Place::File(path), &masters.check_values(), &Clock::system()).unwrap()
}

fn new_session(user: &User, token: &portcullis::token::RefreshToken) -> NewSession {
    let day = std::time::Duration::from_secs(86_400);
    NewSession {
        session: token.session,
        user: user.id,
        password_epoch: user.password_epoch,
        transport: Transport::Body,
        first: token.hash(),
        key: 1,
        idle: day,
        absolute: day,
        remember: false,
        user_agent: None,
        agent_hash: None,
        network: None,
        device_name: None,
        replaces: None,
        max_per_user: OF_ONE_USER,
    }
}
