//! slowhttptest holds hundreds of connections open in each of its four ways; everybody else is
//! served as if it were not there.

use std::io::Write;
use std::process::Command;
use std::thread;

use crate::gateway::Gateway;
use crate::programs::system;
use crate::upstream::{Then, Upstream};

#[test]
#[ignore = "slow: four attacks of twenty seconds"]
fn slow_clients_keep_nobody_else_waiting_for_a_place() {
    let upstream = Upstream::scripted(|seen, stream| {
        let size = if seen.line().ends_with("/large") { 1 << 20 } else { 5 };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        let _ = stream.write_all(&[head.as_bytes(), &vec![b'x'; size]].concat());
        Then::KeepOpen
    });
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/*\"\nupstream = \"{0}\"\n[[routes]]\npath = \"/public/*\"\naccess = \"public\"\nupstream = \"{0}\"\n",
        upstream.url()
    ));
    let bearer = gateway.bearer("alice");
    let ways: [(&str, &str, &[&str]); 4] = [
        ("slow heads", "/public/x", &["-H", "-i", "2", "-x", "24", "-p", "5"]),
        ("slow bodies", "/public/x", &["-B", "-i", "2", "-s", "8192", "-x", "10", "-p", "5"]),
        ("ranges", "/public/x", &["-R", "-t", "HEAD", "-a", "10", "-b", "3000", "-p", "5"]),
        (
            "slow reading",
            "/public/large",
            &["-X", "-w", "512", "-y", "1024", "-n", "5", "-z", "32", "-p", "5"],
        ),
    ];
    for (way, path, arguments) in ways {
        let mut attack = system("slowhttptest");
        attack.args(["-c", "800", "-r", "400", "-l", "20", "-u", &gateway.url("http", path)]);
        attack.args(arguments);
        let (asked, told) = ask_during(&gateway, &bearer, attack);
        println!("{way}: {asked} requests of others were answered");
        assert!(asked > 0, "{way}: nobody else asked");
        assert!(told.contains("test duration"), "{way}: it did not attack: {told}");
        assert!(!told.contains("available:   NO"), "{way}: {told}");
    }
}

/// Asks over a connection of its own and over one that is kept, in turns, until the attack is over.
#[track_caller]
fn ask_during(gateway: &Gateway, bearer: &str, mut attack: Command) -> (usize, String) {
    let attack = thread::spawn(move || attack.output().expect("it runs"));
    let signed_in = gateway.request("GET /x", &[("Authorization", bearer)], "");
    let mut kept = gateway.connect();
    let mut asked = 0;
    while !attack.is_finished() {
        kept.ask(&signed_in).expect(200);
        gateway.ask("GET /public/x", &[], "").expect(200);
        asked += 2;
    }
    let output = attack.join().expect("it is run");
    (asked, String::from_utf8_lossy(&output.stdout).into_owned())
}
