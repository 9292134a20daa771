//! An upstream that keeps the very bytes of each request, by the number of its case.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Listens until the process ends.
#[derive(Clone)]
pub struct Recorder {
    port: u16,
    seen: Arc<Mutex<HashMap<u32, Vec<Vec<u8>>>>>,
}

impl Recorder {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("it binds");
        let port = listener.local_addr().expect("an address").port();
        let recorder = Self { port, seen: Arc::default() };
        let mine = recorder.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mine = mine.clone();
                thread::spawn(move || mine.serve(stream));
            }
        });
        recorder
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Takes what came of a case.
    pub fn take(&self, case: u32) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().remove(&case).unwrap_or_default()
    }

    /// What is left: cases that nobody asked for, or what had no number.
    pub fn rest(&self) -> Vec<Vec<u8>> {
        self.seen.lock().unwrap().drain().flat_map(|(_, all)| all).collect()
    }

    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut read = Vec::new();
        while let Some(length) = next(&mut stream, &mut read) {
            let bytes: Vec<u8> = read.drain(..length).collect();
            let case = number(&bytes).unwrap_or(u32::MAX);
            self.seen.lock().unwrap().entry(case).or_default().push(bytes);
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    }
}

/// The length of the next request, once it is there whole; None: no more come.
fn next(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(length) = length(read) {
            return Some(length);
        }
        let mut bytes = [0; 16 * 1024];
        let count = stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
        read.extend_from_slice(&bytes[..count]);
    }
}

fn length(read: &[u8]) -> Option<usize> {
    let head = find(read, b"\r\n\r\n")? + 4;
    let lines = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let value = |name: &str| {
        lines.split("\r\n").find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
    };
    if value("transfer-encoding:").is_some() {
        return Some(head + chunked(&read[head..])?);
    }
    let length = value("content-length:").map_or(0, |length| length.parse().expect("a length"));
    (read.len() >= head + length).then_some(head + length)
}

fn chunked(body: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&body[at..], b"\r\n")?;
        let size = String::from_utf8_lossy(&body[at..at + line]).into_owned();
        let size = usize::from_str_radix(&size, 16).expect("a size and nothing else");
        at += line + 2 + size + 2;
        if body.len() < at {
            return None;
        }
        if size == 0 {
            return Some(at);
        }
    }
}

fn number(request: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(request);
    text.split("\r\n").find_map(|line| line.strip_prefix("x-case: ")?.parse().ok())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
