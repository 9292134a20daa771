//! A disk without room: a small tmpfs where this user may mount one, and a limit on the size of
//! files anywhere.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Answer, Client, request};
use crate::gateway::{PASSWORD, portcullis, run, settings, try_run};
use crate::programs::{Program, free_port, system};
use crate::upstream::Upstream;

/// A place that can run out of room and get it back.
struct Disk {
    kind: Kind,
    folder: TempDir,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A file system of its own.
    Tmpfs,
    /// RLIMIT_FSIZE of the gateway's process, with SIGXFSZ ignored, so that writing fails.
    Limit,
}

impl Kind {
    /// What SQLite says where there is no room.
    fn cause(self) -> &'static str {
        match self {
            Self::Tmpfs => "database or disk is full",
            Self::Limit => "disk I/O error",
        }
    }
}

impl Disk {
    /// Every kind that can be had here.
    fn all() -> Vec<Self> {
        let limit =
            Self { kind: Kind::Limit, folder: tempfile::tempdir().expect("a folder can be made") };
        if !rustix::process::geteuid().is_root() {
            println!("no tmpfs can be mounted by this user; the limit on files stands for it");
            return vec![limit];
        }
        vec![Self::mounted(), limit]
    }

    #[track_caller]
    fn mounted() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut mount = system("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m,mode=700", "portcullis-test"]).arg(folder.path());
        assert!(mount.status().expect("mount runs").success(), "{mount:?}");
        Self { kind: Kind::Tmpfs, folder }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn database(&self) -> PathBuf {
        self.data_dir().join("portcullis.db")
    }

    /// The gateway's command. `room` is what a file may grow to from the first moment on, where
    /// the kind is a limit on files.
    fn command(&self, room: Option<u64>) -> Command {
        if self.kind == Kind::Tmpfs {
            return portcullis();
        }
        let limit = room.map_or("unlimited".to_owned(), |bytes| (bytes / 512).to_string());
        let mut shell = system("sh");
        shell
            .arg("-c")
            .arg(format!("trap '' XFSZ; ulimit -S -f {limit}; exec \"$0\" \"$@\""))
            .arg(portcullis().get_program());
        shell
    }

    /// Leaves so many bytes.
    fn leave(&self, room: u64) {
        if self.kind == Kind::Tmpfs {
            fill(&self.ballast(), room).expect("it can be filled");
        }
    }

    /// Leaves nothing to a gateway that runs.
    fn fill(&self, gateway: &Program) {
        self.leave(0);
        self.limit(gateway, Some(0));
    }

    fn make_room(&self, gateway: Option<&Program>) {
        if self.kind == Kind::Tmpfs {
            fs::remove_file(self.ballast()).expect("the ballast can go");
        }
        if let Some(gateway) = gateway {
            self.limit(gateway, None);
        }
    }

    fn limit(&self, gateway: &Program, current: Option<u64>) {
        if self.kind == Kind::Limit {
            let limit = Rlimit { current, maximum: None };
            prlimit(Some(gateway.pid()), Resource::Fsize, limit).expect("the limit can be set");
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.kind == Kind::Tmpfs {
            let mut umount = system("umount");
            let _ = umount.arg("-l").arg(self.folder.path()).status();
        }
    }
}

/// Fills a file system but for `room` bytes.
fn fill(ballast: &Path, room: u64) -> io::Result<()> {
    let mut file = File::create(ballast)?;
    loop {
        match file.write_all(&[0; 512]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
            Err(error) => return Err(error),
        }
    }
    let length = file.metadata()?.len();
    file.set_len(length.saturating_sub(room))
}

#[test]
fn a_start_on_a_full_disk_is_refused_and_leaves_nothing_that_hinders_the_next() {
    for disk in Disk::all() {
        // A little more room each time, so that everything that is written is what fails once.
        let starts = (0..64).map(|pages| start_with(&disk, pages * 4096));
        let refused = starts.take_while(|outcome| *outcome == Outcome::Refused).count();
        println!("{:?}: {refused} starts were refused", disk.kind);
        assert!((1..64).contains(&refused), "{refused}");
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Started,
    Refused,
}

/// Tries a start with this much room, and if it is refused, starts again with enough.
#[track_caller]
fn start_with(disk: &Disk, room: u64) -> Outcome {
    let elsewhere = tempfile::tempdir().expect("a folder can be made");
    let text = settings(&disk.data_dir());
    disk.leave(room);
    let tried = try_run(elsewhere.path(), &text, &mut disk.command(Some(room)));
    disk.make_room(None);
    let outcome = match tried {
        Ok(_) => Outcome::Started,
        Err(mut ended) => {
            let status = ended.ended();
            assert_refusal(disk, (status.code(), &ended.told()));
            let (mut program, _) = run(elsewhere.path(), &text, &mut disk.command(None));
            assert!(program.terminate().success(), "{}", program.told());
            Outcome::Refused
        }
    };
    fs::remove_dir_all(disk.data_dir()).expect("the data folder can go");
    outcome
}

/// What, where, and what to do.
#[track_caller]
fn assert_refusal(disk: &Disk, (code, told): (Option<i32>, &str)) {
    println!("{:?}: {told}", disk.kind);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(&disk.data_dir().display().to_string()), "where? {told}");
    let remedies = ["free some space", "has room"];
    assert!(remedies.iter().any(|words| told.contains(words)), "what to do? {told}");
}

#[test]
fn a_disk_that_fills_signs_nobody_out_and_loses_nothing() {
    for disk in Disk::all() {
        println!("{:?}", disk.kind);
        let upstream = Upstream::hello();
        let route = format!("[[routes]]\npath = \"/me\"\nupstream = \"{}\"\n", upstream.url());
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let text = settings(&disk.data_dir()).replace("\"off\"", &format!("\"{admin}\""));
        let text = text + LIMITS + &route;
        let ready = || {
            let host = admin.to_string();
            Client::connect(admin).ask(request("GET /readyz", &[("Host", &host)], "")).status
        };
        let elsewhere = tempfile::tempdir().expect("a folder can be made");
        let (mut program, address) = run(elsewhere.path(), &text, &mut disk.command(None));
        let alice = login(address, "alice").expect(200);
        let leaving = login(address, "admin").expect(200);

        disk.fill(&program);
        let logins = until_unavailable(address);
        println!("{logins} more logins found room");
        assert_eq!(ready(), 503);
        for refused in [login(address, "bob"), refresh(address, &alice), refresh(address, &alice)] {
            assert_refused(&refused, "store_unavailable");
            assert_eq!(refused.cookies(), [], "no cookie is touched");
        }
        assert_eq!(me(address, &alice).status, 200, "a valid access token goes on");
        assert_refused(&logout(address, &leaving), "logout_unfinished");
        assert_eq!(me(address, &leaving).status, 401, "out, though not durably yet");
        let (told, cause) = (program.told(), disk.kind.cause());
        assert_eq!(told.matches(&format!("the store fails: {cause}")).count(), 1, "{told}");

        disk.make_room(Some(&program));
        assert_eq!(ready(), 200, "though nobody else has written since");
        let alice = refresh(address, &alice).expect(200);
        assert_eq!(me(address, &alice).status, 200);
        refresh(address, &alice).expect(200);
        logout(address, &leaving).expect(200);
        login(address, "bob").expect(200);
        assert!(program.terminate().success(), "{}", program.told());
        assert_whole(&disk.database(), logins + 3);
    }
}

/// Logs in until there is no room; every answer is either whole or none.
#[track_caller]
fn until_unavailable(address: SocketAddr) -> i64 {
    for logins in 0..2000 {
        let answer = login(address, "bob");
        if answer.status != 200 {
            assert_refused(&answer, "store_unavailable");
            return logins;
        }
        assert_eq!(me(address, &answer).status, 200);
    }
    panic!("the disk does not fill");
}

#[track_caller]
fn assert_refused(answer: &Answer, code: &str) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(answer.member("code"), code);
    let seconds = answer.header("retry-after").expect("it says when");
    seconds.parse::<u32>().expect("seconds");
}

/// The database is sound, and holds the sessions whose logins were answered and no other.
#[track_caller]
fn assert_whole(database: &Path, sessions: i64) {
    let database = Connection::open(database).expect("it opens");
    let ask = |sql: &str| database.query_row(sql, [], |row| row.get(0));
    let sound: String = ask("SELECT integrity_check FROM pragma_integrity_check").unwrap();
    assert_eq!(sound, "ok");
    let kept = database.query_row("SELECT count(*) FROM sessions", [], |row| row.get(0));
    assert_eq!(kept, Ok(sessions), "sessions");
}

fn post(address: SocketAddr, path: &str, json: &str) -> Answer {
    let host = format!("localhost:{}", address.port());
    let headers = [("Host", host.as_str()), ("Content-Type", "application/json")];
    Client::connect(address).ask(request(&format!("POST {path}"), &headers, json))
}

fn login(address: SocketAddr, user: &str) -> Answer {
    let json = format!(r#"{{"username":"{user}","password":"{PASSWORD}","transport":"body"}}"#);
    post(address, "/auth/login", &json)
}

fn refresh(address: SocketAddr, pair: &Answer) -> Answer {
    post(address, "/auth/refresh", &token_of(pair))
}

fn logout(address: SocketAddr, pair: &Answer) -> Answer {
    post(address, "/auth/logout", &token_of(pair))
}

fn token_of(pair: &Answer) -> String {
    let token = Value::from(pair.member("refresh_token"));
    format!(r#"{{"refresh_token":{token}}}"#)
}

fn me(address: SocketAddr, pair: &Answer) -> Answer {
    let (host, bearer) = (
        format!("localhost:{}", address.port()),
        format!("Bearer {}", pair.member("access_token")),
    );
    let headers = [("Host", host.as_str()), ("Authorization", &bearer)];
    Client::connect(address).ask(request("GET /me", &headers, ""))
}

/// As many logins as the disk takes.
const LIMITS: &str = r#"
[sessions]
max_per_user = 10000
[rate_limits]
login_per_user = "100000/hour"
auth_per_ip = "1000000/minute"
"#;
