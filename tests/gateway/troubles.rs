//! What the operator is told of what is broken: an application that gives no answer, a log that
//! nobody reads.

use std::fs::File;
use std::io::Read;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{House, Then, Upstream, eventually, request};

/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";

/// Two applications that give no answer, and one that does.
fn house() -> House {
    let route = |name: &str, url: &str| {
        format!(
            "[upstreams.{name}]\nservers = [\"{url}\"]\n[[routes]]\npath = \"/{name}\"\n\
             access = \"public\"\nmax_body = \"4 B\"\nupstream = \"{name}\"\n"
        )
    };
    let (odd, well) = (Upstream::answering("nonsense\r\n\r\n"), Upstream::hello());
    let nowhere = format!("http://{NOWHERE}");
    House::new(
        &[("down", &nowhere), ("odd", &odd.url()), ("well", &well.url())]
            .map(|(name, url)| route(name, url))
            .concat(),
    )
}

/// The access lines, of a gateway that has stopped.
fn lines(house: &House) -> Vec<Value> {
    house.text("access.log").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn why_an_application_gives_no_answer_is_told_the_operator_and_not_the_client() {
    let house = house();
    let gateway = house.start();
    for (path, status) in [("/down", 502), ("/odd", 502), ("/well", 200)].repeat(8) {
        let answer = house.get(path, &[]).expect(status);
        let told = format!("{:?}{}", answer.headers, answer.text());
        assert!(!told.contains(NOWHERE) && !told.contains("HTTP version"), "{told}");
    }
    let said = gateway.said();
    gateway.stop();

    let errors = lines(&house);
    let of = |route: &str| -> Vec<&Value> {
        errors.iter().filter(|line| line["path"] == route).map(|line| &line["error"]).collect()
    };
    let refused = format!("cannot connect: {NOWHERE}: Connection refused (os error 111)");
    assert_eq!(of("/down"), vec![&Value::from(refused.as_str()); 8]);
    let odd = of("/odd")[0].as_str().expect("why").to_owned();
    assert!(odd.starts_with("no valid answer: "), "{odd}");
    assert_eq!(of("/odd"), vec![&Value::from(odd.as_str()); 8]);
    assert_eq!(of("/well"), vec![&Value::Null; 8]);
    for (upstream, why) in [("down", &refused), ("odd", &odd)] {
        let told = format!("the upstream {upstream} gives no answer: {why}");
        assert_eq!(said.matches(&told).count(), 1, "{told}: {said}");
    }
    assert_eq!(said.matches("gives no answer").count(), 2, "{said}");
}

#[test]
fn an_upload_that_the_client_cut_is_nobody_elses_fault() {
    let house = house();
    let gateway = house.start();
    let chunked = [("Host", &*house.host()), ("Transfer-Encoding", "chunked")];
    let head = request("POST /well", &chunked, "");
    house.connect().ask(format!("{head}5\r\nxxxxx\r\n0\r\n\r\n")).expect(413);
    let said = gateway.said();
    gateway.stop();
    let line = &lines(&house)[0];
    assert_eq!((&line["upstream"], &line["status"]), (&"well".into(), &413.into()), "{line}");
    assert_eq!(line["error"], Value::Null, "{line}");
    assert!(!said.contains("gives no answer"), "{said}");
}

#[test]
fn a_client_that_stalls_is_told_apart_from_an_application_that_does() {
    let silent = Upstream::scripted(|_seen, stream| {
        let _ = stream.read(&mut [0; 1]);
        Then::Close
    });
    let house = House::new(&format!(
        "[upstreams.app]\nservers = [\"{}\"]\ntimeouts = {{ idle = \"300ms\", response = \"300ms\" }}\n\
         [[routes]]\npath = \"/*\"\naccess = \"public\"\nupstream = \"app\"\n",
        silent.url()
    ));
    let gateway = house.start();
    let stalls = house.request("POST /stalls", &[("Content-Length", "10")], "abc");
    house.connect().ask(stalls).expect(504);
    house.get("/waits", &[]).expect(504);
    let said = gateway.said();
    gateway.stop();
    let stalled = "timed out while the upload went on";
    let errors: Vec<_> = lines(&house).iter().map(|line| line["error"].clone()).collect();
    assert_eq!(errors, [stalled, "timed out"]);
    for why in [stalled, "timed out"] {
        let told = format!("the upstream app gives no answer: {why} (");
        assert_eq!(said.matches(&told).count(), 1, "{told}: {said}");
    }
}

/// Somebody who reads a FIFO, and nobody else with them.
fn reader(house: &House, name: &str) -> File {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open(house.path(name), flags, Mode::empty()).unwrap().into()
}

#[test]
fn a_fifo_is_a_log_as_long_as_somebody_reads_it_and_nobody_waits_for_that() {
    let mut house = house();
    house.reconfigure("access.log", "access.fifo");
    mkfifoat(CWD, house.path("access.fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    house.refusal().tells(&["cannot open the log", "access.fifo: nobody reads this FIFO"]);

    let mut fifo = reader(&house, "access.fifo");
    let gateway = house.start();
    house.get("/well", &[]).expect(200);
    let mut read = [0; 4096];
    let line = eventually("the line comes", || fifo.read(&mut read).ok().filter(|some| *some > 0));
    let line = String::from_utf8_lossy(&read[..line]);
    assert!(line.contains(r#""path":"/well""#), "{line}");

    drop(fifo);
    for told in [
        "cannot reopen the log: ",
        "not reloaded, the configuration in force stays: cannot open the log: ",
    ] {
        // Again and again: for a moment, a process that another test begins has the reader too.
        eventually(told, || {
            gateway.signal(Signal::HUP);
            gateway.said().contains(told).then_some(())
        });
    }
    house.get("/well", &[]).expect(200);
    gateway.stop();
}
