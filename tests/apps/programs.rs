//! Programs that run beside a test and end with it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running program, and every line that it printed so far.
pub struct Program {
    name: String,
    child: Child,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    so_far: Mutex<SoFar>,
    more: Condvar,
}

#[derive(Default)]
struct SoFar {
    lines: Vec<String>,
    streams_at_their_end: u8,
}

impl Program {
    /// Starts a program without input.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error} ({command:?})"));
        let told = Arc::<Told>::default();
        listen(child.stdout.take().expect("it is piped"), &told);
        listen(child.stderr.take().expect("it is piped"), &told);
        Self { name: name.to_owned(), child, told }
    }

    /// Waits for a line in which `found` sees something, those already printed included.
    #[track_caller]
    pub fn until<T>(&self, what: &str, found: impl Fn(&str) -> Option<T>) -> T {
        let found = self.tells(found);
        found.unwrap_or_else(|| {
            panic!("{} did not tell {what}; it told:\n{}", self.name, self.told())
        })
    }

    /// The same; None: the program ended, or took too long, without such a line.
    pub fn tells<T>(&self, found: impl Fn(&str) -> Option<T>) -> Option<T> {
        let end = Instant::now() + PATIENCE;
        let mut so_far = self.told.so_far.lock().unwrap();
        loop {
            if let Some(found) = so_far.lines.iter().find_map(|line| found(line)) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || so_far.streams_at_their_end == 2 {
                return None;
            }
            so_far = self.told.more.wait_timeout(so_far, left).unwrap().0;
        }
    }

    /// Waits until something accepts connections there, for programs that do not tell when.
    #[track_caller]
    pub fn listens(&self, port: u16) {
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = self.told.so_far.lock().unwrap().streams_at_their_end == 2;
            let late = ended || Instant::now() > end;
            assert!(!late, "{} does not listen; it told:\n{}", self.name, self.told());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything printed so far.
    pub fn told(&self) -> String {
        self.told.so_far.lock().unwrap().lines.join("\n")
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until the program ends by itself.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let status = wait(&mut self.child, PATIENCE);
        status.unwrap_or_else(|| panic!("{} runs on: {}", self.name, self.told()))
    }

    /// Ends the program as a service manager would.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).expect("it still runs");
        self.ended()
    }

    /// The most resident memory, in bytes, seen while `work` is done, beyond what there was before.
    pub fn growth_during(&self, work: impl FnOnce()) -> u64 {
        let before = self.resident();
        let (done, waiting) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let sampler = scope.spawn(move || {
                let mut most = 0;
                while waiting.recv_timeout(SAMPLE_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                    most = self.resident().max(most);
                }
                most
            });
            work();
            drop(done);
            sampler.join().unwrap().saturating_sub(before)
        })
    }

    fn resident(&self) -> u64 {
        let file = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        1024 * kib.and_then(|kib| kib.parse::<u64>().ok()).expect("a size")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let runs = self.child.try_wait().is_ok_and(|ended| ended.is_none());
        if runs {
            let _ = kill_process(self.pid(), Signal::TERM);
        }
        if runs && wait(&mut self.child, Duration::from_secs(10)).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            println!("{} told:\n{}", self.name, self.told());
        }
    }
}

fn listen(from: impl Read + Send + 'static, told: &Arc<Told>) {
    let told = Arc::clone(told);
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            told.so_far.lock().unwrap().lines.push(line);
            told.more.notify_all();
        }
        told.so_far.lock().unwrap().streams_at_their_end += 1;
        told.more.notify_all();
    });
}

/// The standard library cannot wait for so long and no longer: it is asked now and again.
fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}

/// A program of the Python packages that `./test` installs.
#[track_caller]
pub fn installed(program: &str) -> Command {
    let venv = std::env::var_os("PORTCULLIS_TEST_VENV").unwrap_or_else(|| {
        panic!(
            "PORTCULLIS_TEST_VENV is not set: it names the folder with the Python packages of \
             tests/apps/requirements.txt; run `./test apps`, which makes that folder"
        )
    });
    let path = PathBuf::from(venv).join("bin").join(program);
    assert!(
        path.exists(),
        "{} is missing; run `./test apps`, which installs tests/apps/requirements.txt",
        path.display()
    );
    Command::new(path)
}

/// A program of the system.
#[track_caller]
pub fn system(program: impl AsRef<OsStr>) -> Command {
    let program = program.as_ref();
    let path = std::env::var_os("PATH").unwrap_or_default();
    assert!(
        std::env::split_paths(&path).any(|folder| folder.join(program).exists()),
        "{} is not installed; `./test` installs what is missing where it may",
        program.display()
    );
    Command::new(program)
}

/// A port that was free a moment ago, for programs that cannot be told to choose one.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("it is bound").port()
}

/// Longer than anything takes that works, on a busy machine; `examples/article/start` may compile.
const PATIENCE: Duration = Duration::from_secs(300);

const SAMPLE_EVERY: Duration = Duration::from_millis(5);
