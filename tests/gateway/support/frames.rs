//! A client of HTTP/2 that sends exactly the frames it is given (RFC 9113 section 4.1).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSeen {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// What a client was told in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An answer's status, on a stream.
    Status(u16),
    /// RST_STREAM with its error code.
    Reset(u32),
    /// GOAWAY with its error code.
    GoAway(u32),
    /// The connection ended without a word.
    Closed,
}

/// A connection that speaks HTTP/2 by prior knowledge.
pub struct Frames(TcpStream);

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as HPACK literals that enter no table (RFC 7541 section 6.2.2), names as they are given.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
        match length {
            Some(length) => [&[length], text.as_bytes()].concat(),
            None => [&long(text.len()), text.as_bytes()].concat(),
        }
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A length of 127 or more (RFC 7541 section 5.1).
fn long(length: usize) -> Vec<u8> {
    let mut bytes = vec![127];
    let mut left = length - 127;
    while left >= 128 {
        bytes.push(u8::try_from(left % 128).unwrap() | 128);
        left /= 128;
    }
    bytes.push(u8::try_from(left).unwrap());
    bytes
}

impl Frames {
    /// Connects, and greets with empty settings.
    pub fn connect(address: SocketAddr) -> Self {
        let mut frames = Self::connect_silently(address);
        frames.send(PREFACE);
        frames.send(frame(SETTINGS, 0, 0, &[]));
        frames
    }

    pub fn connect_silently(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
        stream.set_nodelay(true).expect("nodelay can be set");
        Self(stream)
    }

    /// Sends bytes; a gateway that has closed already is not an error here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// Sends bytes again and again and reads nothing, until the gateway breaks off; how many it took.
    #[track_caller]
    pub fn flood(&mut self, bytes: &[u8]) -> usize {
        self.0.set_write_timeout(Some(PATIENCE)).expect("a time-out can be set");
        let mut taken = 0;
        loop {
            match self.0.write(bytes) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("after {taken} bytes it takes nothing and does not break off either")
                }
                Err(_broken_off) => return taken,
            }
        }
    }

    /// The next frame; None: the connection ended.
    pub fn next(&mut self) -> Option<FrameSeen> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.read(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(FrameSeen { kind: head[3], flags: head[4], stream, payload })
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.0.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                panic!("nothing came for {PATIENCE:?}")
            }
            Err(_) => None,
        }
    }

    /// Reads on to the first frame of a kind.
    #[track_caller]
    pub fn until(&mut self, kind: u8) -> FrameSeen {
        loop {
            let frame =
                self.next().unwrap_or_else(|| panic!("ended before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// By how much the next WINDOW_UPDATE of a stream opens its window.
    #[track_caller]
    pub fn window_of(&mut self, stream: u32) -> i64 {
        loop {
            let update = self.until(WINDOW_UPDATE);
            if update.stream == stream {
                return u32::from_be_bytes(update.payload.try_into().unwrap()).into();
            }
        }
    }

    /// What becomes of what was sent: the first answer, reset, farewell or end.
    pub fn told(&mut self) -> Told {
        loop {
            let Some(frame) = self.next() else { return Told::Closed };
            let code =
                |from: usize| u32::from_be_bytes(frame.payload[from..from + 4].try_into().unwrap());
            match frame.kind {
                HEADERS => return Told::Status(status(&frame.payload)),
                RST_STREAM => return Told::Reset(code(0)),
                GOAWAY => return Told::GoAway(code(4)),
                _ => {}
            }
        }
    }
}

/// The status at the beginning of an answer's block: indexed, or a literal with an indexed name
/// (RFC 7541 appendix A has `:status` at 8 to 14).
fn status(block: &[u8]) -> u16 {
    match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        _ => {
            let coded = &block[2..2 + usize::from(block[1] & 0x7f)];
            if block[1] & 0x80 == 0 {
                return String::from_utf8_lossy(coded).parse().unwrap();
            }
            digits(coded)
        }
    }
}

/// Huffman codes of the digits (RFC 7541 appendix B): 0, 1 and 2 have five bits, the others six.
fn digits(coded: &[u8]) -> u16 {
    let bits: String = coded.iter().map(|byte| format!("{byte:08b}")).collect();
    let codes = [
        "00000", "00001", "00010", "011001", "011010", "011011", "011100", "011101", "011110",
        "011111",
    ];
    let (mut rest, mut number) = (bits.as_str(), 0);
    while let Some(digit) = codes.iter().position(|code| rest.starts_with(code)) {
        number = number * 10 + u16::try_from(digit).unwrap();
        rest = &rest[codes[digit].len()..];
        if number > 99 {
            break;
        }
    }
    number
}

/// RFC 9113 section 3.4.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(20);
