//! An upstream that keeps every byte it gets, and answers what it is told to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// One request as the upstream read it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

impl Seen {
    /// `GET /path`
    pub fn line(&self) -> &str {
        let line = self.head.split("\r\n").next().unwrap_or_default();
        line.strip_suffix(" HTTP/1.1").unwrap_or(line)
    }

    /// Every value of a header, names compared without case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, v)| v)
            .collect()
    }

    /// The one value of a header; more than one is a fault.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} comes {} times: {}", all.len(), self.head);
        all.first().copied()
    }

    /// Name and value of every header line.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.trim()))
    }
}

type Script = dyn Fn(&Seen, &mut TcpStream) -> Then + Send + Sync;

/// What an upstream does after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    KeepOpen,
    Close,
}

/// A listening upstream. Its thread ends with the process.
#[derive(Clone)]
pub struct Upstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    /// Answers 200 with `hello` to everything.
    pub fn hello() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    }

    /// Answers everything with these bytes.
    pub fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::scripted(move |_, stream| {
            let _ = stream.write_all(&bytes);
            Then::KeepOpen
        })
    }

    /// Answers by a script, once the request has been read whole.
    pub fn scripted(
        script: impl Fn(&Seen, &mut TcpStream) -> Then + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("an upstream binds");
        let upstream = Self {
            address: listener.local_addr().expect("it has an address"),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (mine, script): (_, Arc<Script>) = (upstream.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                mine.connections.fetch_add(1, Ordering::SeqCst);
                let (mine, script) = (mine.clone(), Arc::clone(&script));
                thread::spawn(move || mine.serve(stream, &*script));
            }
        });
        upstream
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The one request that came.
    #[track_caller]
    pub fn only(&self) -> Seen {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen[0].clone()
    }

    /// The latest request.
    #[track_caller]
    pub fn last(&self) -> Seen {
        self.seen().last().expect("a request came").clone()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn serve(&self, mut stream: TcpStream, script: &Script) {
        let mut buffer = Vec::new();
        while let Some(seen) = read_request(&mut stream, &mut buffer) {
            self.seen.lock().unwrap().push(seen.clone());
            if script(&seen, &mut stream) == Then::Close {
                return;
            }
        }
    }
}

/// Reads one request, strictly framed; None: the connection ended.
pub fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        fill(stream, buffer)?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut seen = Seen { head, body: Vec::new() };
    let length = seen.header("content-length").map(|length| length.parse::<usize>().unwrap());
    if seen.header("transfer-encoding").is_some() {
        assert_eq!(length, None, "both framings: {}", seen.head);
        seen.body = read_chunks(stream, buffer)?;
    } else if let Some(length) = length {
        while buffer.len() < length {
            fill(stream, buffer)?;
        }
        seen.body = buffer.drain(..length).collect();
    }
    Some(seen)
}

fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = buffer.windows(2).position(|window| window == b"\r\n") {
                break at;
            }
            fill(stream, buffer)?;
        };
        let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end + 2);
        let size = usize::from_str_radix(&line, 16).unwrap_or_else(|_| panic!("chunk {line:?}"));
        while buffer.len() < size + 2 {
            fill(stream, buffer)?;
        }
        body.extend(buffer.drain(..size));
        let end: Vec<u8> = buffer.drain(..2).collect();
        assert_eq!(end, b"\r\n", "a chunk of {size} or a trailer");
        if size == 0 {
            return Some(body);
        }
    }
}

fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut bytes = [0; 16 * 1024];
    let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
    buffer.extend_from_slice(&bytes[..count]);
    Some(())
}
