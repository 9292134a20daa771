use bytes::BytesMut;
use http::Response;
use http_body_util::Empty;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;

struct Nothing;

/// No body, with the error type that a service's has.
struct NoBody(Empty<Bytes>);

impl Body for NoBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

impl Service for Nothing {
    type Body = NoBody;
    type Tunnel = Infallible;

    fn tunnel(_body: &mut NoBody) -> Option<Infallible> {
        None
    }

    async fn serve(
        self: Rc<Self>,
        request: Request<Incoming>,
        _peer: Peer,
        _cut: Rc<Cut>,
    ) -> Response<NoBody> {
        if request.uri() == "/late" {
            sleep(Duration::from_millis(35)).await;
        }
        Response::new(NoBody(Empty::new()))
    }

    fn parse_error(&self, _error: ParseError, _peer: Peer) {}

    fn turned_away(&self, _peer: Peer) {}

    fn cannot_accept(&self, _cause: &std::io::Error) {}
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), test).await.expect("it hangs") });
}

/// A busy time of a connection whose client has sent this and reads the answer: the beginning of
/// that if it comes before the end, and the end.
async fn busy_after(sent: &str, pace: Pace) -> (Option<String>, End, TcpStream) {
    busy_between(sent, "", pace).await
}

/// The same, of a client that sends more once its request was read.
async fn busy_between(sent: &str, more: &str, pace: Pace) -> (Option<String>, End, TcpStream) {
    let settings = Settings {
        header_timeout: Duration::from_millis(20),
        handshake_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_secs(10),
        head_bytes: 64 * 1024,
        fields: 100,
    };
    let shared = Shared::new(Rc::new(Nothing), settings.into(), None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(sent.as_bytes()).await.unwrap();
    let (stream, address) = listener.accept().await.unwrap();
    let peer = Peer { address: address.ip(), port: address.port() };
    let from = Socketful { stream: Stream::Plain(stream.into()), rest: Bytes::new() };
    let mut busy = pin!(busy(from, peer, &shared, pace));
    if !more.is_empty() {
        tokio::select! {
            biased;
            end = &mut busy => return (None, end, client),
            () = sleep(Duration::from_millis(5)) => {}
        }
        client.write_all(more.as_bytes()).await.unwrap();
    }
    let read = tokio::select! {
        biased;
        end = &mut busy => return (None, end, client),
        read = read(&mut client) => read,
    };
    (Some(read), busy.await, client)
}

async fn read(client: &mut TcpStream) -> String {
    let mut read = vec![0; 256];
    let count = client.read(&mut read).await.unwrap();
    String::from_utf8_lossy(&read[..count]).into_owned()
}

/// Of its body hyper reads nothing while the answer is made.
const UNREAD: &str =
    "POST /late HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

#[track_caller]
fn assert_parked(end: End) {
    let End::Parked(parked) = end else { panic!("not parked") };
    assert_eq!(parked.rest, "");
    assert_eq!(BytesMut::from(parked.rest).capacity(), 0, "a buffer is kept");
}

#[track_caller]
fn assert_kept_alive(answer: &str) {
    let is_kept = answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("close");
    assert!(is_kept, "{answer:?}");
}

#[test]
fn a_connection_is_parked_with_its_answer() {
    run(async {
        let (early, end, mut client) = busy_after(REQUEST, Pace::Slow).await;
        assert_eq!(early, None);
        assert_parked(end);
        assert_kept_alive(&read(&mut client).await);
    });
}

#[test]
fn a_connection_in_use_is_parked_once_its_client_is_silent() {
    run(async {
        let (early, end, _client) = busy_after(REQUEST, Pace::Quick).await;
        assert_kept_alive(&early.expect("it waits for the next"));
        assert_parked(end);
    });
}

#[test]
fn a_connection_after_a_body_is_not_parked_at_once() {
    run(async {
        let whole = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
        let (early, end, _client) = busy_after(whole, Pace::Slow).await;
        assert_kept_alive(&early.expect("it waits"));
        assert_parked(end);
    });
}

/// The answer and the second tick come in one turn: hyper has not noticed yet that nobody reads.
#[test]
fn a_connection_whose_body_nobody_read_is_not_parked_by_a_tick_that_comes_with_the_answer() {
    run(async {
        tokio::task::spawn_local(async {
            sleep(Duration::from_millis(28)).await;
            let end = Instant::now() + Duration::from_millis(40);
            while Instant::now() < end {}
        });
        let sent = "POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nGET / HT";
        let (_, end, _client) = busy_after(sent, Pace::Slow).await;
        assert!(matches!(end, End::Linger(_)));
    });
}

/// It is read after the answer, and to the socket looks like a head that begins.
#[test]
fn the_rest_of_a_body_that_nobody_read_is_no_late_head() {
    run(async {
        for pace in [Pace::Slow, Pace::Quick] {
            let (early, end, _client) = busy_between(UNREAD, "hello", pace).await;
            assert_kept_alive(&early.expect("it waits"));
            assert_parked(end);
        }
    });
}

#[test]
fn a_head_that_has_begun_behind_a_body_is_late_and_empty_lines_are_no_pause() {
    run(async {
        for rest in ["GET", "\r\n", "G"] {
            let (_, end, _client) = busy_between(UNREAD, &format!("hello{rest}"), Pace::Slow).await;
            assert!(matches!(end, End::Gone), "{rest:?}");
        }
    });
}

#[test]
fn what_was_read_beyond_an_answer_is_parked_along() {
    run(async {
        let (early, end, _client) = busy_after(&format!("{REQUEST}GET"), Pace::Slow).await;
        assert_eq!(early, None);
        let End::Parked(parked) = end else { panic!("not parked") };
        assert_eq!(parked.rest, "GET");
    });
}

#[test]
fn a_request_to_close_is_not_parked() {
    run(async {
        let close = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        for request in [close, "GET / HTTP/1.0\r\n\r\n"] {
            for pace in [Pace::Slow, Pace::Quick] {
                let (_, end, _client) = busy_after(request, pace).await;
                assert!(matches!(end, End::Linger(_)), "{request:?}, {pace:?}");
            }
        }
    });
}

#[test]
fn a_parked_connection_is_small() {
    let parked = |stream, peer, shared, drain| serve::<Nothing>(stream, peer, shared, drain);
    fn size<F>(_: &impl Fn(Bare, Peer, Rc<Shared<Nothing>>, watch::Receiver<bool>) -> F) -> usize {
        std::mem::size_of::<F>()
    }
    let size = size(&parked);
    assert!(size <= 1024, "a parked connection takes {size} bytes");
}
