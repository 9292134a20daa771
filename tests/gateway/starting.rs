//! What a start makes, and what it refuses: each refusal says what, where, why and what to do.

use std::fs::{self, File, Permissions};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rustix::fs::inotify;

use crate::support::{Account, House};

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours to change");
}

/// A house that has run once and was stopped, so that it has a store and keys.
fn lived_in(account: Account) -> House {
    let house = House::of(account, "");
    house.start().stop();
    // Brings the write-ahead log home, so that the store is one file to play with.
    let store = Connection::open(house.path("data/portcullis.db")).unwrap();
    store.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    house
}

/// A start is refused, says all this, and makes nothing but the data folder.
#[track_caller]
fn refuses(house: &House, parts: &[&str]) {
    let before = house.data();
    let said = house.refusal().tells(parts);
    assert!(said.err.lines().any(|line| line.starts_with("error")), "{}", said.err);
    assert_eq!(said.out, "");
    let ends = ["not started.\n", "cannot be used.\n", "-c FILE\n"];
    assert!(ends.iter().any(|end| said.err.ends_with(end)), "{}", said.err);
    let folder = [".gitignore 0644", "lock 0600"];
    let made: Vec<_> = house
        .data()
        .into_iter()
        .filter(|name| !before.contains(name) && !folder.contains(&name.as_str()))
        .collect();
    assert!(made.is_empty(), "left behind: {made:?}");
}

fn signing_key(house: &House) -> PathBuf {
    let mut keys = fs::read_dir(house.path("data/keys")).unwrap();
    keys.next().unwrap().unwrap().path()
}

#[test]
fn a_first_start_makes_everything_and_all_of_it_private() {
    let house = House::new("");
    let gateway = house.start();
    let folder = house.path("data").metadata().unwrap();
    assert_eq!(folder.permissions().mode() & 0o7777, 0o700);
    let made = house.data();
    let expected = [
        "control.sock 0600",
        "keys 0700",
        "lock 0600",
        "master 0600",
        "portcullis.db 0600",
        "portcullis.db-shm 0600",
        "portcullis.db-wal 0600",
    ];
    for name in expected {
        assert!(made.iter().any(|other| other == name), "{name}: {made:?}");
    }
    let keys: Vec<_> = made.iter().filter(|name| name.starts_with("keys/")).collect();
    assert!(matches!(keys[..], [key] if key.ends_with(" 0600")), "{made:?}");
    assert_eq!(house.text("data/.gitignore"), "*\n");
    gateway.stop();
    let left = house.data();
    assert!(!left.iter().any(|name| name.starts_with("control.sock")), "{left:?}");
}

#[test]
fn a_port_in_use_is_refused() {
    let house = House::new("");
    let (address, admin) = (house.address().to_string(), house.admin().to_string());
    let taken = TcpListener::bind(house.address()).unwrap();
    refuses(
        &house,
        &[
            "cannot listen on",
            &address,
            "the port is in use",
            "stop the other one",
            "server.listen",
        ],
    );
    drop(taken);
    let taken = TcpListener::bind(house.admin()).unwrap();
    refuses(&house, &["cannot listen on", &admin, "in use", "server.admin", "\"off\""]);
    drop(taken);
    house.start().stop();
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let mut house = House::new("");
    let listen = format!("listen = \"{}\"", house.address());
    let elsewhere = "listen = \"203.0.113.9:8081\"\npublic_url = \"https://example.org\"";
    house.reconfigure(&listen, elsewhere);
    refuses(
        &house,
        &["cannot listen on 203.0.113.9:8081: ", "an address of this machine", "server.listen"],
    );
    house.reconfigure(elsewhere, &listen);
    house.start().stop();
}

#[test]
fn a_second_gateway_gets_neither_the_port_nor_the_data_folder() {
    let mut house = House::new("");
    let gateway = house.start();
    let folder = house.path("data").display().to_string();
    let held = ["another portcullis uses the data folder", &folder, "stop it", "server.data_dir"];
    refuses(&house, &held);
    let other = House::new("");
    for (mine, its) in [(house.address(), other.address()), (house.admin(), other.admin())] {
        house.reconfigure(&mine.to_string(), &its.to_string());
    }
    refuses(&house, &held);
    house.get("/auth/ping", &[]).expect(200);
    house.reconfigure(&other.address().to_string(), &house.address().to_string());
    house.reconfigure(&folder, &format!("{folder}-of-its-own"));
    refuses(&house, &["the port is in use"]);
    house.get("/auth/ping", &[]).expect(200);
    gateway.stop();
}

#[test]
fn a_start_outlasts_a_command_that_holds_the_data_folder_for_a_moment() {
    let house = lived_in(Account::Own);
    let path = house.path("data/lock");
    let lock = File::open(&path).unwrap();
    lock.lock().unwrap();
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&watch, &path, inotify::WatchFlags::OPEN).unwrap();
    let command = std::thread::spawn(move || {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut openings = inotify::Reader::new(&watch, &mut space);
        for _ in ["in vain", "again"] {
            openings.next().unwrap();
        }
        drop(lock);
    });
    let gateway = house.start();
    command.join().unwrap();
    gateway.stop();
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let house = House::new("");
    house.start().stop();
    let lock = house.path("data/lock");
    std::fs::rename(&lock, house.path("lock")).unwrap();
    std::os::unix::fs::symlink(house.path("lock"), &lock).unwrap();
    refuses(&house, &["cannot use the data folder", "symbolic link"]);
    house.run(&["user", "list"]).expect(2).tells(&["cannot use the data folder"]);
}

#[test]
fn a_store_that_may_not_be_used_is_refused() {
    let house = lived_in(Account::Unprivileged);
    let (store, folder) = (house.path("data/portcullis.db"), house.path("data"));
    let name = store.display().to_string();
    chmod(&store, 0);
    refuses(&house, &["cannot open the store", &name, "must own that file and its folder"]);
    chmod(&store, 0o400);
    refuses(&house, &[&name, "read-only", "make the file and its folder writable"]);
    chmod(&store, 0o600);
    for mode in [0o500, 0] {
        chmod(&folder, mode);
        let path = folder.display().to_string();
        let parts = ["cannot use the data folder", &path, "Permission denied", "chown", "chmod"];
        refuses(&house, &parts);
    }
    chmod(&folder, 0o700);
    house.start().stop();
}

#[test]
fn a_store_in_a_folder_without_rights_is_refused() {
    let mut house =
        House::of(Account::Unprivileged, "[store]\nurl = \"sqlite:FOLDER/closed/db\"\n");
    let closed = house.path("closed");
    fs::create_dir(&closed).unwrap();
    house.give_away(&closed);
    chmod(&closed, 0o500);
    refuses(&house, &["closed/db", "Permission denied", "must own that file and its folder"]);
    chmod(&closed, 0o700);
    house.start().stop();
    house.reconfigure("/closed/db", "/nowhere/db");
    refuses(&house, &["nowhere/db", "No such file"]);
}

#[test]
fn a_store_that_is_none_is_refused() {
    let house = lived_in(Account::Own);
    let store = house.path("data/portcullis.db");
    let name = store.display().to_string();
    let good = fs::read(&store).unwrap();

    fs::write(&store, "Dear diary, today was a day like any other. ".repeat(9)).unwrap();
    let told = [&name, "is not a database", "name another file in [store] url"];
    refuses(&house, &told);
    fs::remove_file(&store).unwrap();
    fs::create_dir(&store).unwrap();
    refuses(&house, &[&name, "is not a database"]);
    fs::remove_dir(&store).unwrap();
    Connection::open(&store).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    refuses(&house, &[&name, "a database of another program", "name another file"]);

    let mut damaged = good.clone();
    damaged[100..4096].fill(0x5a);
    fs::write(&store, damaged).unwrap();
    refuses(&house, &[&name, "is damaged", "restore it from a backup"]);
    fs::write(&store, &good[..good.len() / 2]).unwrap();
    refuses(&house, &[&name, "is damaged", "restore it from a backup"]);

    fs::write(&store, &good).unwrap();
    let newer = "UPDATE schema_version SET version = 99";
    Connection::open(&store).unwrap().execute(newer, []).unwrap();
    refuses(&house, &[&name, "made by a newer Portcullis", "schema 99", "run the newer release"]);
    fs::write(&store, &good).unwrap();
    house.start().stop();
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let house = lived_in(Account::Own);
    let key = signing_key(&house);
    let all = [(key, 0o600), (house.path("data/keys"), 0o700), (house.path("data/master"), 0o600)];
    for (path, mode) in all {
        let name = path.display().to_string();
        let remedy = format!("run: chmod {mode:04o} {name}");
        chmod(&path, mode | 0o040);
        refuses(&house, &[&format!("{name} has mode"), "open to other users", &remedy]);
        chmod(&path, mode);
    }
    house.start().stop();
}

#[test]
fn keys_that_others_can_read_are_refused_before_anything_is_made() {
    let house = House::new("");
    let keys = house.path("data/keys");
    fs::create_dir_all(&keys).unwrap();
    chmod(&house.path("data"), 0o700);
    chmod(&keys, 0o755);
    refuses(&house, &["data/keys has mode 0755", "chmod 0700"]);
    chmod(&keys, 0o700);
    house.start().stop();
}

#[test]
fn keys_that_cannot_be_read_are_refused() {
    let house = lived_in(Account::Unprivileged);
    for path in [signing_key(&house), house.path("data/master")] {
        let (name, good) = (path.display().to_string(), fs::read(&path).unwrap());
        chmod(&path, 0);
        refuses(&house, &["cannot read", &name, "Permission denied"]);
        chmod(&path, 0o600);
        fs::write(&path, "no key").unwrap();
        refuses(&house, &[&name, "does not hold", "restore it from a backup"]);
        fs::write(&path, good).unwrap();
    }
    house.start().stop();
}

#[test]
fn a_master_key_that_is_missing_or_another_is_refused() {
    let house = lived_in(Account::Own);
    let master = house.path("data/master");
    let name = master.display().to_string();
    let good = fs::read(&master).unwrap();
    fs::remove_file(&master).unwrap();
    let store = house.path("data/portcullis.db").display().to_string();
    refuses(&house, &["the master key", &name, "is missing", &store, "from your backup"]);
    let command_line = house.run(&["user", "list"]).expect(2).tells(&["is missing"]);
    assert!(!master.exists(), "{command_line:?}");
    fs::write(&master, "A".repeat(42) + "E\n").unwrap();
    chmod(&master, 0o600);
    refuses(&house, &["master key 1 is not the one", &store, "put the right key file back"]);
    fs::write(&master, good).unwrap();
    house.start().stop();
}

#[test]
fn a_secret_that_can_be_guessed_is_refused() {
    let mut house = House::new("[tokens]\nalgorithm = \"HS256\"\nsecret = \"hunter2\"\n");
    refuses(&house, &["gateway.toml:", "can be guessed", "openssl rand -base64 48"]);
    assert!(!house.refusal().err.contains("hunter2"));
    assert_eq!(house.data(), [""; 0]);
    house.reconfigure("hunter2", "3q2+796tvu/erb7v3q2+796tvu/erb7v3q2+796tvu8=");
    house.start().stop();
    let house = House::new("[tokens]\nalgorithm = \"HS256\"\nsecret_file = \"nowhere\"\n");
    refuses(
        &house,
        &["cannot read the file of a secret", "there is no such file", "gateway.toml:"],
    );
}

#[test]
fn a_file_that_cannot_be_used_is_refused() {
    let house = House::with_file(Account::Unprivileged, "this is = no [toml\n");
    refuses(&house, &["gateway.toml:1:", "this is not TOML"]);
    chmod(&house.file(), 0);
    house.run(&["run"]).expect(2).tells(&["gateway.toml", "Permission denied"]);
    fs::remove_file(house.file()).unwrap();
    house.run(&["run"]).expect(2).tells(&["no gateway.toml", "-c FILE"]);
    let named = house.run(&["run", "-c", "elsewhere.toml"]).expect(2);
    named.tells(&["elsewhere.toml", "No such file"]);
    assert_eq!(house.data(), [""; 0]);
}

#[test]
fn a_log_that_cannot_be_written_is_refused() {
    let mut house = House::new("[log]\noutput = \"file:FOLDER/nowhere/access.log\"\n");
    refuses(&house, &["cannot open the log", "nowhere/access.log", "log.output"]);
    house.reconfigure("nowhere/access.log", "access.log");
    house.start().stop();
}

#[test]
fn a_bootstrap_password_that_cannot_be_set_is_told_with_its_place() {
    let user = "[[bootstrap]]\nname = \"carol\"\npassword = \"carol and her friends\"\n";
    let mut house = House::new(user);
    house.refusal().tells(&["gateway.toml:", "must not contain the username", "not"]);
    house.reconfigure("carol and her friends", "a long passphrase");
    let gateway = house.start();
    house.login("carol");
    gateway.stop();
}
