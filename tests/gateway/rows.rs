//! Every row of the behaviours in `docs/sessions.md` has a test by its number, and the one row
//! that needs a store which answers too late.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::sessions::row;
use crate::support::{Client, Gateway, eventually, request};

#[test]
fn every_row_of_the_behaviours_has_a_test_by_its_number() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/sessions.md")).expect("it can be read");
    let tested = numbers(&root.join("tests")) + &numbers(&root.join("src"));
    let (_, table) = text.split_once("## Behaviours").expect("the table of behaviours");
    let table = table.lines().skip_while(|line| !line.starts_with("| 1 |"));
    let mut rows = 0;
    for line in table.take_while(|line| line.starts_with('|')) {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (number, when) = (cells.next().unwrap(), cells.next().unwrap());
        rows += 1;
        assert_eq!(number, rows.to_string(), "{line}");
        let has = tested.contains(&format!(" {number} "));
        assert!(
            has || when.starts_with("*replicas*"),
            "no test is called row_{number}_...: {line}"
        );
    }
    assert_eq!(rows, 68);
}

/// The numbers in the names of tests like `row_7_...` and `rows_9_and_10_...`, between blanks.
fn numbers(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("it can be read");
    let of = |path: std::path::PathBuf| match path.extension() {
        _ if path.is_dir() => numbers(&path),
        Some(kind) if kind == "rs" => named(&fs::read_to_string(path).expect("it can be read")),
        _ => String::new(),
    };
    entries.map(|entry| of(entry.expect("an entry").path())).collect()
}

fn named(code: &str) -> String {
    let names = code.split("fn row").skip(1).map(|rest| rest.split('(').next().unwrap());
    names
        .flat_map(|name| {
            let words = name.trim_start_matches('s').trim_start_matches('_').split('_');
            words.take_while(|word| *word == "and" || word.bytes().all(|b| b.is_ascii_digit()))
        })
        .map(|word| format!(" {word} "))
        .collect()
}

/// How many steps take an SQLite of this build on this machine about so long, measured when it
/// was quickest.
fn steps_of(time: Duration) -> u64 {
    let database = Connection::open_in_memory().unwrap();
    let sample = 200_000;
    let quickest = (0..3)
        .map(|_| {
            let begin = Instant::now();
            database.query_row(&count(sample), [], |row| row.get::<_, i64>(0)).unwrap();
            begin.elapsed()
        })
        .min()
        .unwrap();
    let times = time.as_secs_f64() / quickest.as_secs_f64();
    (times * sample as f64) as u64
}

/// Has a kind of change take three times as long as anybody waits, until [`AT_SPEED`].
pub fn slow_down(database: &Connection, change: &str) {
    let slow = format!(
        "CREATE VIEW long AS {};
        CREATE TRIGGER slow AFTER {change} BEGIN SELECT * FROM long; END",
        count(steps_of(Duration::from_secs(9)))
    );
    database.execute_batch(&slow).unwrap();
}

pub const AT_SPEED: &str = "DROP TRIGGER slow; DROP VIEW long";

fn count(steps: u64) -> String {
    format!(
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < {steps})
        SELECT count(*) FROM c"
    )
}

#[test]
fn row_54_an_answer_that_comes_after_the_commit_and_too_late_costs_one_retry() {
    let gateway = Gateway::start(WITH_ADMIN);
    let login = gateway.login_by_cookie("alice");
    let (cookies, session) = (login.cookie_header(), login.member("session_id"));
    gateway.advance(Duration::from_secs(60));
    // The store is given three seconds for an answer; this rotation takes much longer.
    let database = Connection::open(gateway.database()).unwrap();
    database.busy_timeout(Duration::from_secs(60)).unwrap();
    slow_down(&database, "UPDATE OF gen ON sessions");
    let late = gateway.refresh_by_cookie(&cookies).expect(503);
    assert_eq!(late.member("code"), "store_unavailable");
    assert!(late.header("retry-after").is_some() && late.cookies().is_empty(), "{late:?}");
    // Behind the commit: whoever writes waits for it.
    database.execute_batch(AT_SPEED).unwrap();
    eventually("the rotation is committed", || {
        (row(&gateway, &session, "gen").as_deref() == Some("1")).then_some(())
    });

    let retry = gateway.refresh_by_cookie(&cookies).expect(200);
    assert_ne!(retry.cookie("pc_rt"), login.cookie("pc_rt"));
    assert_eq!(row(&gateway, &session, "gen").as_deref(), Some("1"), "one step, not two");
    gateway.get("/auth/me", &[("Cookie", &retry.cookie_header())]).expect(200);
    let next = gateway.refresh_by_cookie(&retry.cookie_header()).expect(200);
    assert_eq!(next.cookie("pc_rt"), retry.cookie("pc_rt"));
    let request = request("GET /metrics", &[("Connection", "close")], "");
    let metrics = Client::connect(gateway.admin_address()).ask(request).text();
    let refreshes = metrics.lines().filter(|line| line.starts_with("portcullis_refresh_total{"));
    let count = |line: &str| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    assert_eq!(refreshes.map(count).sum::<u32>(), 3, "each has one outcome, the late one too");
}

const WITH_ADMIN: &str = "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"FOLDER/data\"\n\
    admin = \"127.0.0.1:0\"\nworkers = 2\n";
