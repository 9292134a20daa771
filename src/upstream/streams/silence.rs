//! Whether the server of a shared connection still gives a sign of life.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use super::Shared;

impl Shared {
    /// Waits until its server gives no sign of life: requests wait, nothing comes, and a ping has no
    /// answer, each for as long as a connection may take. Fails with the connection.
    ///
    /// It may die after its answer, so a request that begins in a silence is a reason to ask again.
    /// Servers of gRPC end a connection over a few pings in one silence: where two were answered, a new
    /// connection asks instead.
    pub(super) async fn fall_silent(&self, pings: PingPong) -> Result<(), h2::Error> {
        let patience = self.lease.pool().waits().connect;
        let mut pinger = Pinger { pings, is_owed: false };
        let mut asked: Option<Look> = None;
        let mut times = 0;
        loop {
            let look = self.look();
            sleep(patience).await;
            if !self.kept_waiting_since(look) || asked.is_some_and(|asked| asked.saw_all(look)) {
                continue;
            }
            if asked.is_none_or(|asked| asked.heard != look.heard) {
                times = 0;
            }
            if times == MOST_PINGS {
                if self.lease.pool().has_place() {
                    return Ok(());
                }
                continue;
            }
            times += 1;
            asked = Some(look);
            if !pinger.has_answer(patience).await? && self.heard.get() == look.heard {
                return Ok(());
            }
        }
    }

    fn look(&self) -> Look {
        Look {
            heard: self.heard.get(),
            begun: self.begun.get(),
            turns: self.turns.get(),
            waited: self.active.get() > 0,
        }
    }

    /// Whether some request has waited all the time and nothing came. A server that nobody asks owes
    /// nobody a sign.
    fn kept_waiting_since(&self, before: Look) -> bool {
        let now = self.look();
        before.waited && now.waited && now.turns == before.turns && now.heard == before.heard
    }
}

/// What has come of a connection at some moment.
#[derive(Clone, Copy)]
struct Look {
    heard: usize,
    begun: usize,
    turns: usize,
    waited: bool,
}

impl Look {
    /// Whether nothing has begun or come since.
    fn saw_all(self, later: Self) -> bool {
        (self.heard, self.begun) == (later.heard, later.begun)
    }
}

/// Asks a server for a sign of life. One ping at a time: h2 begins none while the last one's answer
/// is owed, even if nobody waits for it any more.
struct Pinger {
    pings: PingPong,
    is_owed: bool,
}

impl Pinger {
    async fn has_answer(&mut self, patience: Duration) -> Result<bool, h2::Error> {
        // One that came too late tells nothing of now.
        if self.is_owed {
            let late = poll_fn(|cx| Poll::Ready(self.pings.poll_pong(cx))).await;
            self.is_owed = late?.is_pending();
        }
        if !self.is_owed {
            self.pings.send_ping(Ping::opaque())?;
            self.is_owed = true;
        }
        let Ok(answer) = timeout(patience, poll_fn(|cx| self.pings.poll_pong(cx))).await else {
            return Ok(false);
        };
        self.is_owed = false;
        answer.map(|_pong| true)
    }
}

/// In one silence.
const MOST_PINGS: usize = 2;
