//! A gateway before an application that fails in every way, with clients that do the same and ten
//! thousand that are silent: every answer is that of its own request, and nothing is left behind.
//!
//! It lasts for `PORTCULLIS_SOAK_SECONDS`, ten if nobody says; `./test slow` says half an hour. This
//! is the one test that lets time pass: what leaks, leaks with time.

mod clients;
mod faulty;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use clients::{Counts, Holder, NOBODY, Scene};
use faulty::{Faulty, Kind};
use rustix::process::Signal;

use crate::simulator::dice::Dice;
use crate::support::{Client, House, Process, allow_descriptors, eventually};

#[test]
fn faults_without_end_mix_up_nothing_and_leave_nothing_behind() {
    let seconds = std::env::var("PORTCULLIS_SOAK_SECONDS").ok();
    let seconds = seconds.map_or(10, |text| text.parse().expect("seconds"));
    let faulty = Faulty::start();
    let house = house(&faulty.url());
    let mut gateway = house.start();
    let soak = Soak { house: &house, faulty: &faulty, counts: &Counts::default() };
    // What is made at the first use only is there before anything is counted.
    soak.go(&gateway, Duration::from_secs(1));
    let at_rest = soak.settled(&gateway, None);

    let crowd = soak.crowd(seconds);
    soak.go(&gateway, Duration::from_secs(seconds / 5));
    let with_crowd = Held { files: at_rest.files + crowd.len(), ..at_rest };
    let before = soak.settled(&gateway, Some(&with_crowd));
    println!("the plateau begins: {before:?}, {} clients are silent", crowd.len());
    let sessions = || soak.counts.sessions.load(Ordering::Relaxed);
    let known = sessions();
    soak.go(&gateway, Duration::from_secs(seconds - seconds / 5));
    let after = soak.settled(&gateway, Some(&before));
    println!("it ends: {after:?}; {:?}", soak.counts);
    let more = after.resident.saturating_sub(before.resident);
    let ended = sessions() - known;
    assert!(more <= NOISE + ended * REMEMBERED, "{more} bytes more, {ended} sessions ended");

    soak.wake(crowd);
    soak.settled(&gateway, Some(&at_rest));
    let broken = ["panicked", "ERROR"].map(|word| gateway.said().contains(word));
    assert_eq!(broken, [false; 2], "{}", gateway.said());
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.end().code(), Some(0), "{}", gateway.said());
}

/// What noise of the allocator may come to.
const NOISE: u64 = 4 << 20;

/// Bytes of a session that has ended, for the 62 minutes that its access tokens could live: some 420
/// are measured.
const REMEMBERED: u64 = 512;

fn house(upstream: &str) -> House {
    let mut house = House::new(&FILE.replace("UPSTREAM", upstream));
    let server = "workers = 2\nmax_connections_per_ip = 20000\ntimeouts = { idle = \"2h\" }";
    house.reconfigure("workers = 2", server);
    let log = house.path("access.log").display().to_string();
    house.reconfigure(&log, "/dev/null");
    house
}

const FILE: &str = r#"
[tokens]
access_ttl = "60m"
[rate_limits]
login_per_user = { burst = 1000000, every = "1ms" }
auth_per_ip = { burst = 1000000, every = "1ms" }
[upstreams.app]
servers = ["UPSTREAM"]
timeouts = { connect = "5s", response = "5s", idle = "5s" }
max_idle = "1s"
[[routes]]
path = "/*"
upstream = "app"
[[routes]]
path = "/public/*"
access = "public"
upstream = "app"
"#;

/// Ends it for all when one fails, and when the time is over.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Soak<'a> {
    house: &'a House,
    faulty: &'a Faulty,
    counts: &'a Counts,
}

/// What a process holds.
#[derive(Debug)]
struct Held {
    files: usize,
    threads: usize,
    resident: u64,
}

impl Held {
    fn by(gateway: &Process) -> Self {
        let list = |what: &str| {
            fs::read_dir(format!("/proc/{}/{what}", gateway.id())).expect("it runs").flatten()
        };
        // SQLite opens the log of a reader of the store at its first read, which may be late.
        let is_log = |path: &PathBuf| path.to_string_lossy().ends_with("-wal");
        let files = list("fd").filter_map(|file| fs::read_link(file.path()).ok());
        Self {
            files: files.filter(|path| !is_log(path)).count(),
            threads: list("task").count(),
            resident: gateway.resident(),
        }
    }
}

impl Soak<'_> {
    /// As many silent clients as the test lasts long and descriptors allow, each known by an answer.
    fn crowd(&self, seconds: u64) -> Vec<Client> {
        let allowed = allow_descriptors().saturating_sub(2_000);
        let count = (seconds * 100).min(10_000).min(allowed);
        (0..count)
            .map(|_| {
                let mut client = self.house.connect();
                self.ask_once(&mut client);
                client
            })
            .collect()
    }

    fn ask_once(&self, client: &mut Client) {
        let done = AtomicBool::new(false);
        let scene = self.scene(&done);
        let asked = scene.begin(client, Kind::Whole, NOBODY);
        scene.end(client, &asked);
    }

    /// Everybody who was silent says something, and leaves.
    fn wake(&self, crowd: Vec<Client>) {
        for mut client in crowd {
            self.ask_once(&mut client);
        }
    }

    fn scene<'a>(&'a self, done: &'a AtomicBool) -> Scene<'a> {
        Scene { door: **self.house, faulty: self.faulty, done, counts: self.counts }
    }

    /// Everybody does what they do for so long.
    fn go(&self, gateway: &Process, how_long: Duration) {
        let done = AtomicBool::new(false);
        let scene = &self.scene(&done);
        let tokens = ["alice", "admin"].map(|user| (user, self.house.login(user).access));
        let holder = |at: usize| Holder { user: tokens[at].0, access: Some(&tokens[at].1) };
        let clients: [&(dyn Fn(Dice) + Sync); 9] = [
            &|dice| scene.ask(dice, holder(0)),
            &|dice| scene.ask(dice, holder(1)),
            &|dice| scene.ask(dice, NOBODY),
            &|dice| scene.read_slowly(dice),
            &|dice| scene.write_slowly(dice),
            &|dice| scene.quit(dice),
            &|dice| scene.tunnel(dice),
            &|dice| scene.multiplex(dice),
            &|dice| scene.sign_in_and_out(dice),
        ];
        thread::scope(|scope| {
            for seed in 0..4 * clients.len() {
                let client = clients[seed % clients.len()];
                scope.spawn(move || {
                    let _over = Over(scene.done);
                    client(Dice::new(seed as u64));
                });
            }
            let _over = Over(scene.done);
            self.trouble(gateway, how_long, scene);
        });
    }

    /// Kills the application and brings it back, and reloads the gateway, until the time is over.
    fn trouble(&self, gateway: &Process, how_long: Duration, scene: &Scene<'_>) {
        let (begin, mut dice) = (Instant::now(), Dice::new(how_long.as_secs()));
        let mut minute = 0;
        while begin.elapsed() < how_long && scene.goes_on() {
            sleep(Duration::from_millis(dice.between(300, 3000)));
            if dice.chance(300) {
                gateway.signal(Signal::HUP);
                continue;
            }
            self.faulty.kill();
            sleep(Duration::from_millis(dice.between(10, 700)));
            self.faulty.revive();
            if begin.elapsed().as_secs() / 60 > minute {
                minute += 1;
                println!("minute {minute}: {:?}", Held::by(gateway));
            }
        }
    }

    /// What the gateway holds once nothing goes on any more; at most so many files and threads, if
    /// it is known how many, else as many as after idle connections to the application have been
    /// closed.
    #[track_caller]
    fn settled(&self, gateway: &Process, most: Option<&Held>) -> Held {
        let gauge = |name: &str| {
            let metrics = self.house.ask_admin("/metrics").expect(200).text();
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse::<usize>().ok()).expect(name)
        };
        eventually("nothing is under way", || {
            (gauge("http_server_active_requests") == 0).then_some(())
        });
        let Some(most) = most else {
            sleep(Duration::from_secs(4));
            return Held::by(gateway);
        };
        let begun = Instant::now();
        loop {
            let last = Held::by(gateway);
            if last.files <= most.files && last.threads <= most.threads {
                return last;
            }
            assert!(begun.elapsed() < PATIENCE, "{last:?}, not {most:?}");
            sleep(Duration::from_millis(100));
        }
    }
}

/// Longer than the kernel and the gateway take to close what has ended, and than a thread for
/// blocking work waits for more of it.
const PATIENCE: Duration = Duration::from_secs(60);
