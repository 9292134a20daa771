//! Many logins at once: memory stays bounded, and nobody else waits for them.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::{House, Upstream, routes};

const USERS: usize = 20;
const LOGINS: usize = 200;
const HASHES: usize = 2;
const MEMORY_MIB: u64 = 19;

fn file(upstream: &str) -> String {
    let mut text = format!(
        r#"
[passwords]
argon2 = {{ memory = "{MEMORY_MIB} MiB", passes = 2 }}
concurrent = {HASHES}

[rate_limits]
login_per_ip = {{ burst = 1000000, every = "1ms" }}
login_per_network = {{ burst = 1000000, every = "1ms" }}
login_per_username = {{ burst = 1000000, every = "1ms" }}
login_per_user = {{ burst = 1000000, every = "1ms" }}
auth_per_ip = {{ burst = 1000000, every = "1ms" }}
{}"#,
        routes(upstream)
    );
    for number in 0..USERS {
        text += &format!(
            "[[bootstrap]]\nname = \"user-{number}\"\nroles = [\"user\"]\npassword = \"a long passphrase\"\n"
        );
    }
    text
}

#[test]
fn a_storm_of_logins_stays_in_bounds_and_delays_nobody() {
    let upstream = Upstream::hello();
    let house = House::new(&file(&upstream.url()));
    let gateway = house.start();
    let access = house.login("alice").access;
    let storm = Storm::of(&house, &access);

    let [good, busy] =
        [200, 503].map(|status| storm.logins.iter().filter(|s| **s == status).count());
    assert_eq!(good + busy, LOGINS, "{:?}", storm.logins);
    assert!(good >= HASHES, "{good} of {LOGINS} logins were let in");
    assert!(busy > 0, "no login was surplus");
    let (slowest, proxied) = (storm.proxied.iter().max().unwrap(), storm.proxied.len());
    let resident = gateway.most_resident() / 1024;
    let bound = (HASHES as u64 * MEMORY_MIB + 64) * 1024;
    println!(
        "{good} logins, {busy} told to come again; {proxied} proxied requests, the slowest took {slowest:?}; at most {resident} KiB of {bound} KiB"
    );
    assert!(resident < bound, "{resident} KiB, more than {bound}");
    gateway.stop();
}

struct Storm {
    logins: Vec<u16>,
    proxied: Vec<Duration>,
}

impl Storm {
    /// All logins at once, and requests of somebody else until the last of them is answered.
    fn of(house: &House, access: &str) -> Self {
        let mut clients: Vec<_> = (0..LOGINS).map(|_| house.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let user = number % USERS;
            let json = format!(r#"{{"username":"user-{user}","password":"a long passphrase"}}"#);
            let headers = [("Content-Type", "application/json")];
            client.send(house.request("POST /auth/login", &headers, &json));
        }
        let logins = thread::spawn(move || {
            let status = |client: &mut crate::support::Client| {
                let answer = client.answer().expect("every login is answered");
                if answer.status == 503 {
                    let after = answer.header("retry-after").expect("when to come again");
                    assert!(after.parse::<u32>().is_ok_and(|seconds| seconds > 0), "{after}");
                    assert_eq!(answer.member("code"), "busy");
                }
                answer.status
            };
            clients.iter_mut().map(status).collect()
        });
        let proxied = proxied(house, access, || logins.is_finished());
        let logins = logins.join().unwrap();
        Self { logins, proxied }
    }
}

/// How long each of at least 200 requests took, until the storm is over.
fn proxied(house: &House, access: &str, is_over: impl Fn() -> bool) -> Vec<Duration> {
    let bearer = format!("Bearer {access}");
    let request = house.request("GET /x", &[("Authorization", &bearer)], "");
    let mut client = house.connect();
    let mut took = Vec::new();
    while took.len() < 200 || !is_over() {
        let begin = Instant::now();
        client.ask(&request).expect(200);
        took.push(begin.elapsed());
    }
    took
}
