//! slowhttptest holds hundreds of connections open in three of its ways, and asks for hundreds of
//! parts of an answer in the fourth; everybody else is served as if it were not there.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::gateway::Gateway;
use crate::programs::system;
use crate::upstream::{Then, Upstream};

#[test]
#[ignore = "slow: four attacks of twenty seconds"]
fn slow_clients_keep_nobody_else_waiting_for_a_place() {
    // Made once, so that the machine is busy with the gateway.
    let body = vec![b'x'; 1 << 20];
    let upstream = Upstream::scripted(move |seen, stream| {
        let size = if seen.line().ends_with("/large") { body.len() } else { 5 };
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        if !seen.line().starts_with("HEAD ") {
            let _ = stream.write_all(&body[..size]);
        }
        Then::KeepOpen
    });
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/*\"\nupstream = \"{0}\"\n[[routes]]\npath = \"/public/*\"\naccess = \"public\"\nupstream = \"{0}\"\n",
        upstream.url()
    ));
    let bearer = gateway.bearer("alice");
    let ways: [(&str, &str, &[&str]); 4] = [
        ("slow heads", "/public/x", &["-H", "-i", "2", "-x", "24"]),
        ("slow bodies", "/public/x", &["-B", "-i", "2", "-s", "8192", "-x", "10"]),
        ("ranges", "/public/x", &["-R", "-t", "HEAD", "-a", "10", "-b", "3000"]),
        (
            "slow reading",
            "/public/large",
            &["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32"],
        ),
    ];
    for (way, path, arguments) in ways {
        let url = gateway.url("http", path);
        println!("{way}:");
        for told in ask_during(&gateway, &bearer, || attack(&url, arguments)) {
            assert!(told.contains("test duration"), "{way}: it did not attack: {told}");
            assert!(!told.contains("available:   NO"), "{way}: {told}");
        }
    }
}

/// How long it attacks; where it is through with it sooner, again.
const ATTACK: Duration = Duration::from_secs(20);

/// What slowhttptest told of each of its runs.
fn attack(url: &str, arguments: &[&str]) -> Vec<String> {
    let begun = Instant::now();
    let mut told = Vec::new();
    while let Some(left) = ATTACK.checked_sub(begun.elapsed()) {
        let seconds = left.as_secs().max(1).to_string();
        let mut attack = system("slowhttptest");
        attack.args(["-c", "800", "-r", "400", "-p", "5", "-l", &seconds, "-u", url]);
        let output = attack.args(arguments).output().expect("it runs");
        told.push(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    told
}

/// Asks over a connection of its own and over one that is kept, in turns, until the attack is over.
/// Every answer is a 200; how many there are and how long they take is the machine's affair.
#[track_caller]
fn ask_during(
    gateway: &Gateway,
    bearer: &str,
    attack: impl FnOnce() -> Vec<String> + Send,
) -> Vec<String> {
    let signed_in = gateway.request("GET /x", &[("Authorization", bearer)], "");
    let public = gateway.request("GET /public/x", &[], "");
    // Not the attack's address, whose connections are counted.
    let connect = || Client::connect_from([127, 0, 0, 2].into(), gateway.address());
    let mut kept = connect();
    let (mut asked, mut slowest) = (0, Duration::ZERO);
    let told = thread::scope(|scope| {
        let attack = scope.spawn(attack);
        while !attack.is_finished() {
            for (client, request) in [(&mut kept, &signed_in), (&mut connect(), &public)] {
                let begun = Instant::now();
                client.ask(request).expect(200);
                slowest = slowest.max(begun.elapsed());
                asked += 1;
            }
        }
        attack.join().expect("it is run")
    });
    let runs = told.len();
    println!(
        "  {asked} requests of others were answered, the slowest in {slowest:.1?}, beside {runs} runs"
    );
    assert!(asked > 0, "nobody else asked");
    told
}
