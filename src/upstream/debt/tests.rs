use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use http::Request;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;
use crate::clock::{Clock, Timestamp};
use crate::config::{Level, Log, LogFormat, LogOutput};
use crate::telemetry::Telemetry;
use crate::upstream::group::Asker;
use crate::upstream::pool::{Pool, Room};
use crate::upstream::sent::Sent;
use crate::upstream::tests::{config, run};
use crate::upstream::{AnswerBody, Health, Pools};

/// A pool's answers, and the moment that the test has come to.
struct House {
    debts: Debts,
    telemetry: Telemetry,
    worker: Worker,
    now: Instant,
}

impl House {
    fn new() -> Self {
        let log = Log {
            format: LogFormat::Json,
            level: Level::Info,
            access: false,
            output: LogOutput::Stdout,
            audit_output: LogOutput::Stdout,
            full_address: true,
        };
        let telemetry = Telemetry::open(&log, &Clock::manual(Timestamp::from_secs(1))).unwrap();
        let worker = telemetry.worker();
        Self { debts: Debts::new(Duration::MAX), telemetry, worker, now: Instant::now() }
    }

    fn answer(&self) -> (Rc<Debt>, Rc<Cut>) {
        let (debt, cut) = (self.debts.open(), Rc::default());
        debt.begin(&cut, &self.worker);
        (debt, cut)
    }

    fn lend(&self, debt: &Debt, bytes: usize) {
        debt.pay();
        debt.lend(bytes, || self.now);
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn shed(&self) {
        self.debts.shed(self.now);
    }

    /// Reads so much every ten seconds, while somebody waits; whether that is cut within ten minutes.
    fn is_cut_at(&mut self, bytes: usize) -> bool {
        let (debt, cut) = self.answer();
        for second in 0..600 {
            if second % 10 == 0 {
                self.lend(&debt, bytes);
            }
            self.shed();
            self.wait(1);
        }
        self.debts.close(&debt);
        cut.is_made()
    }
}

const KIB: usize = 1024;

#[test]
fn a_client_that_reads_fast_enough_is_never_cut_and_one_that_does_not_is() {
    let mut house = House::new();
    assert!(!house.is_cut_at(10 * 20 * KIB));
    assert!(!house.is_cut_at(10 * 17 * KIB));
    assert!(house.is_cut_at(10 * 4 * KIB));
}

#[test]
fn a_client_that_does_not_read_has_the_grace_and_a_burst_buys_no_more() {
    let mut house = House::new();
    let (debt, cut) = house.answer();
    for _ in 0..1000 {
        house.lend(&debt, 128 * KIB);
    }
    house.wait(29);
    house.shed();
    assert!(!cut.is_made());
    house.wait(1);
    house.shed();
    assert!(cut.is_made());
    let metrics = house.telemetry.render();
    assert!(metrics.contains("portcullis_streams_cut_total{why=\"slow\"} 1\n"), "{metrics}");
}

#[test]
fn whoever_asks_for_no_body_or_no_second_piece_has_the_grace_from_the_first_look() {
    let mut house = House::new();
    let (_unasked, first) = house.answer();
    let (debt, second) = house.answer();
    house.lend(&debt, 1);
    house.wait(1000);
    house.shed();
    house.wait(29);
    house.shed();
    assert!(!first.is_made() && !second.is_made());
    house.wait(1);
    house.shed();
    house.shed();
    house.shed();
    assert!(first.is_made() && second.is_made());
}

#[test]
fn an_upstream_that_is_silent_puts_nobody_into_debt() {
    let mut house = House::new();
    let (debt, cut) = house.answer();
    (0..9).for_each(|_| house.lend(&debt, KIB));
    debt.pay();
    house.wait(10_000);
    house.shed();
    assert!(!cut.is_made());
}

#[test]
fn the_slowest_alone_is_cut_and_once() {
    let mut house = House::new();
    let answers: Vec<_> = (0..3).map(|_| house.answer()).collect();
    for at in [1, 2, 0] {
        (0..2).for_each(|_| house.lend(&answers[at].0, KIB));
        house.wait(1);
    }
    house.wait(100);
    for expected in [[false, true, false], [false, true, true], [true; 3], [true; 3]] {
        house.shed();
        let cut: Vec<_> = answers.iter().map(|(_, cut)| cut.is_made()).collect();
        assert_eq!(cut, expected);
    }
    let metrics = house.telemetry.render();
    assert!(metrics.contains("portcullis_streams_cut_total{why=\"slow\"} 3\n"), "{metrics}");
}

#[test]
fn what_has_ended_owes_nothing_to_the_next_request_of_its_connection() {
    let mut house = House::new();
    let (debt, cut) = house.answer();
    (0..2).for_each(|_| house.lend(&debt, KIB));
    house.wait(100);
    debt.end();
    house.shed();
    debt.begin(&cut, &house.worker);
    house.lend(&debt, KIB);
    house.shed();
    house.wait(29);
    house.shed();
    assert!(!cut.is_made());
}

#[test]
fn the_second_piece_too_has_the_whole_grace() {
    let mut house = House::new();
    let (debt, cut) = house.answer();
    (0..2).for_each(|_| house.lend(&debt, 1));
    house.wait(29);
    house.shed();
    assert!(!cut.is_made());
    house.wait(1);
    house.shed();
    assert!(cut.is_made());
}

#[test]
fn time_in_which_nothing_is_owed_uses_up_no_credit() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = config(listener.local_addr().unwrap().port());
        (config.max_connections, config.idle_timeout) = (1, Duration::from_secs(3600));
        let pools = Pools::new(&[config], 1, &Health::default()).unwrap();
        let (_, pool) = pools.group(0).first(Asker::default()).unwrap();
        let Some(Room::Lease(lease)) = pool.room() else { panic!("no place") };
        let mut link = Pool::connect(lease, Duration::from_secs(9)).await.unwrap();
        let (mut upstream, _) = listener.accept().await.unwrap();
        let asked = pin!(link.ask(Request::new(Sent::nothing()), None, pool.waits()));
        upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").await.unwrap();
        let answer = link.head(asked, None).await.ok().unwrap();
        let mut body = AnswerBody::streaming(answer.into_body(), link);
        let cut = Rc::default();
        body.read_by(&cut, &House::new().worker);
        for _ in 0..3 {
            upstream.write_all(b"e").await.unwrap();
            body.frame().await.unwrap().unwrap();
        }
        let mut next = pin!(body.frame());
        assert!(poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await);
        upstream.write_all(b"e").await.unwrap();
        next.await.unwrap().unwrap();
        let later = Instant::now() + Duration::from_secs(1000);
        pool.debts().shed(later);
        assert!(!cut.is_made(), "who had read all that came was cut");
        pool.debts().shed(later + LONGEST_GRACE);
        assert!(cut.is_made(), "who reads no more was not cut");
    });
}

#[test]
fn an_overdue_reader_is_cut_for_who_waits_and_not_for_who_finds_room() {
    run(async {
        let mut config = config(1);
        (config.max_connections, config.idle_timeout) = (2, Duration::ZERO);
        let pools = Pools::new(&[config], 1, &Health::default()).unwrap();
        let (_, pool) = pools.group(0).first(Asker::default()).unwrap();
        let take = || pool.wait_for_room(Duration::from_secs(10));
        let Ok(Room::Lease(lease)) = take().await else { panic!("no place") };
        let cut = Rc::default();
        lease.debt().begin(&cut, &House::new().worker);
        let _other = take().await.unwrap();
        assert!(!cut.is_made(), "there was room");
        let reader = async {
            poll_fn(|cx| cut.poll_made(cx)).await;
            drop(lease);
        };
        let (third, ()) = tokio::join!(take(), reader);
        assert!(third.is_ok());
    });
}
