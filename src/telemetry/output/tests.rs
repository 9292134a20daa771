use std::io::Write;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::config::LogOutput;

/// An output that takes a batch only when the test lets it, and hands it over.
struct Gate {
    open: Receiver<()>,
    written: Sender<Vec<u8>>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _: Result<(), _> = self.open.recv();
        let _: Result<(), _> = self.written.send(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gate() -> (Sink, Sender<()>, Receiver<Vec<u8>>) {
    let (open, opened) = channel();
    let (written, batches) = channel();
    (Sink::to(Gate { open: opened, written }), open, batches)
}

fn bounds() -> Bounds {
    Bounds { bytes: 100, patience: Duration::from_millis(1), linger: Duration::ZERO }
}

fn lines(batches: &Receiver<Vec<u8>>) -> String {
    String::from_utf8(batches.try_iter().flatten().collect()).unwrap()
}

#[test]
fn a_stuck_output_costs_access_lines_which_are_counted() {
    let (access, open, batches) = gate();
    let writer = Writer::start(Sinks::new(access, Sink::to(io::sink())), bounds()).unwrap();
    let queue = writer.queue(Stream::Access);
    for number in 0..1000 {
        queue.offer(format!("line {number:04}\n").as_bytes());
    }
    drop(open);
    writer.flush();
    let written = lines(&batches);
    let lost = writer.lost(Stream::Access);
    // One batch in the thread's hands and one in the queue, of 100 bytes and a line at most.
    assert!(lost >= 1000 - 22, "{lost}");
    assert_eq!(u64::try_from(written.lines().count()).unwrap() + lost, 1000);
    assert!(written.lines().all(|line| line.len() == 9), "{written}");
    assert_eq!(writer.lost(Stream::Audit), 0);
}

#[test]
fn a_stuck_output_costs_no_audit_line() {
    let (audit, open, batches) = gate();
    let writer = Writer::start(Sinks::new(Sink::to(io::sink()), audit), bounds()).unwrap();
    let queue = writer.queue(Stream::Audit);
    let expected: Vec<String> = (0..60).map(|number| format!("line {number:04}")).collect();
    for line in &expected {
        queue.insist(format!("{line}\n").as_bytes());
    }
    drop(open);
    writer.flush();
    assert_eq!(lines(&batches).lines().collect::<Vec<_>>(), expected);
    assert_eq!(writer.lost(Stream::Audit), 0);
}

#[test]
fn an_audit_line_that_waits_for_room_goes_on_as_soon_as_there_is_some() {
    let (audit, open, batches) = gate();
    let patient = Bounds { patience: Duration::from_secs(3600), ..bounds() };
    let writer = Writer::start(Sinks::new(Sink::to(io::sink()), audit), patient).unwrap();
    let queue = writer.queue(Stream::Audit);
    queue.insist(&[b'a'; 100]);
    queue.insist(&[b'b'; 100]);
    let waiter = thread::spawn(move || queue.insist(b"c\n"));
    for _ in 0..3 {
        open.send(()).unwrap();
    }
    waiter.join().unwrap();
    drop(open);
    writer.flush();
    assert_eq!(lines(&batches), format!("{}{}c\n", "a".repeat(100), "b".repeat(100)));
}

/// Fails while it is told to, having written half.
struct Flaky {
    failures: u32,
    written: Sender<Vec<u8>>,
}

impl Write for Flaky {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let half = bytes.len().div_ceil(2);
        match self.failures {
            0 => self.written.send(bytes.to_vec()).map(|()| bytes.len()).map_err(io::Error::other),
            1 => {
                self.failures = 0;
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => {
                self.failures -= 1;
                self.written.send(bytes[..half].to_vec()).map(|()| half).map_err(io::Error::other)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_torn_line_is_counted_and_does_not_spoil_the_next() {
    let (written, batches) = channel();
    let access = Sink::to(Flaky { failures: 2, written });
    let writer = Writer::start(Sinks::new(access, Sink::to(io::sink())), bounds()).unwrap();
    let queue = writer.queue(Stream::Access);
    queue.offer(b"first\n");
    writer.flush();
    queue.offer(b"second\n");
    writer.flush();
    assert_eq!(lines(&batches), "fir\nsecond\n");
    assert_eq!(writer.lost(Stream::Access), 1);
}

#[test]
fn audit_lines_that_their_output_refuses_are_rescued_whole() {
    let (written, batches) = channel();
    let (saved, rescued) = channel();
    let audit = Sink::to(Flaky { failures: 2, written });
    let rescue = Box::new(Flaky { failures: 0, written: saved });
    let sinks = Sinks { rescue, ..Sinks::new(Sink::to(io::sink()), audit) };
    let writer = Writer::start(sinks, bounds()).unwrap();
    let queue = writer.queue(Stream::Audit);
    queue.insist(b"first\n");
    writer.flush();
    queue.insist(b"second\n");
    writer.flush();
    assert_eq!((lines(&rescued).as_str(), lines(&batches).as_str()), ("first\n", "fir\nsecond\n"));
    assert_eq!(writer.lost(Stream::Audit), 0);
}

#[test]
fn many_lines_are_one_write() {
    let (access, open, batches) = gate();
    let roomy = Bounds { bytes: 1 << 20, linger: Duration::from_secs(3600), ..bounds() };
    let writer = Writer::start(Sinks::new(access, Sink::to(io::sink())), roomy).unwrap();
    let queue = writer.queue(Stream::Access);
    for _ in 0..100 {
        queue.offer(b"a line\n");
    }
    drop(open);
    writer.flush();
    let sizes: Vec<usize> = batches.try_iter().map(|batch| batch.len()).collect();
    assert_eq!(sizes, [700]);
}

/// A syslog daemon, and what it got so far.
fn daemon(at: &std::path::Path) -> std::os::unix::net::UnixDatagram {
    let daemon = std::os::unix::net::UnixDatagram::bind(at).unwrap();
    daemon.set_nonblocking(true).unwrap();
    daemon
}

fn messages(daemon: &std::os::unix::net::UnixDatagram) -> Vec<String> {
    let mut all = Vec::new();
    let mut message = [0; 1024];
    while let Ok(length) = daemon.recv(&mut message) {
        all.push(String::from_utf8(message[..length].to_vec()).unwrap());
    }
    all
}

fn syslog(at: &std::path::Path) -> io::Result<Sink> {
    let clock = Clock::manual(Timestamp::from_millis(1_795_527_886_500));
    Sink::open(&LogOutput::Syslog(at.to_owned()), &clock)
}

#[test]
fn syslog_gets_a_message_for_each_line_with_facility_severity_and_stream() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("log");
    let refused = syslog(&at).err().unwrap().to_string();
    assert!(refused.starts_with("syslog at ") && refused.contains("/log: "), "{refused}");
    let listens = daemon(&at);
    let sinks = Sinks::new(syslog(&at).unwrap(), syslog(&at).unwrap());
    let writer = Writer::start(sinks, Bounds::default()).unwrap();
    let lines = [
        (Stream::Access, r#"{"time":"t","level":"info","path":"/\"level\":\"error\""}"#, 30),
        (Stream::Access, r#"{"time":"t","level":"error"}"#, 27),
        (Stream::Access, "time=t level=error method=GET", 27),
        (Stream::Audit, r#"{"time":"t","event":"auth.x","level":"warn"}"#, 84),
        (Stream::Audit, r#"{"time":"t","event":"auth.x","level":"debug"}"#, 87),
        (Stream::Audit, r#"{"time":"t","event":"auth.x","level":"info"}"#, 86),
    ];
    for (stream, line, priority) in lines {
        writer.queue(stream).insist(format!("{line}\n").as_bytes());
        writer.flush();
        let (id, name) = (std::process::id(), stream.as_str());
        let expected =
            format!("<{priority}>1 2026-11-24T13:44:46.5Z - portcullis {id} {name} - {line}");
        assert_eq!(messages(&listens), [expected]);
    }
    assert_eq!((writer.lost(Stream::Access), writer.lost(Stream::Audit)), (0, 0));
}

#[test]
fn a_syslog_daemon_that_was_restarted_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("log");
    let before = daemon(&at);
    let mut sinks = Sinks::new(Sink::to(io::sink()), syslog(&at).unwrap());
    assert_eq!(sinks.write(Stream::Audit, b"one\n"), 0);
    assert_eq!(messages(&before).len(), 1);
    drop(before);
    std::fs::remove_file(&at).unwrap();
    let after = daemon(&at);
    assert_eq!(sinks.write(Stream::Audit, b"two\nthree\n"), 0);
    let told = messages(&after);
    assert!(
        told.len() == 2 && told[0].ends_with("- two") && told[1].ends_with("- three"),
        "{told:?}"
    );
}

#[test]
fn what_syslog_does_not_take_at_once_is_lost_and_counted_and_audit_lines_are_rescued() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("log");
    let listens = daemon(&at);
    let (saved, rescued) = channel();
    let rescue = Box::new(Flaky { failures: 0, written: saved });
    let mut sinks = Sinks { rescue, ..Sinks::new(syslog(&at).unwrap(), syslog(&at).unwrap()) };
    // Nobody reads: the socket takes some and no more.
    let batch: String = (0..2000)
        .map(|number| {
            format!(
                "line {number:04}
"
            )
        })
        .collect();
    let lost = sinks.write(Stream::Access, batch.as_bytes());
    let taken = u64::try_from(messages(&listens).len()).unwrap();
    assert!(0 < taken && taken < 2000, "{taken}");
    assert_eq!(lost, 2000 - taken);
    assert_eq!(sinks.write(Stream::Audit, batch.as_bytes()), 0);
    let taken = u64::try_from(messages(&listens).len()).unwrap();
    let saved = u64::try_from(lines(&rescued).lines().count()).unwrap();
    assert_eq!(taken + saved, 2000, "each line once");
}
