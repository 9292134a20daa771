//! What is particular to SQLite: files, schema, keys, and groups of operations.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::StatementStatus;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::clock::Timestamp;
use crate::session::{EndReason, Transport, Verdict, Windows, classify};
use crate::store::operation::{Reply, Write};
use crate::store::tests::{
    CHECKS, HOUR, START, named, new_session, on_file, rotate, sid, username, wait_for, with_session,
};
use crate::store::{Added, Begun, NewSession, NewUser, Rotate, Rotation, Unavailable};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("portcullis.db");
    (folder, place)
}

fn open_at(place: &Path, checks: &[(u8, [u8; 32])]) -> Result<Store, OpenError> {
    Store::open(Place::File(place), checks, &Clock::manual(NOW))
}

fn refusal(place: &Path) -> OpenError {
    open_at(place, &CHECKS).unwrap_err()
}

/// What the operator reads names the file and says more than that it failed.
fn told(error: &OpenError, place: &Path, remedy: &str) {
    let text = error.to_string();
    assert!(text.contains(place.to_str().unwrap()), "{text}");
    assert!(text.contains(remedy), "{text}");
}

#[tokio::test]
async fn every_file_of_the_store_is_for_its_owner_alone() {
    let bench = on_file();
    with_session(&bench.store, Transport::Body).await;
    let folder = bench.folder.unwrap();
    let mut seen = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        seen.push(entry.file_name().into_string().unwrap());
    }
    seen.sort();
    assert_eq!(
        seen,
        ["portcullis.db", "portcullis.db-shm", "portcullis.db-wal", "portcullis.db.lock"]
    );
}

#[test]
fn a_file_that_others_could_read_is_taken_from_them() {
    let (_folder, place) = folder();
    fs::write(&place, "").unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).unwrap();
    let _store = open_at(&place, &CHECKS).unwrap();
    assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_store_is_open_once_whichever_way_leads_to_it_until_it_is_closed() {
    let (folder, place) = folder();
    let store = open_at(&place, &CHECKS).unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&place, &link).unwrap();
    for way in [&place, &link] {
        told(&refusal(way), way, "another portcullis uses the store");
    }
    assert!(Store::is_empty_at(Place::File(&place)).is_ok(), "who only looks may");
    drop(store);
    let _again = open_at(&link, &CHECKS).unwrap();
}

#[test]
fn commits_are_durable_and_the_log_is_written_ahead() {
    let (_folder, place) = folder();
    let database = file::open(&place).unwrap();
    let pragma = |name| -> String {
        database
            .pragma_query_value(None, name, |row| {
                row.get::<_, rusqlite::types::Value>(0).map(|value| format!("{value:?}"))
            })
            .unwrap()
    };
    assert_eq!(pragma("journal_mode"), r#"Text("wal")"#);
    assert_eq!(pragma("synchronous"), "Integer(2)");
    assert_eq!(pragma("foreign_keys"), "Integer(1)");
    assert_eq!(pragma("busy_timeout"), "Integer(2000)");
}

/// What a power cut leaves is what the disk holds when the answer is out.
#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let bench = on_file();
    let (session, _) = with_session(&bench.store, Transport::Body).await;
    let _ = bench.store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();

    let (_other, place) = folder();
    let from = bench.folder.as_ref().unwrap().path().join("portcullis.db");
    for suffix in ["", "-wal"] {
        let of = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        fs::copy(of(&from), of(&place)).unwrap();
    }
    let store = open_at(&place, &CHECKS_AFTER).unwrap();
    let retry = store.rotate(rotate(session, 1, Transport::Body)).await.unwrap();
    assert_eq!(retry.verdict, Verdict::Rotate);
    assert_eq!(retry.row.unwrap().generation, 2);
}

/// `rotate` of these tests writes under key 2.
const CHECKS_AFTER: [(u8, [u8; 32]); 2] = [(2, [0xc2; 32]), (1, [0xc1; 32])];

#[tokio::test]
async fn a_store_opens_again_as_it_was_left() {
    let (_folder, place) = folder();
    let store = open_at(&place, &CHECKS).unwrap();
    let (session, row) = with_session(&store, Transport::Body).await;
    drop(store);
    let store = open_at(&place, &CHECKS).unwrap();
    let again = store.peek(session).await.unwrap().unwrap();
    assert_eq!(format!("{again:?}"), format!("{:?}", *row));
}

#[tokio::test]
async fn no_raw_secret_but_hashes_stand_in_the_view_of_refresh_tokens() {
    let bench = on_file();
    let (session, row) = with_session(&bench.store, Transport::Body).await;
    let place = bench.folder.as_ref().unwrap().path().join("portcullis.db");
    let database = Connection::open(place).unwrap();
    let (id, hash, revoked): (Vec<u8>, String, bool) = database
        .query_row("SELECT id, token_hash, revoked FROM refresh_tokens", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    let expected: String = row.current.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((id.as_slice(), hash, revoked), (session.as_bytes().as_slice(), expected, false));
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let (_folder, place) = folder();
    drop(file::open(&place).map(|mut db| schema::upgrade(&mut db, &place)).unwrap());
    let database = Connection::open(&place).unwrap();
    database.execute("UPDATE schema_version SET version = 7", []).unwrap();
    drop(database);
    let before = fs::read(&place).unwrap();
    let error = refusal(&place);
    assert!(matches!(error, OpenError::Newer { found: 7, known: 1, .. }), "{error:?}");
    told(&error, &place, "newer Portcullis: it has schema 7, this one knows schemas up to 1");
    assert!(Store::is_empty_at(Place::File(&place)).is_err());
    assert_eq!(fs::read(&place).unwrap(), before);
}

#[test]
fn the_database_of_another_program_is_refused_and_left_as_it_is() {
    let (_folder, place) = folder();
    let database = Connection::open(&place).unwrap();
    database
        .execute_batch("CREATE TABLE schema_version (version INT); CREATE TABLE t (a)")
        .unwrap();
    drop(database);
    let before = fs::read(&place).unwrap();
    told(&refusal(&place), &place, "another program");
    assert_eq!(fs::read(&place).unwrap(), before);
}

#[test]
fn what_is_no_database_is_refused_and_left_as_it_is() {
    let (folder, place) = folder();
    let text = "[server]\nlisten = \"127.0.0.1:8080\"\n".repeat(200);
    fs::write(&place, &text).unwrap();
    told(&refusal(&place), &place, "is not a database");
    assert_eq!(fs::read_to_string(&place).unwrap(), text);
    told(&refusal(folder.path()), folder.path(), "is not a database");
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let (folder, _) = folder();
    let place = folder.path().join("missing/portcullis.db");
    told(&refusal(&place), &place, "No such file");
}

#[test]
fn a_damaged_store_is_told() {
    let (_folder, place) = folder();
    drop(file::open(&place).map(|mut db| schema::upgrade(&mut db, &place)).unwrap());
    let mut bytes = fs::read(&place).unwrap();
    bytes[100..4096].fill(0xff);
    fs::write(&place, bytes).unwrap();
    told(&refusal(&place), &place, "damaged");
}

#[test]
fn a_store_locked_by_another_process_is_told() {
    let (_folder, place) = folder();
    drop(file::open(&place).map(|mut db| schema::upgrade(&mut db, &place)).unwrap());
    let other = Connection::open(&place).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    told(&refusal(&place), &place, "locked by another process");
}

#[test]
fn asking_whether_a_store_is_empty_makes_none() {
    let (folder, place) = folder();
    assert!(Store::is_empty_at(Place::Memory).unwrap());
    assert!(Store::is_empty_at(Place::File(&place)).unwrap());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    fs::write(&place, "").unwrap();
    assert!(Store::is_empty_at(Place::File(&place)).unwrap());
    let store = open_at(&place, &CHECKS).unwrap();
    assert!(Store::is_empty_at(Place::File(&place)).unwrap(), "tables alone are nothing");
    let _ = wait_for(store.add_user(named(crate::identity::UserId::from_bytes([1; 16]), "alice")));
    assert!(!Store::is_empty_at(Place::File(&place)).unwrap());
}

#[tokio::test]
async fn a_changed_master_key_is_refused_once_there_are_rows() {
    let (_folder, place) = folder();
    drop(open_at(&place, &[(1, [9; 32])]).unwrap());
    let store = open_at(&place, &CHECKS).unwrap();
    with_session(&store, Transport::Body).await;
    drop(store);
    let error = open_at(&place, &[(2, [2; 32]), (1, [9; 32])]).unwrap_err();
    assert!(matches!(error, OpenError::WrongMasterKey { id: 1, .. }), "{error:?}");
    told(&error, &place, "master key 1 is not the one");
    let _ = open_at(&place, &CHECKS).unwrap();
}

#[tokio::test]
async fn a_master_key_that_live_sessions_need_must_be_there() {
    let bench = on_file();
    let place = bench.folder.as_ref().unwrap().path().join("portcullis.db");
    let (session, _) = with_session(&bench.store, Transport::Body).await;
    drop(bench.store);
    let store = open_at(&place, &CHECKS_AFTER).unwrap();
    let _ = store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
    drop(store);

    let error = open_at(&place, &CHECKS).unwrap_err();
    assert!(matches!(error, OpenError::MissingMasterKey { id: 2, .. }), "{error:?}");
    told(&error, &place, "master key 2 is missing");
    let error = open_at(&place, &[(1, [0xc1; 32]), (2, [0; 32])]).unwrap_err();
    assert!(matches!(error, OpenError::WrongMasterKey { id: 2, .. }), "kept before: {error:?}");

    let store = open_at(&place, &CHECKS_AFTER).unwrap();
    let _ = store.end(session, EndReason::Logout).await.unwrap();
    drop(store);
    let _ = open_at(&place, &CHECKS).unwrap();
}

/// A database whose writer is the test.
fn by_hand() -> (Connection, Clock) {
    let mut database = file::in_memory().unwrap();
    schema::upgrade(&mut database, Path::new(MEMORY)).unwrap();
    (database, Clock::manual(NOW))
}

fn asked<T>(
    ask: impl FnOnce(Reply<T>) -> Write,
) -> (Op, oneshot::Receiver<Result<T, Unavailable>>) {
    let (reply, answer) = Reply::new(None);
    (Op::Write(ask(reply)), answer)
}

fn adding(user: NewUser) -> (Op, oneshot::Receiver<Result<Added, Unavailable>>) {
    asked(|reply| Write::AddUser(Box::new(user), reply))
}

fn user(n: u8) -> NewUser {
    named(crate::identity::UserId::from_bytes([n; 16]), &format!("user{n}"))
}

fn count(database: &Connection, table: &str) -> i64 {
    database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn a_failing_operation_leaves_the_others_of_its_group_alone() {
    let (mut database, clock) = by_hand();
    // The second statement of an ending fails, after the first one was done.
    database
        .execute_batch(
            "CREATE TRIGGER stop BEFORE INSERT ON revocations
            BEGIN SELECT raise(ABORT, 'no room'); END",
        )
        .unwrap();
    let alice = named(new_session(1).user, "alice");
    let (add, added) = adding(alice);
    let (begin, begun) = asked(|reply| Write::Begin(Box::new(new_session(1)), reply));
    let (end, ended) = asked(|reply| Write::End(sid(1), EndReason::Logout, reply));
    let (other, other_added) = adding(user(2));
    perform::group(&mut database, vec![add, begin, end, other], (&clock, &Revocations::default()));

    assert_eq!(wait_for(added).unwrap().unwrap(), Added::Yes);
    assert!(matches!(wait_for(begun).unwrap().unwrap(), Begun::Yes { .. }));
    let error = wait_for(ended).unwrap().unwrap_err();
    assert!(error.to_string().contains("no room"), "{error}");
    assert_eq!(wait_for(other_added).unwrap().unwrap(), Added::Yes);
    let row = sessions::row(&database, sid(1)).unwrap().unwrap();
    assert_eq!(row.revoked, None, "nothing is half-done");
}

#[test]
fn a_transaction_that_the_database_rolled_back_is_told_to_all_of_its_group() {
    let (mut database, clock) = by_hand();
    database
        .execute_batch(
            "CREATE TRIGGER stop BEFORE INSERT ON users WHEN new.username = 'user2'
            BEGIN SELECT raise(ROLLBACK, 'disk is gone'); END",
        )
        .unwrap();
    let (operations, answers): (Vec<_>, Vec<_>) =
        [1, 2, 3].map(|n| adding(user(n))).into_iter().unzip();
    perform::group(&mut database, operations, (&clock, &Revocations::default()));
    for answer in answers {
        let error = wait_for(answer).unwrap().unwrap_err();
        assert!(error.to_string().contains("disk is gone"), "{error}");
    }
    assert_eq!(count(&database, "users"), 0);
    assert!(database.is_autocommit());

    let (add, added) = adding(user(3));
    perform::group(&mut database, vec![add], (&clock, &Revocations::default()));
    assert_eq!(wait_for(added).unwrap().unwrap(), Added::Yes, "the next group is untouched");
}

#[test]
fn a_full_disk_is_unavailable_and_passes_when_there_is_room_again() {
    let (_folder, place) = folder();
    let mut database = file::open(&place).unwrap();
    schema::upgrade(&mut database, &place).unwrap();
    let clock = Clock::manual(NOW);
    let pages: i64 = database.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    database.pragma_update_and_check(None, "max_page_count", pages + 1, |_| Ok(())).unwrap();

    let big = |n| NewUser { name: Some("x".repeat(3_000)), ..user(n) };
    let (operations, answers): (Vec<_>, Vec<_>) = (1..=20).map(|n| adding(big(n))).unzip();
    perform::group(&mut database, operations, (&clock, &Revocations::default()));
    let done = answers.into_iter().map(|answer| wait_for(answer).unwrap());
    let (added, full): (Vec<_>, Vec<_>) = done.partition(Result::is_ok);
    assert!(!full.is_empty());
    for error in full {
        let text = error.unwrap_err().to_string();
        assert!(text.contains("full"), "{text}");
    }
    let kept = usize::try_from(count(&database, "users")).unwrap();
    assert_eq!(kept, added.len(), "exactly what was answered is kept");

    database.pragma_update_and_check(None, "max_page_count", 10_000, |_| Ok(())).unwrap();
    let (add, added) = adding(big(30));
    perform::group(&mut database, vec![add], (&clock, &Revocations::default()));
    assert_eq!(wait_for(added).unwrap().unwrap(), Added::Yes);
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

#[tokio::test]
async fn a_store_that_failed_answers_well_when_it_has_written_again() {
    let bench = on_file();
    let store = &bench.store;
    let place = bench.folder.as_ref().unwrap().path().join("portcullis.db");
    let disk = Connection::open(place).unwrap();
    disk.execute_batch(
        "CREATE TRIGGER full BEFORE INSERT ON users BEGIN SELECT raise(ABORT, 'no room'); END;
        CREATE TRIGGER full_too BEFORE INSERT ON schema_version
        BEGIN SELECT raise(ABORT, 'no room'); END;",
    )
    .unwrap();
    store.ping().await.expect("nothing is written while nothing has failed");
    for _ in 0..2 {
        assert!(store.add_user(user(1)).await.is_err());
        for _ in 0..2 {
            let error = store.ping().await.unwrap_err().to_string();
            assert!(error.contains("no room"), "{error}");
        }
    }
    disk.execute_batch("DROP TRIGGER full_too").unwrap();
    store.ping().await.unwrap();
}

#[test]
fn a_commit_that_fails_answers_nobody_with_success() {
    let (_folder, place) = folder();
    let mut database = file::open(&place).unwrap();
    schema::upgrade(&mut database, &place).unwrap();
    database.pragma_update(None, "busy_timeout", 1).unwrap();
    let other = Connection::open(&place).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (add, added) = adding(user(1));
    perform::group(&mut database, vec![add], (&Clock::manual(NOW), &Revocations::default()));
    let error = wait_for(added).unwrap().unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(count(&database, "users"), 0);

    // A deferred constraint is looked at by COMMIT alone.
    database
        .execute_batch(
            "CREATE TABLE broken (user BLOB REFERENCES users DEFERRABLE INITIALLY DEFERRED);
            CREATE TRIGGER breaks AFTER INSERT ON users
            BEGIN INSERT INTO broken VALUES (x'00'); END",
        )
        .unwrap();
    let (add, added) = adding(user(1));
    perform::group(&mut database, vec![add], (&Clock::manual(NOW), &Revocations::default()));
    let error = wait_for(added).unwrap().unwrap_err();
    assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
    assert_eq!(count(&database, "users"), 0);
    assert!(database.is_autocommit());
}

#[test]
fn who_left_causes_no_rotation_but_gets_the_ending_asked_for() {
    let (mut database, clock) = by_hand();
    let (add, _added) = adding(named(new_session(1).user, "alice"));
    let (begin, _begun) = asked(|reply| Write::Begin(Box::new(new_session(1)), reply));
    perform::group(&mut database, vec![add, begin], (&clock, &Revocations::default()));

    let ask = Box::new(rotate(sid(1), 0, Transport::Body));
    let (left, gone) = asked::<Rotation>(|reply| Write::Rotate(ask, reply));
    drop(gone);
    perform::group(&mut database, vec![left], (&clock, &Revocations::default()));
    assert_eq!(sessions::row(&database, sid(1)).unwrap().unwrap().generation, 0);

    let (left, gone) = asked(|reply| Write::End(sid(1), EndReason::Logout, reply));
    drop(gone);
    perform::group(&mut database, vec![left], (&clock, &Revocations::default()));
    assert!(sessions::row(&database, sid(1)).unwrap().unwrap().revoked.is_some());
}

#[tokio::test]
async fn what_a_column_cannot_hold_is_a_failure_and_never_an_absence() {
    let bench = on_file();
    let (session, _) = with_session(&bench.store, Transport::Body).await;
    let place = bench.folder.as_ref().unwrap().path().join("portcullis.db");
    let other = Connection::open(&place).unwrap();
    for (break_it, mend_it) in [
        ("UPDATE users SET roles = '[\"Bad Role\"]'", "UPDATE users SET roles = '[\"user\"]'"),
        ("UPDATE users SET roles = 'user'", "UPDATE users SET roles = '[\"user\"]'"),
        ("UPDATE users SET username = 'a/b'", "UPDATE users SET username = 'alice'"),
        ("UPDATE sessions SET gen = -1", "UPDATE sessions SET gen = 0"),
        ("UPDATE sessions SET rot_kid = 256", "UPDATE sessions SET rot_kid = 1"),
        ("UPDATE sessions SET prev_hash = x'00'", "UPDATE sessions SET prev_hash = NULL"),
    ] {
        other.execute(break_it, []).unwrap();
        assert!(bench.store.peek(session).await.is_err(), "{break_it}");
        let ask = rotate(session, 7, Transport::Body);
        assert!(bench.store.rotate(ask).await.is_err(), "{break_it}");
        other.execute(mend_it, []).unwrap();
        let row = bench.store.peek(session).await.unwrap().unwrap();
        assert_eq!(row.revoked, None, "{break_it}");
    }
    other.execute("UPDATE users SET pw_hash = 'plain'", []).unwrap();
    assert!(bench.store.user(&username("alice")).await.is_err());
    assert!(bench.store.users().await.is_err());
}

/// At every age that one of them could tell from another.
#[test]
fn the_statement_of_a_rotation_refuses_what_the_rules_refuse() {
    let (mut database, clock) = by_hand();
    let (add, _added) = adding(named(new_session(1).user, "alice"));
    let (begin, _begun) = asked(|reply| Write::Begin(Box::new(new_session(1)), reply));
    perform::group(&mut database, vec![add, begin], (&clock, &Revocations::default()));
    let ages = [-90_000, -30_001, -30_000, -29_999, -1, 0, 1, 29_999, 30_000, 30_001, 90_000];
    let moments = ages.map(|age| Timestamp::from_millis(NOW.as_millis() - age));
    let givings = || moments.into_iter().map(Some).chain([None]);
    let date = "UPDATE sessions SET rotated_at = ?1, given_at = ?2, transport = ?3";
    for (rotated, given) in
        moments.into_iter().flat_map(|rotated| givings().map(move |it| (rotated, it)))
    {
        for transport in [Transport::Cookie, Transport::Body] {
            for cookie in [Duration::ZERO, Duration::from_secs(30)] {
                let trial = database.unchecked_transaction().unwrap();
                trial.execute(date, (rotated, given, transport)).unwrap();
                let row = sessions::row(&trial, sid(1)).unwrap();
                let windows = Windows { cookie, keyed: Duration::ZERO };
                let ask = Rotate { windows, ..rotate(sid(1), 0, transport) };
                let ruled = classify(row.as_ref(), &ask.presented, windows, NOW);
                let done = rotation::rotate(&trial, &ask, NOW).unwrap().verdict;
                assert_eq!(done, ruled, "{rotated:?} {given:?} {transport:?} {cookie:?}");
            }
        }
    }
}

#[test]
fn a_rotation_writes_the_row_and_no_other_index() {
    let (database, _) = by_hand();
    let mut program = database.prepare(&format!("EXPLAIN {}", rotation::SWAP)).unwrap();
    let operations = program.raw_query().mapped(|row| row.get::<_, String>("opcode"));
    let writes = operations.map(Result::unwrap).filter(|operation| operation == "OpenWrite");
    assert_eq!(writes.count(), 1, "the primary key of a table without row ids");
}

#[test]
fn the_sessions_of_a_user_are_found_by_their_index() {
    let (database, _) = by_hand();
    let query = "EXPLAIN QUERY PLAN SELECT sid FROM sessions WHERE user_id = x'00'
        AND revoked_at IS NULL";
    let plan: String = database.query_row(query, [], |row| row.get("detail")).unwrap();
    assert!(plan.contains("sessions_user"), "{plan}");
}

/// Asked of each bootstrap user at each start.
#[test]
fn that_somebody_has_a_name_is_found_by_its_index() {
    let (database, _) = by_hand();
    let insert = "INSERT INTO users (id, username, username_key, roles, created_at)
        VALUES (randomblob(16), ?1, ?1, '[]', 0)";
    for n in 0..10 {
        database.execute(insert, [format!("user{n}")]).unwrap();
    }
    let mut was = database.prepare(users::WAS).unwrap();
    let scans = StatementStatus::FullscanStep;
    assert!(was.exists(["user9"]).unwrap());
    assert_eq!(was.reset_status(scans), 0);
    assert!(!was.exists(["nobody"]).unwrap());
    assert_ne!(was.reset_status(scans), 0, "it may have been freed");
}

#[tokio::test]
async fn a_clock_that_went_back_ends_nothing_and_rotates_a_window_later() {
    let bench = on_file();
    bench.clock.advance(HOUR);
    let (session, _) = with_session(&bench.store, Transport::Cookie).await;
    let place = bench.folder.as_ref().unwrap().path().join("portcullis.db");
    let behind = Clock::manual(START);
    drop(bench.store);
    let store = Store::open(Place::File(&place), &CHECKS, &behind).unwrap();
    let ask = async || store.rotate(rotate(session, 0, Transport::Cookie)).await.unwrap().verdict;
    assert_eq!(ask().await, Verdict::Coalesced);
    behind.advance(Duration::from_secs(30));
    assert_eq!(ask().await, Verdict::Rotate);
}

/// What is written then is gone with the next start.
#[tokio::test]
async fn a_store_whose_file_was_moved_away_or_replaced_is_not_well() {
    let bench = on_file();
    let folder = bench.folder.as_ref().unwrap().path();
    let [here, away] = ["portcullis.db", "moved.db"].map(|name| folder.join(name));
    bench.store.ping().await.unwrap();
    std::fs::rename(&here, &away).unwrap();
    let gone = bench.store.ping().await.unwrap_err().to_string();
    assert!(gone.contains("portcullis.db was moved away, deleted or replaced"), "{gone}");
    std::fs::write(&here, "").unwrap();
    let replaced = bench.store.ping().await.unwrap_err();
    assert_eq!(replaced.to_string(), gone);
    std::fs::rename(&away, &here).unwrap();
    bench.store.ping().await.unwrap();
}

/// As when the change came by a way that ended no session.
#[tokio::test]
async fn a_session_whose_user_lost_its_standing_ends_at_its_next_refresh() {
    for barred in [
        "UPDATE users SET disabled_at = 1",
        "UPDATE users SET deleted_at = 1",
        "UPDATE users SET pw_epoch = 1",
    ] {
        let bench = on_file();
        let (session, _) = with_session(&bench.store, Transport::Body).await;
        let place = bench.folder.as_ref().unwrap().path().join("portcullis.db");
        Connection::open(&place).unwrap().execute(barred, []).unwrap();
        let rotation = bench.store.rotate(rotate(session, 0, Transport::Body)).await.unwrap();
        assert_eq!(rotation.verdict, Verdict::End(EndReason::User), "{barred}");
        let row = rotation.row.unwrap();
        assert!(row.revoked.is_some() && row.generation == 0, "{barred}: {row:?}");
    }
}

/// Many threads in one group: every one gets its own answer.
#[test]
fn answers_go_to_who_asked() {
    let bench = on_file();
    let store = &bench.store;
    wait_for(with_session(store, Transport::Body));
    thread::scope(|threads| {
        for n in 10..42 {
            threads.spawn(move || {
                let session = NewSession { max_per_user: 1_000, ..new_session(n) };
                let Begun::Yes { row, .. } = wait_for(store.begin(session)).unwrap() else {
                    panic!("refused");
                };
                assert_eq!(row.identity.session, sid(n));
                // What was answered is read at once, by whichever reader.
                let peeked = wait_for(store.peek(sid(n))).unwrap();
                assert_eq!(peeked.unwrap().identity.session, sid(n));
            });
        }
    });
}

/// Another process that holds the database makes no rotation look older than it is.
#[tokio::test]
async fn a_rotation_is_dated_when_its_turn_comes() {
    let bench = on_file();
    let (session, _) = with_session(&bench.store, Transport::Body).await;
    let place = bench.folder.as_ref().unwrap().path().join("portcullis.db");
    let other = Connection::open(place).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut rotation = Box::pin(bench.store.rotate(rotate(session, 0, Transport::Body)));
    tokio::select! { biased;
        answer = &mut rotation => panic!("{answer:?}"),
        () = std::future::ready(()) => {}
    }
    let operations = &bench.store.operations;
    while operations.capacity() < operations.max_capacity() {
        tokio::task::yield_now().await;
    }
    bench.clock.advance(Duration::from_secs(2));
    other.execute_batch("COMMIT").unwrap();
    let row = rotation.await.unwrap().row.unwrap();
    assert_eq!(row.rotated, START.plus(Duration::from_secs(2)));
}
