use super::*;
use crate::upstream::tests::config;

/// A server that is checked, and how it stands.
struct Checked {
    probe: Probe,
    run: Run,
    standing: Standing,
}

impl Checked {
    fn new(fail_after: usize, pass_after: usize) -> Self {
        let every = Duration::from_secs(3600);
        let slow_start = Duration::ZERO;
        let path = "/".to_owned();
        let check = HealthCheck { path, every, fail_after, pass_after, slow_start };
        let upstream = config(1);
        let server = &upstream.servers[0];
        let probe = Probe::new(&upstream, (server, &check), &mut Resolver::default()).unwrap();
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
