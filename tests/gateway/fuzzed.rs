//! What must hold for every input (`fuzz/judges.rs`), on the inputs kept in `fuzz/corpus` and on
//! mutations of them. `cargo fuzz run NAME` does the same with an eye on what is covered.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../../fuzz/judges.rs"]
mod judges;

type Judge = fn(&[u8]) -> Option<()>;

const JUDGES: [(&str, Judge); 6] = [
    ("target", judges::target),
    ("headers", judges::headers),
    ("cookies", judges::cookies),
    ("forwarding", judges::forwarding),
    ("tokens", judges::tokens),
    ("toml", judges::toml),
];

#[test]
fn what_was_found_once_holds() {
    for (name, judge) in JUDGES {
        let corpus = corpus(name);
        assert!(corpus.len() > 5, "{name}: {} inputs", corpus.len());
        let judged = corpus.iter().filter(|input| judge(input).is_some()).count();
        println!("{name}: {judged} of {} to the end", corpus.len());
        // One that is refused is no proof of what becomes of the others.
        assert!(judged > 0, "{name} refuses every input early");
    }
}

#[test]
fn it_holds_wherever_an_input_is_cut_short() {
    for (name, judge) in JUDGES {
        for input in corpus(name) {
            (0..input.len().min(200)).for_each(|end| judged(name, judge, &input[..end]));
        }
    }
}

#[test]
fn a_few_mutations_of_it_hold() {
    for (name, judge) in JUDGES {
        let rounds = if name == "toml" { 300 } else { 4_000 };
        let mut dice = Dice(0x5EED);
        let corpus = corpus(name);
        (0..rounds).for_each(|_| judged(name, judge, &dice.mutation(&corpus)));
    }
}

#[test]
#[ignore = "PORTCULLIS_FUZZ_SECONDS for each of six, else 20; `./test slow` says 900"]
fn mutations_without_end_hold() {
    let seconds = std::env::var("PORTCULLIS_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let each = Duration::from_secs(seconds.unwrap_or(20));
    std::thread::scope(|scope| {
        for (name, judge) in JUDGES {
            scope.spawn(move || {
                let mut dice = Dice(u64::from(std::process::id()));
                let (corpus, begin, mut count) = (corpus(name), Instant::now(), 0_u64);
                while begin.elapsed() < each {
                    judged(name, judge, &dice.mutation(&corpus));
                    count += 1;
                }
                println!("{name}: {count} inputs in {each:?}");
            });
        }
    });
}

/// Says what it was that did not hold.
fn judged(name: &str, judge: Judge, input: &[u8]) {
    struct Told<'a>(&'a str, &'a [u8]);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!(
                    "{}: put this into fuzz/corpus/{}: {:?}",
                    self.0,
                    self.0,
                    self.1.escape_ascii().to_string()
                );
            }
        }
    }
    let _told = Told(name, input);
    let _ = judge(input);
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|bad| panic!("{}: {bad}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

/// SplitMix64, and what is done to inputs by it.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }

    /// One of the inputs, changed in some places.
    fn mutation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, corpus);
        }
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = at + self.below((input.len() - at).min(24) + 1);
        match self.below(7) {
            0 => drop(input.drain(at..end)),
            1 => input.insert(at, self.below(256) as u8),
            2 if at < input.len() => input[at] = self.below(256) as u8,
            3 if at < input.len() => input[at] ^= 1 << self.below(8),
            4 => drop(input.splice(at..at, WORDS[self.below(WORDS.len())].bytes())),
            5 => {
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            _ => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len() + 1);
                let to = from + self.below((other.len() - from).min(40) + 1);
                drop(input.splice(at..end, other[from..to].iter().copied()));
            }
        }
    }
}

const WORDS: [&str; 48] = [
    "%",
    "%2F",
    "%252F",
    "%5C",
    "\\",
    ";",
    "//",
    "..",
    ".",
    "%2e",
    "%00",
    "%20",
    "%C0%AE",
    "%3F",
    "#",
    "admin",
    "Admin",
    "/auth",
    "\n",
    "\r",
    "\0",
    ": ",
    ",",
    "=",
    "\"",
    "__Host-Http-",
    "pc_rt",
    "PC_AT",
    "$Version=1",
    "Connection: ",
    "Remote-User",
    "Remote_User: x",
    "X-Forwarded-For: ",
    "Forwarded: for=",
    "Transfer-Encoding: chunked",
    "Content-Length: 1",
    "\n[[routes]]\n",
    "path = \"/*\"",
    "{x}",
    "[",
    "]",
    "{",
    "}",
    "null",
    "1e999",
    "9223372036854775807",
    "\u{e9}",
    "\u{212a}",
];
