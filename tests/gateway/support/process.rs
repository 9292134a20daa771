//! A gateway in a process of its own, and the command line beside it.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, geteuid, getrlimit, kill_process, prlimit, setrlimit,
};
use tempfile::TempDir;

use super::gateway::merge;
use super::{Answer, Client, Door, hush, request};

/// A folder with a `gateway.toml`, in which commands are run.
pub struct House {
    folder: TempDir,
    account: Account,
    toml: String,
    door: Door,
    admin: SocketAddr,
    runs: AtomicUsize,
}

/// Who runs the commands of a house. Where the tests do not run as root, both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Whoever runs the tests.
    Own,
    /// Somebody without privileges, who owns the folder.
    Unprivileged,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A running gateway; killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// What every house's file begins with.
const BASE: &str = r#"
[server]
listen = "127.0.0.1:PORT"
data_dir = "FOLDER/data"
admin = "127.0.0.1:ADMIN"
workers = 2

[log]
output = "file:FOLDER/access.log"
audit_output = "file:FOLDER/audit.log"

[auth]
roles = ["admin", "editor", "user"]

[passwords]
argon2 = { memory = "7 MiB", passes = 1 }

[[bootstrap]]
name = "alice"
roles = ["user"]
password = "a long passphrase"

[[bootstrap]]
name = "admin"
roles = ["admin"]
password = "a long passphrase"
"#;

impl House {
    /// A house whose file is `BASE`, with the sections of `extra` in the place of its own.
    pub fn new(extra: &str) -> Self {
        Self::of(Account::Own, extra)
    }

    pub fn of(account: Account, extra: &str) -> Self {
        Self::with_file(account, &merge(BASE, extra))
    }

    /// A house with a file of its own: FOLDER, PORT and ADMIN are filled in.
    pub fn with_file(account: Account, toml: &str) -> Self {
        let (port, admin) = (free_port(), free_port());
        let folder = tempfile::tempdir().expect("a folder can be made");
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let toml = toml
            .replace("FOLDER", &folder.path().display().to_string())
            .replace("PORT", &port.to_string())
            .replace("ADMIN", &admin.to_string());
        let house = Self {
            folder,
            account,
            toml,
            door: Door::at(at(port)),
            admin: at(admin),
            runs: AtomicUsize::new(0),
        };
        house.write_file();
        house.give_away(house.folder());
        house
    }

    /// Lets the house's account own a path.
    pub fn give_away(&self, path: &Path) {
        if self.changes_account() {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("a path can be given away");
        }
    }

    fn changes_account(&self) -> bool {
        self.account == Account::Unprivileged && geteuid().is_root()
    }

    /// Changes a text of the file.
    #[track_caller]
    pub fn reconfigure(&mut self, from: &str, to: &str) {
        assert!(self.toml.contains(from), "{from} is not in the file");
        self.toml = self.toml.replace(from, to);
        self.write_file();
    }

    fn write_file(&self) {
        fs::write(self.file(), &self.toml).expect("the file can be written");
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self) -> PathBuf {
        self.folder().join("gateway.toml")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The text of a file of the house; empty: there is none.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Every file and folder below the data folder with its mode, `name 0600`, in order.
    pub fn data(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(&self.path("data"), "", &mut found);
        found.sort();
        found
    }

    /// GET at the admin listener, by address.
    #[track_caller]
    pub fn ask_admin(&self, path: &str) -> Answer {
        let host = self.admin.to_string();
        Client::connect(self.admin).ask(request(&format!("GET {path}"), &[("Host", &host)], ""))
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The program with these arguments, in this folder, as the house's account.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_as(self.account, arguments)
    }

    pub fn command_as(&self, account: Account, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.args(arguments).current_dir(self.folder()).env_remove("STATE_DIRECTORY");
        if self.changes_account() && account == Account::Unprivileged {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// The program; where the account may not look into the checkout, a link beside its file.
    fn program(&self) -> PathBuf {
        if !self.changes_account() {
            return PROGRAM.into();
        }
        let program = self.path("portcullis");
        if !program.exists() {
            fs::hard_link(PROGRAM, &program)
                .or_else(|_another_disk| fs::copy(PROGRAM, &program).map(drop))
                .expect("the program can be put there");
        }
        program
    }

    /// The gateway as a service manager starts it, with the standard input as its only socket, by
    /// this name, and the variables of `more`.
    pub fn activated(&self, name: &str, more: &[(&str, &str)]) -> Command {
        // The variables hold the process's id, which only the process itself can write.
        let script = "exec 3<&0 0</dev/null; LISTEN_PID=$$ exec \"$0\" run";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(self.program()).current_dir(self.folder());
        command.env_remove("STATE_DIRECTORY").env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
        command.envs(more.iter().copied());
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_typing(arguments, "")
    }

    /// Runs a command that reads this.
    #[track_caller]
    pub fn run_typing(&self, arguments: &[&str], typed: &str) -> Said {
        self.finish(self.command(arguments), typed)
    }

    /// Runs any command to its end.
    #[track_caller]
    pub fn finish(&self, mut command: Command, typed: &str) -> Said {
        let (out, err) = (self.output("out"), self.output("err"));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(File::create(&out).expect("a file can be made"))
            .stderr(File::create(&err).expect("a file can be made"))
            .spawn()
            .expect("the program starts");
        // A command that reads nothing may have ended already.
        let _ = child.stdin.take().expect("a pipe").write_all(typed.as_bytes());
        let read = |path: &Path| fs::read_to_string(path).expect("UTF-8");
        let ended = try_eventually(|| child.try_wait().expect("a child can be asked"));
        let Some(ended) = ended else {
            let _ = child.kill();
            panic!("{command:?} does not end: {}{}", read(&out), read(&err));
        };
        Said { code: ended.code(), out: read(&out), err: read(&err) }
    }

    /// A file of its own for the output of each command, beside the folder's other files.
    fn output(&self, kind: &str) -> PathBuf {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        self.path(&format!(".{number}.{kind}"))
    }

    /// Starts the gateway, and waits until it listens.
    #[track_caller]
    pub fn start(&self) -> Process {
        self.start_by(self.command(&["run"]), "portcullis listens on ")
    }

    /// Starts a command, and waits until it has said something.
    #[track_caller]
    pub fn start_by(&self, command: Command, sign: &str) -> Process {
        self.start_with(command, sign, Stdio::null())
    }

    /// The same with a standard input.
    #[track_caller]
    pub fn start_with(&self, mut command: Command, sign: &str, input: Stdio) -> Process {
        let log = self.output("log");
        let file = File::create(&log).expect("a file can be made");
        let child = command
            .stdin(input)
            .stdout(file.try_clone().expect("a file can be shared"))
            .stderr(file)
            .spawn()
            .expect("the program starts");
        let mut process = Process { child, log };
        eventually("the gateway starts", || {
            if let Some(ended) = process.child.try_wait().expect("a child can be asked") {
                panic!("the gateway ended, {ended}: {}", process.said());
            }
            process.said().contains(sign).then_some(())
        });
        process
    }

    /// Starts a command whose outputs are those of the caller, and waits until it listens there and
    /// heeds signals.
    #[track_caller]
    pub fn start_silent(&self, mut command: Command, at: SocketAddr) -> Process {
        let log = self.output("log");
        File::create(&log).expect("a file can be made");
        let child = command.stdin(Stdio::null()).spawn().expect("the program starts");
        let process = Process { child, log };
        eventually("it listens", || TcpStream::connect(at).ok());
        eventually("it heeds signals", || process.catches(Signal::TERM).then_some(()));
        process
    }

    /// Starts the gateway, which refuses to start.
    #[track_caller]
    pub fn refusal(&self) -> Said {
        let said = self.run(&["run"]);
        assert!(matches!(said.code, Some(1 | 2)), "{said:?}");
        said
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // Whatever it printed too, but not what commands print: they tell links on purpose.
        let of_log = |path: &Path| path.extension().is_some_and(|kind| kind == "log");
        let entries = fs::read_dir(self.folder()).into_iter().flatten().flatten();
        let logs: Vec<String> = entries
            .map(|entry| entry.path())
            .filter(|path| of_log(path))
            .map(|path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned())
            .collect();
        hush::judge(&[self.door.address()], &logs, &self.path("data/keys"));
    }
}

impl Deref for House {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

impl Said {
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        self
    }

    /// Everything that must be said, on whichever stream.
    #[track_caller]
    pub fn tells(self, parts: &[&str]) -> Self {
        for part in parts {
            let told = self.out.contains(part) || self.err.contains(part);
            assert!(told, "{part:?} is not told:\n{}{}", self.out, self.err);
        }
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|bad| panic!("{bad}: {self:?}"))
    }
}

impl Process {
    /// What it has printed so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("what it said can be read")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Memory in RAM, bytes.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most memory that it ever had in RAM, bytes.
    pub fn most_resident(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, which: &str) -> u64 {
        let size = self.status(which);
        let kib = size.strip_suffix(" kB").and_then(|kib| kib.parse::<u64>().ok());
        1024 * kib.expect("a size")
    }

    /// Whether a signal does not end it any more as it ends any process.
    fn catches(&self, signal: Signal) -> bool {
        let caught = u64::from_str_radix(&self.status("SigCgt:"), 16).expect("a set of signals");
        caught >> (signal.as_raw() - 1) & 1 == 1
    }

    fn status(&self, which: &str) -> String {
        let file = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(file).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(which));
        line.expect("it is told").trim().to_owned()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a child can be signalled");
    }

    /// The end of it, waited for.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        eventually("the gateway ends", || self.child.try_wait().expect("a child can be asked"))
    }

    /// Stops it as a service manager does; gives what it has printed.
    #[track_caller]
    pub fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let ended = self.end();
        assert_eq!(ended.code(), Some(0), "{}", self.said());
        self.said()
    }

    /// Lets it have so many more descriptors than it has now.
    pub fn limit_descriptors(&self, more: u64) -> u64 {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        let limit = u64::try_from(folder.count()).expect("a count") + more;
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let lower = Rlimit { current: Some(limit), maximum };
        prlimit(Some(self.pid()), Resource::Nofile, lower).expect("a child can be limited");
        limit
    }

    fn pid(&self) -> Pid {
        let id = i32::try_from(self.child.id()).ok();
        id.and_then(Pid::from_raw).expect("a process id")
    }

    /// kill -9.
    #[track_caller]
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        assert_eq!(self.end().signal(), Some(Signal::KILL.as_raw()));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on, from below those that the system gives to clients.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Test processes that run side by side begin far from each other.
        let port = 10_000 + (std::process::id() * 61 + number) % 20_000;
        let port = u16::try_from(port).expect("below 30,000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Lets this process, and those that it starts, have as many descriptors as the system allows; gives
/// how many.
pub fn allow_descriptors() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the maximum");
    maximum.unwrap_or(u64::MAX)
}

/// Asks until there is an answer, for longer than anything takes that works on a busy machine.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    try_eventually(ask).unwrap_or_else(|| panic!("waited for {PATIENCE:?} in vain: {what}"))
}

fn try_eventually<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}

const PATIENCE: Duration = Duration::from_secs(60);

const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

/// The account that owns nothing.
const NOBODY: u32 = 65_534;

fn list(folder: &Path, before: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{before}{}", entry.file_name().to_string_lossy());
        let data = entry.metadata().expect("it is there");
        found.push(format!("{name} {:04o}", data.permissions().mode() & 0o7777));
        if data.is_dir() {
            list(&entry.path(), &format!("{name}/"), found);
        }
    }
}
