//! An upstream's end of HTTP/2 (RFC 9113), driven by the test.

use std::future::poll_fn;

use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use tokio::sync::mpsc;

use super::kinds::Stream;
use super::*;

pub(super) type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// One connection at its upstream's end.
pub(super) struct Server {
    asked: mpsc::UnboundedReceiver<Asked>,
    orders: mpsc::UnboundedSender<Order>,
}

pub(super) enum Order {
    SayFarewell,
    HangUp,
}

impl Server {
    pub(super) async fn accepted(house: &House) -> Self {
        Self::with(house, &h2::server::Builder::new()).await
    }

    pub(super) async fn with(house: &House, builder: &h2::server::Builder) -> Self {
        let connection = builder.handshake(house.accepted().await.0).await.unwrap();
        let (tell, asked) = mpsc::unbounded_channel();
        let (orders, ordered) = mpsc::unbounded_channel();
        tokio::task::spawn_local(Self::serve(connection, tell, ordered));
        Self { asked, orders }
    }

    async fn serve(
        mut connection: Connection<Box<dyn Stream>, Bytes>,
        tell: mpsc::UnboundedSender<Asked>,
        mut ordered: mpsc::UnboundedReceiver<Order>,
    ) {
        let mut farewell = false;
        loop {
            tokio::select! {
                asked = connection.accept() => match asked {
                    Some(Ok(asked)) => drop(tell.send(asked)),
                    Some(Err(_)) | None => return,
                },
                order = ordered.recv(), if !farewell => match order {
                    Some(Order::SayFarewell) => connection.graceful_shutdown(),
                    Some(Order::HangUp) => return,
                    None => farewell = true,
                }
            }
        }
    }

    pub(super) async fn asked(&mut self) -> Asked {
        self.asked.recv().await.expect("a request")
    }

    /// The connection has ended.
    pub(super) async fn over(mut self) {
        assert!(self.asked.recv().await.is_none(), "one more request");
    }

    pub(super) fn order(&self, order: Order) {
        self.orders.send(order).ok().unwrap();
    }
}

pub(super) fn answer(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).unwrap()
}

pub(super) fn ok(mut respond: SendResponse<Bytes>, body: &'static str) {
    let mut stream = respond.send_response(answer(200), false).unwrap();
    stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
}

pub(super) async fn house() -> House {
    House::over(Kind::H2c, |_| {}).await
}

/// A client that asks, and its request at the upstream.
pub(super) async fn ask(house: &House, server: &mut Server, request: &str) -> (Wire, Asked) {
    let mut client = house.client().await;
    client.send(request).await;
    (client, server.asked().await)
}

/// The same on a connection that is made for it.
pub(super) async fn begin(house: &House, request: &str) -> (Wire, Server, Asked) {
    let mut client = house.client().await;
    client.send(request).await;
    let mut server = Server::accepted(house).await;
    let asked = server.asked().await;
    (client, server, asked)
}

pub(super) const GET: &str = "GET /a?b HTTP/1.1\r\nHost: h:8\r\n\r\n";
pub(super) const POST: &str = "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";

pub(super) async fn body_of(asked: &mut Request<RecvStream>) -> String {
    let mut body = String::new();
    while let Some(data) = asked.body_mut().data().await {
        body.push_str(std::str::from_utf8(&data.unwrap()).unwrap());
    }
    body
}

pub(super) async fn reset_of(respond: &mut SendResponse<Bytes>) -> Reason {
    poll_fn(|cx| respond.poll_reset(cx)).await.unwrap()
}
