use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpListener;

use super::*;
use crate::upstream::tests::run;
use crate::upstream::{Health, Pools};

/// A request that waits, and whether it was woken since it was last polled.
struct Waiter {
    wait: Pin<Box<dyn Future<Output = Result<Room, Failure>>>>,
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
        let wait = async move { pool.wait_for_room(Duration::from_secs(60)).await };
        Self { wait: Box::pin(wait), woken: Arc::default() }
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed)
    }

    fn poll(&mut self) -> Option<Result<Room, Failure>> {
        self.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken));
        match self.wait.as_mut().poll(&mut Context::from_waker(&waker)) {
            std::task::Poll::Ready(told) => Some(told),
            std::task::Poll::Pending => None,
        }
    }
}

/// Requests that come, wait, end and leave in any order.
struct Rush {
    pool: Rc<Pool>,
    held: Vec<Room>,
    waiters: Vec<Waiter>,
    random: StdRng,
}

impl Rush {
    fn any(&mut self, of: usize) -> usize {
        self.random.random_range(0..of)
    }

    async fn step(&mut self) {
        match self.any(6) {
            0 | 1 => self.come(),
            2 if !self.held.is_empty() => {
                let at = self.any(self.held.len());
                drop(self.held.swap_remove(at));
            }
            3 if !self.held.is_empty() => {
                let at = self.any(self.held.len());
                let link = match self.held.swap_remove(at) {
                    Room::Link(link) => link,
                    Room::Lease(lease) => {
                        Pool::connect(lease, Duration::from_secs(9)).await.unwrap()
                    }
                };
                self.pool.keep(link);
            }
            4 if !self.waiters.is_empty() => {
                let at = self.any(self.waiters.len());
                drop(self.waiters.swap_remove(at));
            }
            _ => self.wake(),
        }
    }

    fn come(&mut self) {
        let somebody_waits = !self.waiters.is_empty();
        if let Some(room) = self.pool.room() {
            assert!(!somebody_waits, "whoever waits was overtaken");
            self.held.push(room);
            return;
        }
        let woken = self.waiters.iter().filter(|waiter| waiter.is_woken()).count();
        let is_spare = self.pool.free() > woken;
        let mut waiter = Waiter::of(&self.pool);
        match waiter.poll() {
            None => self.waiters.push(waiter),
            Some(Err(Failure::Full)) => assert!(!is_spare, "room is refused"),
            Some(told) => {
                assert!(!somebody_waits, "whoever waits was overtaken");
                self.held.push(told.unwrap());
            }
        }
    }

    fn wake(&mut self) {
        let Some(at) = self.waiters.iter().position(Waiter::is_woken) else { return };
        if let Some(told) = self.waiters[at].poll() {
            self.held.push(told.unwrap());
            drop(self.waiters.remove(at));
        }
    }

    fn check(&self) {
        let asleep = !self.waiters.is_empty() && !self.waiters.iter().any(Waiter::is_woken);
        assert!(!asleep || self.pool.free() == 0, "a free place and all who wait asleep");
    }
}

#[test]
fn no_place_is_free_while_all_who_wait_are_asleep_and_nobody_overtakes_them() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = crate::upstream::tests::config(listener.local_addr().unwrap().port());
        config.max_connections = 3;
        tokio::task::spawn_local(async move {
            loop {
                drop(listener.accept().await);
            }
        });
        for seed in 0..200 {
            let pools = Pools::new(&[config.clone()], 1, &Health::default()).unwrap();
            let pool = Rc::clone(
                pools.group(0).first(crate::upstream::group::Asker::default()).unwrap().1,
            );
            let random = StdRng::seed_from_u64(seed);
            let mut rush = Rush { pool, held: Vec::new(), waiters: Vec::new(), random };
            for _ in 0..60 {
                rush.step().await;
                rush.check();
            }
            while rush.waiters.iter().any(Waiter::is_woken) {
                rush.wake();
                rush.check();
            }
        }
    });
}
