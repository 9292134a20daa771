//! The demo's application: it has no login of its own and shows who it was told is there.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use askama::Template;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// Starts it on a port of its own, on a thread of its own, until the process ends.
pub(super) fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let serve = async move {
        let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
            return;
        };
        while let Ok((stream, _)) = listener.accept().await {
            let connection = http1::Builder::new().serve_connection(
                TokioIo::new(stream),
                service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) }),
            );
            tokio::spawn(connection);
        }
    };
    thread::Builder::new().name("sample".to_owned()).spawn(move || runtime.block_on(serve))?;
    Ok(address)
}

/// What the application was told, as a page.
#[derive(Template)]
#[template(path = "sample.html")]
struct Page<'a> {
    path: &'a str,
    user: Option<&'a str>,
    headers: Vec<(&'a str, &'a str)>,
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (headers, path) = (request.headers(), request.uri().path());
    let (text, kind) = if said(headers, ACCEPT.as_str()).is_some_and(|a| a.contains("text/html")) {
        (page(headers, path), "text/html; charset=utf-8")
    } else {
        let told = |name| said(headers, name).unwrap_or("(not told)");
        let (user, groups) = (told("remote-user"), told("remote-groups"));
        let line = format!("{} {path}", request.method());
        (
            format!("{line}\nRemote-User: {user}\nRemote-Groups: {groups}\n"),
            "text/plain; charset=utf-8",
        )
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

fn page(headers: &HeaderMap, path: &str) -> String {
    let lines = IDENTITY.into_iter().filter_map(|name| {
        let value = said(headers, name)?;
        Some((name, value))
    });
    let page = Page { path, user: said(headers, "remote-user"), headers: lines.collect() };
    page.render().unwrap_or_default()
}

fn said<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What says who is there, and by which way they came.
const IDENTITY: [&str; 7] = [
    "Remote-User",
    "Remote-Groups",
    "Remote-Name",
    "Remote-Email",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Request-Id",
];
