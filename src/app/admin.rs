//! The admin listener: `/healthz`, `/readyz` and `/metrics`, and nothing else, ever.

use std::convert::Infallible;
use std::future::pending;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Phase;
use super::office::{Office, start};
use crate::request::Host;
use crate::store::Unavailable;

struct Desk {
    office: Office,
    loopback: bool,
    watching: watch::Receiver<Phase>,
}

/// Serves until dropped; without a listener, for ever and nothing.
pub(super) async fn serve(
    office: &Office,
    listener: Option<TcpListener>,
    watching: watch::Receiver<Phase>,
) {
    let listener = listener.and_then(|listener| tokio::net::TcpListener::from_std(listener).ok());
    let Some(listener) = listener else {
        return pending().await;
    };
    let bound = listener.local_addr().ok();
    let loopback = bound.is_some_and(|address: SocketAddr| address.ip().is_loopback());
    let desk = Arc::new(Desk { office: office.clone(), loopback, watching });
    loop {
        let accepted = listener.accept().await;
        let accepted = accepted.map(|(stream, _)| connection(Arc::clone(&desk), stream));
        start(accepted, &office.telemetry).await;
    }
}

async fn connection(desk: Arc<Desk>, stream: TcpStream) {
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(&request).await) }
    });
    // A broken connection of a probe is the probe's affair.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Desk {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if self.loopback && !is_local(request.headers()) {
            return text(StatusCode::MISDIRECTED_REQUEST, "ask by address or as localhost\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready().await,
            "/metrics" => self.metrics().await,
            _ => text(StatusCode::NOT_FOUND, "/healthz /readyz /metrics\n"),
        }
    }

    async fn ready(&self) -> Response<Full<Bytes>> {
        if *self.watching.borrow() != Phase::Serving {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        let auth = self.office.auth();
        // Whoever reads may be answered while somebody else holds the lock for writing.
        match tokio::try_join!(auth.store().ping(), auth.store().has_users()) {
            Ok(((), false)) => text(StatusCode::OK, NO_USERS),
            Ok(((), true)) => text(StatusCode::OK, "ready\n"),
            Err(Unavailable(cause)) => {
                let told = format!("the store does not answer: {cause}\n");
                text(StatusCode::SERVICE_UNAVAILABLE, told)
            }
        }
    }

    async fn metrics(&self) -> Response<Full<Bytes>> {
        self.office.measure().await;
        let mut answer = text(StatusCode::OK, self.office.telemetry.render());
        let prometheus = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(CONTENT_TYPE, prometheus);
        answer
    }
}

/// Said by `/readyz` and on the console.
pub(super) const NO_USERS: &str = "no users yet: portcullis user add NAME --role admin\n";

/// An address literal or `localhost`, so that no web page can point a browser here by a name of its own.
fn is_local(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let host = host.to_str().ok().and_then(|host| Host::read(host).ok());
    host.is_some_and(|host| {
        let name = host.name.as_str();
        let literal = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || literal.parse::<IpAddr>().is_ok()
    })
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(text.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
