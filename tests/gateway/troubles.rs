//! What the operator is told of what is broken: an application that gives no answer, a log that
//! nobody reads.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};

use rustix::fs::{CWD, Mode, OFlags, fcntl_getfl, fcntl_setfl, mkfifoat, open};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{House, Process, Then, Upstream, eventually, free_port, request};

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
    let said = gateway.stop();

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
    let said = gateway.stop();
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
    let said = gateway.stop();
    let stalled = "timed out while the upload went on";
    let errors: Vec<_> = lines(&house).iter().map(|line| line["error"].clone()).collect();
    assert_eq!(errors, [stalled, "timed out"]);
    for why in [stalled, "timed out"] {
        let told = format!("the upstream app gives no answer: {why} (");
        assert_eq!(said.matches(&told).count(), 1, "{told}: {said}");
    }
}

#[test]
fn an_application_that_breaks_off_its_answer_is_at_fault_and_a_client_that_leaves_is_not() {
    let dying = Upstream::scripted(|_seen, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789");
        Then::Close
    });
    let hanging = Upstream::scripted(|_seen, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n0123456789");
        Then::KeepOpen
    });
    let route = |name: &str, url: &str| {
        format!(
            "[upstreams.{name}]\nservers = [\"{url}\"]\n[[routes]]\npath = \"/{name}\"\n\
             access = \"public\"\nupstream = \"{name}\"\n"
        )
    };
    let house = House::new(&(route("dying", &dying.url()) + &route("hanging", &hanging.url())));
    let gateway = house.start();
    let ask = |path: &str| {
        let mut client = house.connect();
        client.send(house.request(&format!("GET {path}"), &[], ""));
        client
    };
    assert!(ask("/dying").ended_by_reset(), "a cut answer is not taken for a whole one");
    ask("/hanging").head().expect("the head of the answer");
    gateway.stop();
    let lines = lines(&house);
    let of = |path: &str| lines.iter().find(|line| line["path"] == path).expect("a line");
    let (broken, left) = (of("/dying"), of("/hanging"));
    assert_eq!((&broken["level"], &broken["aborted"]), (&"error".into(), &true.into()), "{broken}");
    let why = broken["error"].as_str().unwrap_or_default();
    assert!(why.starts_with("the answer broke off: "), "{broken}");
    assert_eq!((&left["level"], &left["aborted"]), (&"info".into(), &true.into()), "{left}");
    assert_eq!(left["error"], Value::Null, "{left}");
}

#[test]
fn a_lack_of_descriptors_is_told_with_its_limit_and_ends_with_them() {
    let house = house();
    let gateway = house.start();
    let limit = gateway.limit_descriptors(8);
    let crowd: Vec<_> = (0..40).map(|_| house.connect()).collect();
    eventually("the operator is told", || {
        gateway.said().contains("cannot be accepted").then_some(())
    });
    drop(crowd);
    house.get("/well", &[]).expect(200);
    let said = gateway.stop();
    let told = format!("the limit of open files is {limit}");
    assert_eq!(said.matches(&told).count(), 1, "{said}");
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

/// A pipe that takes no byte more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while writer.write(&vec![b'.'; size]).is_ok() {}
    }
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

fn start_telling(house: &House, stderr: PipeWriter) -> Process {
    let mut command = house.command(&["run"]);
    command.stderr(stderr);
    house.start_silent(command, house.address())
}

#[test]
fn a_standard_error_that_nobody_reads_holds_up_neither_requests_nor_the_end() {
    for signals in [&[Signal::TERM][..], &[Signal::TERM, Signal::INT]] {
        let mut house = house();
        house.reconfigure("workers = 2", "workers = 1");
        let (_nobody, stuck) = full_pipe();
        let mut gateway = start_telling(&house, stuck);
        let elsewhere = request("GET /well", &[("Host", "elsewhere.example")], "");
        house.connect().ask(elsewhere).expect(421);
        house.get("/down", &[]).expect(502);
        house.get("/well", &[]).expect(200);
        for signal in signals {
            gateway.signal(*signal);
        }
        assert_eq!(gateway.end().code(), Some(0), "{signals:?}");
    }
}

#[test]
fn what_a_standard_error_did_not_take_at_once_is_told_in_order_when_it_does() {
    let house = house();
    let (mut reader, stuck) = full_pipe();
    let mut gateway = start_telling(&house, stuck);
    house.get("/down", &[]).expect(502);
    house.get("/odd", &[]).expect(502);
    let mut said = Vec::new();
    let mut tells = |part: &str| {
        loop {
            let text = String::from_utf8_lossy(&said).into_owned();
            if let Some(at) = text.find(part) {
                return at;
            }
            let mut some = [0; 4096];
            let read = reader.read(&mut some).unwrap();
            assert!(read > 0, "{part}: {text}");
            said.extend_from_slice(&some[..read]);
        }
    };
    tells("portcullis listens on ");
    let down = tells("the upstream down gives no answer");
    let odd = tells("the upstream odd gives no answer");
    assert!(down < odd);
    gateway.signal(Signal::HUP);
    assert!(odd < tells("is in force, as configuration 2"));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.end().code(), Some(0));
}

#[test]
fn a_refusal_to_start_that_nobody_reads_ends_all_the_same() {
    let house = house();
    let taken = std::net::TcpListener::bind(house.address()).unwrap();
    let (_nobody, stuck) = full_pipe();
    let mut command = house.command(&["run"]);
    let mut refused = command.stderr(stuck).spawn().unwrap();
    let ended = eventually("it ends", || refused.try_wait().unwrap());
    assert_eq!(ended.code(), Some(1));
    drop(taken);
}

#[test]
fn a_second_signal_ends_even_what_waits_for_a_reader_of_its_output() {
    let house = House::new("");
    let listen = format!("127.0.0.1:{}", free_port());
    let (_nobody, stuck) = full_pipe();
    let mut command = house.command(&["demo", "--listen", &listen]);
    command.stdout(stuck);
    let mut demo = house.start_silent(command, listen.parse().unwrap());
    demo.signal(Signal::INT);
    demo.signal(Signal::TERM);
    assert_eq!(demo.end().code(), Some(1));
}
