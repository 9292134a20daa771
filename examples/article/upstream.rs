//! The application of the article, behind the gateway: it knows no passwords and no tokens. Who is
//! asking stands in two headers that only the gateway can have written.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde::Serialize;

/// Listens on the address given, or on 127.0.0.1:8001.
fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8001".to_owned());
    let listener = TcpListener::bind(&address).map_err(|error| format!("{address}: {error}"))?;
    for connection in listener.incoming() {
        let connection = connection?;
        thread::spawn(move || serve(&connection));
    }
    Ok(())
}

/// One request, one answer.
fn serve(mut connection: &TcpStream) -> io::Result<()> {
    let request = Request::read(connection)?;
    let (status, body) = answer(&request);
    write!(
        connection,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

fn answer(request: &Request) -> (&'static str, String) {
    match request.line.as_str() {
        "GET /me HTTP/1.1" => ("200 OK", json(&request.caller())),
        "GET /admin/metrics HTTP/1.1" => ("200 OK", json(&Metrics { ok: true, metrics: 42 })),
        _ => ("404 Not Found", r#"{"detail":"Not Found"}"#.to_owned()),
    }
}

#[derive(Serialize)]
struct Caller<'a> {
    username: &'a str,
    role: &'a str,
}

#[derive(Serialize)]
struct Metrics {
    ok: bool,
    metrics: u32,
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The request line and the headers; the bodies of this application's requests are empty.
struct Request {
    line: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn read(connection: &TcpStream) -> io::Result<Self> {
        let mut lines = BufReader::new(connection.take(65536)).lines();
        let line = lines.next().transpose()?.unwrap_or_default();
        let mut headers = Vec::new();
        while let Some(text) = lines.next().transpose()? {
            let Some((name, value)) = text.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Self { line, headers })
    }

    /// Who the gateway says is asking; the first role is the article's `role`.
    fn caller(&self) -> Caller<'_> {
        let roles = self.header("remote-groups");
        let role = roles.split_once(',').map_or(roles, |(first, _)| first);
        Caller { username: self.header("remote-user"), role }
    }

    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }
}
