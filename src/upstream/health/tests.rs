use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::Protocol;
use crate::upstream::tests::config;

/// A server that is checked, and how it stands.
struct Checked {
    probe: Probe,
    run: Run,
    standing: Standing,
}

impl Checked {
    fn new(fail_after: usize, pass_after: usize) -> Self {
        Self::of(&config(1), fail_after, pass_after)
    }

    fn of(upstream: &Upstream, fail_after: usize, pass_after: usize) -> Self {
        let every = Duration::from_secs(3600);
        let slow_start = Duration::ZERO;
        let path = "/".to_owned();
        let check = HealthCheck { path, every, fail_after, pass_after, slow_start };
        let upstream = Upstream { health: Some(check), ..upstream.clone() };
        let probe = Probe::all(&upstream, &mut Resolver::default()).unwrap().remove(0);
        Self { probe, run: Run::default(), standing: Standing::unknown() }
    }

    /// Whether it is up after each of these checks: `+` for one that it passes.
    fn after(&mut self, checks: &str) -> String {
        let judged = checks.chars().map(|check| {
            let failure = (check != '+').then_some(Failure::TimedOut);
            self.run.heed(failure.is_none());
            self.probe.judge(&self.run, failure, &self.standing);
            if self.standing.is_up() { '+' } else { '-' }
        });
        judged.collect()
    }
}

#[test]
fn the_first_check_decides_alone() {
    assert_eq!(Checked::new(3, 2).after("-"), "-");
    assert_eq!(Checked::new(3, 2).after("+"), "+");
}

#[test]
fn a_server_is_given_up_after_so_many_failures_in_a_row() {
    assert_eq!(Checked::new(3, 2).after("+--+---"), "++++++-");
}

#[test]
fn a_server_is_taken_back_after_so_many_successes_in_a_row() {
    assert_eq!(Checked::new(3, 2).after("-+-++"), "----+");
    assert_eq!(Checked::new(1, 1).after("-+-+"), "-+-+");
}

#[test]
fn a_redirection_shows_life_and_an_error_does_not() {
    for (status, well) in [(200, true), (204, true), (302, true), (404, false), (503, false)] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(verdict(status).is_ok(), well, "{status}");
    }
}

/// RFC 9113 section 6.8: it "could contain security- or privacy-sensitive data".
#[tokio::test]
async fn what_a_farewell_tells_beside_its_reason_reaches_no_log() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut upstream = config(listener.local_addr().unwrap().port());
    upstream.servers[0].protocol = Protocol::H2c;
    let probe = Checked::of(&upstream, 1, 1).probe;
    let server = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let farewell = [0, 0, 14, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        stream.write_all(&[&settings[..], &farewell, b"s3cret"].concat()).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let (failure, ()) = tokio::join!(probe.ask(), server);
    let why = failure.unwrap_err().to_string();
    assert!(why.contains("internal error") && !why.contains("s3cret"), "{why}");
}
