//! Mercurial's own server and client: long command lines in headers, bundles of some megabytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::browser::Browser;
use crate::gateway::Gateway;
use crate::programs::{Program, installed};

/// A repository that everybody may write who gets there.
struct Depot {
    program: Program,
    gateway: Gateway,
    folder: TempDir,
}

impl Depot {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut init = hg(folder.path());
        done(init.args(["init", "depot"]));
        let mut serve = hg(folder.path());
        serve.args(["serve", "-R", "depot", "-a", "127.0.0.1", "-p", "0"]);
        serve.args(["--config", "web.push_ssl=false", "--config", "web.allow_push=*"]);
        let program = Program::start("hg serve", &mut serve);
        let port = program.until("where it listens", |line| {
            Some(line.split_once("(bound to 127.0.0.1:")?.1.trim_end_matches(')').to_owned())
        });
        let gateway = Gateway::start(&format!(
            "[[routes]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:{port}\"\n"
        ));
        Self { program, gateway, folder }
    }

    /// The address of what the gateway guards.
    fn url(&self) -> String {
        self.gateway.url("http", "/").replace("localhost", "127.0.0.1")
    }

    /// A client that shows the cookies of a user, as Mercurial reads them from a file.
    #[track_caller]
    fn client(&self, user: &str) -> Command {
        let browser = Browser::signed_in(&self.gateway, user);
        let file = self.folder.path().join(format!("{user}.cookies"));
        let lines = browser.jar().map(|(name, value)| {
            format!("127.0.0.1\tFALSE\t/\tFALSE\t9999999999\t{name}\t{value}\n")
        });
        let text: String =
            std::iter::once("# Netscape HTTP Cookie File\n".to_owned()).chain(lines).collect();
        fs::write(&file, text).expect("the file can be written");
        let mut command = hg(self.folder.path());
        command.arg("--config").arg(format!("auth.cookiefile={}", file.display()));
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn hg(folder: &Path) -> Command {
    let mut command = installed("hg");
    command.current_dir(folder).env("HGRCPATH", "").env("HGPLAIN", "1").env("HGUSER", "alice");
    command.env("HOME", folder);
    command
}

#[track_caller]
fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let all = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "{status} {command:?}: {all}");
    all
}

/// Bytes that no compression makes small, of a fixed beginning.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..size / 8).flat_map(|_| next()).collect()
}

#[test]
fn a_push_of_some_megabytes_comes_back_in_a_clone_and_costs_the_gateway_no_memory() {
    let depot = Depot::start();
    let bytes = noise(8 << 20);
    done(depot.client("alice").args(["clone", &depot.url(), "first"]));
    let first = depot.path("first");
    fs::write(first.join("noise"), &bytes).expect("the file can be written");
    done(hg(&first).args(["commit", "--addremove", "--message", "noise"]));

    let (mut push, mut clone) = (depot.client("alice"), depot.client("bob"));
    let growth = depot.gateway.program.growth_during(|| {
        done(push.args(["push", "-R", "first", &depot.url()]));
        done(clone.args(["clone", &depot.url(), "second"]));
    });
    assert!(fs::read(depot.path("second/noise")).unwrap() == bytes, "it came back changed");
    println!("grew by {} KiB", growth >> 10);
    assert!(growth < 6 << 20, "grew by {growth} bytes");
}

#[test]
fn a_question_that_takes_several_headers_is_answered() {
    let depot = Depot::start();
    let first = depot.path("first");
    done(depot.client("alice").args(["clone", &depot.url(), "first"]));
    let sixty_heads = format!("+1:root{}", "<root+1".repeat(60));
    done(hg(&first).args(["debugbuilddag", &sixty_heads]));
    done(depot.client("alice").args(["push", "--force", "-R", "first", &depot.url()]));
    done(depot.client("bob").args(["clone", &depot.url(), "second"]));
    done(depot.client("alice").args(["pull", "-R", "first", &depot.url()]));

    let heads = |name| done(hg(&depot.path(name)).args(["heads", "--template", "{node}\n"]));
    assert_eq!(heads("first").lines().count(), 60);
    assert_eq!(heads("second"), heads("first"));
    depot
        .program
        .until("several headers of one question", |line| line.contains("x-hgarg-2:").then_some(()));
}

#[test]
fn a_stranger_neither_clones_nor_pushes() {
    let depot = Depot::start();
    done(depot.client("alice").args(["clone", &depot.url(), "first"]));
    let first = depot.path("first");
    fs::write(first.join("tea"), "tea").expect("the file can be written");
    done(hg(&first).args(["commit", "--addremove", "--message", "tea"]));
    let stranger = || hg(depot.folder.path());
    let cloned = stranger().args(["clone", &depot.url(), "stolen"]).output().expect("it runs");
    assert!(!cloned.status.success(), "{cloned:?}");
    assert!(!depot.path("stolen").exists());
    let pushed = stranger().args(["push", "-R", "first", &depot.url()]).output().expect("it runs");
    assert!(!pushed.status.success(), "{pushed:?}");
    let there = done(hg(&depot.path("depot")).args(["log", "--template", "{node}"]));
    assert_eq!(there, "");
    done(depot.client("alice").args(["push", "-R", "first", &depot.url()]));
}
