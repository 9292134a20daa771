use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;
use tokio::task::yield_now;

use super::*;
use crate::config::Protocol;
use crate::upstream::tests::{config, run};
use crate::upstream::{Health, Pools};

/// A request that waits, and whether it was woken since it was last polled.
struct Waiter {
    wait: Pin<Box<dyn Future<Output = Result<Option<Ticket>, Failure>>>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Waiter {
    fn of(pool: &Rc<Pool>) -> Self {
        let pool = Rc::clone(pool);
        let wait = async move { place(&pool, Sharing::Allowed, Duration::from_secs(60)).await };
        Self { wait: Box::pin(wait), woken: Arc::default() }
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed)
    }

    fn poll(&mut self) -> Option<Ticket> {
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        match self.wait.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(told) => Some(told.unwrap().expect("a place")),
            Poll::Pending => None,
        }
    }
}

/// Requests that come, wait, end and leave in any order.
struct Rush {
    pool: Rc<Pool>,
    held: Vec<Ticket>,
    waiters: Vec<Waiter>,
    random: StdRng,
}

impl Rush {
    fn any(&mut self, of: usize) -> usize {
        self.random.random_range(0..of)
    }

    fn step(&mut self) {
        match self.any(7) {
            0..=2 => self.come(),
            3 if !self.held.is_empty() => {
                let at = self.any(self.held.len());
                drop(self.held.swap_remove(at));
            }
            4 if !self.held.is_empty() => {
                let at = self.any(self.held.len());
                self.held[at].retire();
            }
            5 if !self.waiters.is_empty() => {
                let at = self.any(self.waiters.len());
                drop(self.waiters.swap_remove(at));
            }
            _ => self.wake(),
        }
    }

    fn come(&mut self) {
        let waiting = self.pool.streams().queue.len();
        let mut waiter = Waiter::of(&self.pool);
        match waiter.poll() {
            Some(ticket) => {
                assert_eq!(waiting, 0, "whoever waits was overtaken");
                self.held.push(ticket);
            }
            None => {
                let now = self.pool.streams().queue.len();
                assert!(waiting == 0 || now == waiting + 1, "whoever waits was overtaken");
                self.waiters.push(waiter);
            }
        }
    }

    fn wake(&mut self) {
        let woken = self.waiters.iter().filter(|waiter| waiter.is_woken()).count();
        if woken > 0 {
            let which = self.any(woken);
            let mut all = 0..self.waiters.len();
            let at = all.by_ref().filter(|at| self.waiters[*at].is_woken()).nth(which).unwrap();
            if let Some(ticket) = self.waiters[at].poll() {
                self.held.push(ticket);
                drop(self.waiters.remove(at));
            }
        }
    }

    /// Until all servers have said how many streams they take.
    async fn settle(&self) {
        let is_told = |shared: &Rc<Shared>| {
            let sender = shared.sender.borrow();
            sender.as_ref().is_none_or(|sender| sender.current_max_send_streams() == 2)
        };
        while !self.pool.streams().open.borrow().iter().all(is_told) {
            yield_now().await;
        }
    }

    fn check(&self) {
        let streams = self.pool.streams();
        let asleep = !streams.queue.is_empty() && streams.queue.woken() == 0;
        assert!(!asleep || streams.room(&self.pool) == 0, "free places and all who wait asleep");
    }
}

#[test]
fn no_stream_is_free_while_all_who_wait_are_asleep_and_nobody_overtakes_them() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = config(listener.local_addr().unwrap().port());
        (config.max_connections, config.servers[0].protocol) = (2, Protocol::H2c);
        tokio::task::spawn_local(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let mut narrow = h2::server::Builder::new();
                let handshake = narrow.max_concurrent_streams(2).handshake::<_, Bytes>(socket);
                tokio::task::spawn_local(async move {
                    let Ok(mut connection) = handshake.await else { return };
                    while connection.accept().await.is_some() {}
                });
            }
        });
        for seed in 0..100 {
            let pools = Pools::new(&[config.clone()], 1, &Health::default()).unwrap();
            let pool = Rc::clone(
                pools.group(0).first(crate::upstream::group::Asker::default()).unwrap().1,
            );
            let random = StdRng::seed_from_u64(seed);
            let mut rush = Rush { pool, held: Vec::new(), waiters: Vec::new(), random };
            for _ in 0..80 {
                rush.step();
                rush.check();
                yield_now().await;
                rush.settle().await;
            }
            while !rush.waiters.is_empty() {
                rush.held.pop();
                rush.wake();
                rush.check();
                yield_now().await;
                rush.settle().await;
            }
        }
    });
}
