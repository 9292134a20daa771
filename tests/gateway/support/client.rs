//! A client that sends exactly the bytes it is given.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::hush;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// An answer, as read from the socket.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of a name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Every header of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|bad| panic!("not JSON ({bad}): {self:?}",))
    }

    /// A member of the body, as text.
    #[track_caller]
    pub fn member(&self, name: &str) -> String {
        match &self.json()[name] {
            Value::String(text) => text.clone(),
            Value::Null => panic!("no member {name} in {}", self.text()),
            other => other.to_string(),
        }
    }

    /// `name=value` of every Set-Cookie, deletions too.
    pub fn cookies(&self) -> Vec<(String, String)> {
        self.all("set-cookie")
            .filter_map(|line| line.split(';').next()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The value that Set-Cookie gives a cookie whose name contains `part`.
    pub fn cookie(&self, part: &str) -> Option<String> {
        self.cookies().into_iter().find(|(name, _)| name.contains(part)).map(|(_, value)| value)
    }

    /// A `Cookie` header of everything that was set.
    pub fn cookie_header(&self) -> String {
        let pairs: Vec<_> =
            self.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{} {:?}", self.text(), self.headers);
        self
    }
}

/// One connection to a gateway.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    gateway: Option<SocketAddr>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("connects"))
    }

    /// Connects as a machine of another address.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("opens");
        socket.bind(&SocketAddr::new(source, 0).into()).expect("the address is this machine's");
        socket.connect(&address.into()).expect("connects");
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        stream.set_nodelay(true).expect("nodelay can be set");
        let gateway = stream.peer_addr().ok();
        Self { stream, read: Vec::new(), gateway }
    }

    /// Sends bytes; a gateway that has closed already is not an error here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        hush::sent(self.gateway, bytes.as_ref());
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub fn shutdown_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        let bytes = bytes.as_ref();
        self.send(bytes);
        let head = bytes.starts_with(b"HEAD ");
        self.answer_to(head).unwrap_or_else(|| {
            panic!("closed without an answer to {:?}", String::from_utf8_lossy(bytes))
        })
    }

    /// Reads one answer; None: the connection closed before one began.
    pub fn answer(&mut self) -> Option<Answer> {
        self.answer_to(false)
    }

    /// Reads one answer, to a HEAD or not, skipping interim ones but remembering nothing of them.
    pub fn answer_to(&mut self, head_only: bool) -> Option<Answer> {
        loop {
            let (status, headers) = self.head()?;
            if status == 100 {
                continue;
            }
            let mut answer = Answer { status, headers, body: Vec::new() };
            if !head_only && status != 204 && status != 304 {
                self.body(&mut answer);
            }
            hush::answered(self.gateway, &answer);
            return Some(answer);
        }
    }

    /// Reads an interim or final head.
    pub fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let end = loop {
            if let Some(at) = find(&self.read, b"\r\n\r\n") {
                break at;
            }
            if !self.fill() {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        self.read.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Some((status, headers))
    }

    fn body(&mut self, answer: &mut Answer) {
        if answer.header("transfer-encoding").is_some() {
            return self.chunks(answer);
        }
        match answer.header("content-length").and_then(|length| length.parse::<usize>().ok()) {
            Some(length) => {
                while self.read.len() < length && self.fill() {}
                answer.body = self.read.drain(..length.min(self.read.len())).collect();
            }
            None => answer.body = self.rest(),
        }
    }

    fn chunks(&mut self, answer: &mut Answer) {
        loop {
            let Some(line) = self.line() else { return };
            let Ok(size) = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
            else {
                return;
            };
            if size == 0 {
                while self.line().is_some_and(|line| !line.is_empty()) {}
                return;
            }
            while self.read.len() < size + 2 && self.fill() {}
            answer.body.extend(self.read.drain(..size.min(self.read.len())));
            self.read.drain(..2.min(self.read.len()));
        }
    }

    /// A line of what comes, without its end.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.read, b"\r\n") {
                let line = String::from_utf8_lossy(&self.read[..at]).into_owned();
                self.read.drain(..at + 2);
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// What was read beyond the answers so far, taken out.
    pub fn take_read(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.read)
    }

    /// Everything until the connection closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        self.take_read()
    }

    /// Whether the gateway has closed the connection, with nothing unread before.
    #[track_caller]
    pub fn is_closed(&mut self) -> bool {
        if !self.read.is_empty() {
            return false;
        }
        let mut byte = [0; 1];
        match self.stream.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => {
                self.read.push(byte[0]);
                false
            }
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => true,
                _ => panic!("neither closed nor answered within {PATIENCE:?}: {error}"),
            },
        }
    }

    /// Whether the connection ended with a reset rather than a clean end, after what came before.
    pub fn ended_by_reset(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }

    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    panic!(
                        "nothing came for {PATIENCE:?}; so far: {:?}",
                        String::from_utf8_lossy(&self.read)
                    )
                }
                _ => false,
            },
        }
    }
}

/// The bytes of a request: head lines and body, with Host and Content-Length added where they are
/// missing.
pub fn request(line: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{line} HTTP/1.1\r\n");
    let has = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    if !has("host") {
        text += "Host: localhost\r\n";
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() && !has("content-length") && !has("transfer-encoding") {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    text + "\r\n" + body
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Longer than anything takes that works, on a busy machine: there OctoPrint makes its first page
/// for half a minute.
const PATIENCE: Duration = Duration::from_secs(60);
