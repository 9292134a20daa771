use std::convert::Infallible;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;

use super::*;

/// Services of other tests open no tunnel.
impl FarSide for Infallible {
    type Io = DuplexStream;

    fn io(&mut self) -> &mut DuplexStream {
        match *self {}
    }

    fn idle(&self) -> Duration {
        match *self {}
    }

    fn carried(&mut self, _from_client: u64, _to_client: u64) {
        match *self {}
    }

    fn whole(&mut self) {
        match *self {}
    }
}

struct Far {
    io: DuplexStream,
    idle: Duration,
    carried: (u64, u64),
    is_whole: bool,
}

impl FarSide for Far {
    type Io = DuplexStream;

    fn io(&mut self) -> &mut DuplexStream {
        &mut self.io
    }

    fn idle(&self) -> Duration {
        self.idle
    }

    fn carried(&mut self, from_client: u64, to_client: u64) {
        self.carried = (self.carried.0 + from_client, self.carried.1 + to_client);
    }

    fn whole(&mut self) {
        self.is_whole = true;
    }
}

/// A tunnel between pipes that hold 64 bytes: the client's end, the upstream's end, what ends it.
fn tunnel(idle: Duration) -> (DuplexStream, DuplexStream, Rc<Cut>, JoinHandle<(Outcome, Far)>) {
    let (client, mut near) = duplex(64);
    let (io, upstream) = duplex(64);
    let cut = Rc::<Cut>::default();
    let by = Rc::clone(&cut);
    let running = spawn_local(async move {
        let mut far = Far { io, idle, carried: (0, 0), is_whole: false };
        let outcome = run(&mut near, &mut far, &by).await;
        (outcome, far)
    });
    (client, upstream, cut, running)
}

const LONG: Duration = Duration::from_secs(3600);

fn test(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async { timeout(Duration::from_secs(20), body).await.expect("it hangs") });
}

#[test]
fn bytes_go_both_ways_through_narrow_pipes_and_are_counted() {
    test(async {
        let (client, upstream, _, running) = tunnel(LONG);
        let sent: Vec<u8> = (0..=250).cycle().take(200_000).collect();
        let (mut from_client, mut to_client) = tokio::io::split(client);
        let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream);
        let (mut up, mut down) = (Vec::new(), Vec::new());
        tokio::join!(
            async {
                to_client.write_all(&sent).await.unwrap();
                to_client.shutdown().await.unwrap();
            },
            async {
                to_upstream.write_all(&sent[..100_000]).await.unwrap();
                to_upstream.shutdown().await.unwrap();
            },
            async { assert_eq!(from_upstream.read_to_end(&mut up).await.unwrap(), 200_000) },
            async { assert_eq!(from_client.read_to_end(&mut down).await.unwrap(), 100_000) },
        );
        let (outcome, far) = running.await.unwrap();
        assert_eq!((outcome, far.is_whole), (Outcome::Whole, true));
        assert_eq!(far.carried, (200_000, 100_000));
        assert!(up == sent && down == sent[..100_000]);
    });
}

#[test]
fn a_half_that_is_closed_leaves_the_other_open() {
    test(async {
        let (mut client, mut upstream, _, running) = tunnel(LONG);
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        upstream.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"last words");
        upstream.write_all(b"still here").await.unwrap();
        let mut answer = [0; 10];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"still here");
        drop(upstream);
        assert_eq!(running.await.unwrap().0, Outcome::Whole);
    });
}

#[test]
fn nothing_more_is_read_than_the_other_side_takes() {
    test(async {
        let (mut client, upstream, _, _running) = tunnel(LONG);
        let mut sent = 0;
        let flood = async {
            while let Ok(count) = client.write(&[b'x'; 64]).await {
                sent += count;
            }
        };
        let _it_stops = timeout(Duration::from_millis(50), flood).await;
        assert!(sent <= 64 * 4, "{sent} bytes are held somewhere");
        drop(upstream);
    });
}

#[test]
fn a_silence_of_both_ends_it_and_a_word_of_either_prolongs_it() {
    test(async {
        let idle = Duration::from_millis(100);
        let (mut client, mut upstream, _, running) = tunnel(idle);
        let (mut byte, mut last_word) = ([0; 1], Instant::now());
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            let word = Instant::now();
            // On a busy machine the pause was too long: then it has ended, rightly.
            if upstream.write_all(b"x").await.is_err()
                || client.read_exact(&mut byte).await.is_err()
            {
                break;
            }
            last_word = word;
        }
        let (outcome, far) = running.await.unwrap();
        assert_eq!((outcome, far.is_whole), (Outcome::Broken, false));
        let silence = last_word.elapsed();
        assert!(silence >= idle, "it ended after {silence:?}");
    });
}

#[test]
fn a_cut_ends_it_while_nobody_reads() {
    test(async {
        let (mut client, _upstream, cut, running) = tunnel(LONG);
        client.write_all(&[b'x'; 100]).await.unwrap();
        cut.make();
        assert_eq!(running.await.unwrap().0, Outcome::Broken);
    });
}
