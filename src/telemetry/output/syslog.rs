//! Syslog: each line a datagram (RFC 5424) to a socket of this machine. The thread that writes waits a
//! moment for whoever listens there, and the workers not at all.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

use super::Stream;
use crate::clock::Clock;

/// How long a batch waits for a daemon that does not keep up.
const PATIENCE: Duration = Duration::from_millis(50);

/// The way to a syslog daemon.
pub(super) struct Syslog {
    path: PathBuf,
    socket: UnixDatagram,
    clock: Clock,
    message: Vec<u8>,
}

impl Syslog {
    /// Connects; the error names the socket.
    pub(super) fn open(path: &Path, clock: &Clock) -> io::Result<Self> {
        let socket = connect(path)?;
        Ok(Self { path: path.to_owned(), socket, clock: clock.clone(), message: Vec::new() })
    }

    /// Finds whoever listens now.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.socket = connect(&self.path)?;
        Ok(())
    }

    /// Sends whole lines. Those that were not taken are added to `left`; the first cause.
    pub(super) fn write(
        &mut self,
        (stream, batch): (Stream, &[u8]),
        left: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut outcome = Ok(());
        // A daemon that does not keep up is waited for once, not for every line.
        self.socket.set_nonblocking(false)?;
        for line in batch.split_inclusive(|byte| *byte == b'\n') {
            if let Err(cause) = self.send(stream, line) {
                left.extend_from_slice(line);
                if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
                    outcome = outcome.and(self.socket.set_nonblocking(true));
                }
                outcome = outcome.and(Err(cause));
            }
        }
        outcome
    }

    /// A daemon that was restarted listens at another socket of the same name.
    fn send(&mut self, stream: Stream, line: &[u8]) -> io::Result<()> {
        self.compose(stream, line)?;
        match self.socket.send(&self.message) {
            Ok(_) => Ok(()),
            Err(cause) if is_gone(&cause) => {
                self.reopen()?;
                self.socket.send(&self.message).map(drop)
            }
            Err(cause) => Err(cause),
        }
    }

    /// `<PRI>1 TIMESTAMP HOSTNAME APP-NAME PROCID MSGID STRUCTURED-DATA MSG` (section 6).
    fn compose(&mut self, stream: Stream, line: &[u8]) -> io::Result<()> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let priority = facility(stream) * 8 + severity(line);
        let (now, id, name) = (self.clock.now(), process::id(), stream.as_str());
        self.message.clear();
        write!(self.message, "<{priority}>1 {now} - portcullis {id} {name} - ")?;
        self.message.extend_from_slice(line);
        Ok(())
    }
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let connect = || {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.connect(path)?;
        Ok(socket)
    };
    connect().map_err(|cause: io::Error| {
        io::Error::new(cause.kind(), format!("syslog at {}: {cause}", path.display()))
    })
}

fn is_gone(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotConnected)
}

/// RFC 5424 section 6.2.1: system daemons, and security messages that not everybody may read.
const fn facility(stream: Stream) -> u8 {
    match stream {
        Stream::Access => 3,
        Stream::Audit => 10,
    }
}

/// Of the level, which is one of a line's first fields: before anything that comes from outside.
fn severity(line: &[u8]) -> u8 {
    let beginning = line.get(..LEVEL_WITHIN).unwrap_or(line);
    let says = |field: &str| beginning.windows(field.len()).any(|part| part == field.as_bytes());
    let of = LEVELS.iter().find(|(json, text, _)| says(json) || says(text));
    of.map_or(INFORMATIONAL, |(_, _, severity)| *severity)
}

/// As JSON and as text, with the severities of section 6.2.1.
const LEVELS: [(&str, &str, u8); 3] = [
    ("\"level\":\"error\"", " level=error ", 3),
    ("\"level\":\"warn\"", " level=warn ", 4),
    ("\"level\":\"debug\"", " level=debug ", 7),
];
const INFORMATIONAL: u8 = 6;

/// Time, event and level of every line lie within so many bytes.
const LEVEL_WITHIN: usize = 120;

#[cfg(test)]
mod tests {
    use rustix::fs::{OFlags, fcntl_getfl};

    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn only_a_daemon_that_does_not_keep_up_is_waited_for_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("log");
        let _daemon = UnixDatagram::bind(&at).unwrap();
        let mut syslog = Syslog::open(&at, &Clock::manual(Timestamp::from_secs(0))).unwrap();
        let mut write = |batch: &[u8]| {
            let mut left = Vec::new();
            let outcome = syslog.write((Stream::Access, batch), &mut left);
            let waits = !fcntl_getfl(&syslog.socket).unwrap().contains(OFlags::NONBLOCK);
            (outcome.is_ok(), waits, left.len())
        };
        let long = [vec![b'x'; 4 << 20], b"\n".to_vec()].concat();
        let both = [&long[..], b"short\n"].concat();
        assert_eq!(write(&both), (false, true, long.len()), "no datagram holds it");
        let many = "a line\n".repeat(2000);
        let (_, waits, left) = write(many.as_bytes());
        assert!(!waits && left > 0, "nobody reads: {left} bytes are left");
    }
}
