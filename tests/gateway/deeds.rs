//! What the audit says of deeds: one line each, whether or not whoever asked waited for the answer,
//! and none where nothing was done.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::task::Poll;

use portcullis::app::administration::administer;
use portcullis::app::control::{self, Answer, Command, Which};
use portcullis::auth::{Attempt, Auth, Client, Name, Newcomer, RefreshAttempt, Users};
use portcullis::clock::Timestamp;
use portcullis::config::{self, Environment};
use portcullis::identity::{Role, Username};
use portcullis::secret::Secret;
use portcullis::session::Transport;
use portcullis::telemetry::RequestId;
use portcullis::token::OldKeys;
use serde_json::Value;

use crate::rows::{AT_SPEED, slow_down};
use crate::sessions::{LOOSE, block_on};
use crate::support::Gateway;

/// Enough for every step of the longest of them, and more.
const MOST_POLLS: usize = 12;
/// Goes through all of them, again where a busy machine let nobody leave amid a deed.
const ROUNDS: usize = 10;

/// Polls so many times, and leaves when the next one is due.
pub async fn leaving<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Until all is done that goes on without whoever asked for it.
async fn settled(auth: &Auth) {
    // The store writes one after the other: what was asked before this has its answer.
    auth.store().ping().await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

pub fn lines(gateway: &Gateway, event: &str) -> Vec<Value> {
    let audit = gateway.audit();
    let all = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|line| line["event"] == event).collect()
}

fn alice() -> Username {
    Username::new("alice").unwrap()
}

fn roles(names: &[&str]) -> Vec<Role> {
    names.iter().map(|name| Role::new(name).unwrap()).collect()
}

pub fn client() -> Client {
    Client {
        address: Ipv4Addr::LOCALHOST.into(),
        agent: None,
        request_id: RequestId::new(Timestamp::from_secs(0)),
    }
}

pub fn attempt() -> Attempt {
    Attempt {
        username: "alice".to_owned(),
        password: Secret::new("a long passphrase"),
        transport: Transport::Body,
        remember: None,
        device_name: None,
        replaces: None,
        device: None,
        client: client(),
    }
}

async fn live(users: &Users) -> usize {
    users.sessions(Some(&alice())).await.unwrap().len()
}

/// Does a deed again and again, waiting a little longer each time. `state` says what the deed
/// changes; `anew` makes it possible again.
fn hold<S: PartialEq>(
    event: &str,
    deed: impl AsyncFn(&Gateway),
    (state, anew): (impl AsyncFn(&Auth) -> S, impl AsyncFn(&Gateway)),
) {
    let gateway = Gateway::start(LOOSE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut done, mut left_with_it_done) = (0, 0);
    for times in (1..=MOST_POLLS).cycle().take(ROUNDS * MOST_POLLS) {
        if times == 1 && left_with_it_done > 0 {
            break;
        }
        runtime.block_on(async {
            anew(&gateway).await;
            settled(gateway.auth()).await;
        });
        let told_before = lines(&gateway, event).len();
        let (left, changed) = runtime.block_on(async {
            let before = state(gateway.auth()).await;
            let left = leaving(times, deed(&gateway)).await.is_none();
            settled(gateway.auth()).await;
            (left, before != state(gateway.auth()).await)
        });
        let told = lines(&gateway, event).len() - told_before;
        assert_eq!(told, usize::from(changed), "{event}: polled {times} times, left: {left}");
        done += usize::from(changed);
        left_with_it_done += usize::from(changed && left);
    }
    assert!(done > 0, "{event}: it was never done");
    assert!(left_with_it_done > 0, "{event}: nobody left while it was done");
}

#[test]
fn a_disabled_user_is_told_though_the_asker_left() {
    let disabled =
        async |auth: &Auth| auth.users().show(&alice()).await.unwrap().disabled.is_some();
    let enable = async |gateway: &Gateway| {
        gateway.auth().users().enable(&alice()).await.unwrap();
    };
    let disable = async |gateway: &Gateway| {
        gateway.auth().users().disable(&alice()).await.unwrap();
    };
    hold("auth.user.disabled", disable, (disabled, enable));
}

#[test]
fn other_roles_are_told_though_the_asker_left() {
    let held = async |auth: &Auth| auth.users().show(&alice()).await.unwrap().roles;
    let set = async |gateway: &Gateway, names: &[&str]| {
        gateway.auth().users().set_roles(&alice(), roles(names)).await.unwrap();
    };
    let before = async |gateway: &Gateway| set(gateway, &["user"]).await;
    let after = async |gateway: &Gateway| set(gateway, &["editor"]).await;
    // Both are told under one name: what is counted begins when the roles are as before.
    hold("auth.user.roles", after, (held, before));
}

#[test]
fn a_new_password_is_told_though_the_asker_left() {
    let epoch = async |auth: &Auth| auth.users().show(&alice()).await.unwrap().password_epoch;
    let set = async |gateway: &Gateway| {
        let password = Secret::new("quite another passphrase");
        gateway.auth().users().set_password(&alice(), &password).await.unwrap();
    };
    hold("auth.user.password", set, (epoch, async |_: &Gateway| {}));
}

#[test]
fn a_new_and_a_deleted_user_are_told_though_the_asker_left() {
    let known = async |auth: &Auth| auth.users().list().await.unwrap().len();
    let bob = || Username::new("bob").unwrap();
    let add = async |gateway: &Gateway| {
        let newcomer = Newcomer {
            name: bob(),
            full_name: None,
            email: None,
            roles: roles(&["user"]),
            password: None,
        };
        let _there = gateway.auth().users().add(newcomer).await;
    };
    let delete = async |gateway: &Gateway| {
        let _gone = gateway.auth().users().delete(&bob(), Name::Freed).await;
    };
    hold("auth.user.added", add, (known, delete));
    hold("auth.user.deleted", delete, (known, add));
}

#[test]
fn ended_sessions_are_told_though_the_asker_left() {
    let count = async |auth: &Auth| live(&auth.users()).await;
    let begin = async |gateway: &Gateway| {
        if live(&gateway.auth().users()).await == 0 {
            let _welcome = gateway.auth().login(attempt()).await.unwrap();
        }
    };
    let end_all = async |gateway: &Gateway| {
        gateway.auth().users().end_sessions(&alice()).await.unwrap();
    };
    let end_one = async |gateway: &Gateway| {
        let users = gateway.auth().users();
        let session = users.sessions(Some(&alice())).await.unwrap()[0].identity.session;
        users.end_session(session).await.unwrap();
    };
    hold("auth.session.revoked", end_all, (count, begin));
    hold("auth.session.revoked", end_one, (count, begin));
}

#[test]
fn a_login_is_told_though_the_asker_left() {
    let count = async |auth: &Auth| live(&auth.users()).await;
    // At `sessions.max_per_user` each new session ends another one, and their number stays.
    let end_all = async |gateway: &Gateway| {
        gateway.auth().users().end_sessions(&alice()).await.unwrap();
    };
    let login = async |gateway: &Gateway| {
        let _welcome = gateway.auth().login(attempt()).await.unwrap();
    };
    hold("auth.login.success", login, (count, end_all));
}

/// A thief who presents an old token and runs away ends the session, and is told.
#[test]
fn a_replay_is_told_though_the_thief_ran_away() {
    let gateway = Gateway::start(LOOSE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut ran_away = 0;
    for times in (1..=MOST_POLLS).cycle().take(ROUNDS * MOST_POLLS) {
        if times == 1 && ran_away > 0 {
            break;
        }
        let stolen = gateway.login("alice");
        gateway.refresh(&stolen.refresh).expect(200);
        let ended = runtime.block_on(async {
            let attempt = RefreshAttempt {
                token: stolen.refresh.clone(),
                transport: Transport::Body,
                idempotency_key: None,
                client: client(),
            };
            let left = leaving(times, gateway.auth().refresh(attempt)).await.is_none();
            settled(gateway.auth()).await;
            let rows = gateway.auth().users().sessions(Some(&alice())).await.unwrap();
            let ended = !rows.iter().any(|row| row.identity.session.to_string() == stolen.session);
            ran_away += usize::from(left && ended);
            ended
        });
        for event in ["auth.session.revoked", "auth.refresh"] {
            let of_reuse = |line: &&Value| {
                line["sid"] == stolen.session.as_str()
                    && (line["reason"] == "reuse" || line["outcome"] == "reuse")
            };
            let told = lines(&gateway, event).iter().filter(of_reuse).count();
            assert_eq!(told, usize::from(ended), "{event}, polled {times} times");
        }
    }
    assert!(ran_away > 0, "nobody ran away while the session ended");
}

/// The store has begun them when patience ends, so they are done, and nobody but the audit can say so.
#[test]
fn what_the_store_does_late_is_told_when_it_is_done() {
    let gateway = Gateway::start(LOOSE);
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let late = |change: &str, event: &str, deed: &dyn Fn() -> String| {
        let before = lines(&gateway, event).len();
        slow_down(&database, change);
        let told = deed();
        assert!(told.contains("may be done all the same"), "{event}: {told}");
        database.execute_batch(AT_SPEED).unwrap();
        let is_told = || (lines(&gateway, event).len() == before + 1).then_some(());
        let told = runtime.block_on(async {
            settled(gateway.auth()).await;
            is_told()
        });
        assert!(told.is_some(), "{event}");
    };
    late("UPDATE OF roles ON users", "auth.user.roles", &|| {
        let (user, roles) = ("alice".to_owned(), vec!["editor".to_owned()]);
        let command = Command::UserRoles { user, roles };
        match runtime.block_on(control::run(gateway.auth(), command)) {
            Answer::Refused(told) => told,
            other => panic!("{other:?}"),
        }
    });
    late("INSERT ON users", "auth.user.added", &|| {
        let newcomer = Newcomer {
            name: Username::new("bob").unwrap(),
            full_name: None,
            email: None,
            roles: roles(&["user"]),
            password: None,
        };
        runtime.block_on(gateway.auth().users().add(newcomer)).unwrap_err().to_string()
    });
    late("INSERT ON sessions", "auth.login.success", &|| {
        runtime.block_on(gateway.auth().login(attempt())).unwrap_err().to_string()
    });
}

#[test]
fn what_a_command_without_a_gateway_does_late_is_told_when_it_is_done() {
    let mut gateway = Gateway::start("");
    let config = config::load(&gateway.file(), &Environment::fixed([])).unwrap().config;
    gateway.stop();
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    slow_down(&database, "UPDATE OF roles ON users");
    let (user, roles) = ("alice".to_owned(), vec!["editor".to_owned()]);
    let answer = administer(config, Command::UserRoles { user, roles });
    assert!(matches!(&answer, Ok(Answer::Refused(told)) if told.contains("done all the same")));
    database.execute_batch(AT_SPEED).unwrap();
    let audit = std::fs::read_to_string(gateway.folder().join("audit.log")).unwrap();
    assert_eq!(audit.matches("auth.user.roles").count(), 1, "{audit}");
}

#[test]
fn what_was_so_before_is_no_deed() {
    let gateway = Gateway::start("");
    let users = gateway.auth().users();
    let happens = |event: &str, times: usize| {
        let told = lines(&gateway, event);
        assert_eq!(told.len(), times, "{event}: {told:?}");
    };
    assert!(block_on(users.disable(&alice())).unwrap());
    assert!(!block_on(users.disable(&alice())).unwrap());
    happens("auth.user.disabled", 1);
    assert!(block_on(users.enable(&alice())).unwrap());
    assert!(!block_on(users.enable(&alice())).unwrap());
    happens("auth.user.enabled", 1);
    assert!(block_on(users.set_roles(&alice(), roles(&["editor"]))).unwrap());
    assert!(!block_on(users.set_roles(&alice(), roles(&["editor"]))).unwrap());
    happens("auth.user.roles", 1);
    for line in lines(&gateway, "auth.user.roles") {
        assert_eq!(line["actor"], "command line", "{line}");
    }
    for line in lines(&gateway, "auth.user.added") {
        assert_eq!(line["actor"], "configuration", "{line}");
    }

    gateway.auth().keys().rotate(OldKeys::Overlap).access.unwrap();
    gateway.auth().keys().rotate(OldKeys::Overlap).access.unwrap();
    happens("auth.key.rotated", 1);
    gateway.auth().keys().rotate(OldKeys::Revoked).access.unwrap();
    happens("auth.key.rotated", 2);
    happens("auth.key.removed", 2);

    let session = gateway.login("admin");
    let bearer = format!("Bearer {}", session.access);
    let headers = [("Authorization", bearer.as_str())];
    gateway.post_json("/auth/logout-all", &headers, r#"{"keep_current":true}"#).expect(200);
    happens("auth.logout", 0);
    let end = || block_on(users.end_session(session.session.parse().unwrap()));
    end().unwrap();
    assert!(end().is_err());
    let told = lines(&gateway, "auth.session.revoked");
    let of_it = told.iter().filter(|line| line["sid"] == session.session.as_str());
    assert_eq!(of_it.count(), 1, "{told:?}");
}

/// Who administers over HTTP and leaves is told all the same, with what was done.
#[test]
fn a_call_of_the_administration_is_told_though_the_caller_left() {
    let gateway = Gateway::start("");
    let admin = gateway.login("admin").access;
    let database = rusqlite::Connection::open(gateway.database()).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut leaves = gateway.connect();
    let bearer = format!("Bearer {admin}");
    let headers = [("Authorization", bearer.as_str())];
    leaves.send(gateway.request("POST /auth/admin/users/alice/disable", &headers, ""));
    // Its writing waits for ours; only the clock of the machine can tell that it has begun to.
    std::thread::sleep(std::time::Duration::from_millis(300));
    drop(leaves);
    crate::support::eventually("the call is told", || {
        let calls = lines(&gateway, "auth.admin");
        calls.iter().any(|line| line["outcome"] == "left").then_some(())
    });
    database.execute_batch("COMMIT").unwrap();
    crate::support::eventually("the deed is told", || {
        let told = lines(&gateway, "auth.user.disabled");
        told.iter().any(|line| line["actor"] == "admin").then_some(())
    });
    assert!(block_on(gateway.auth().users().show(&alice())).unwrap().disabled.is_some());
}

/// Whoever is deleted between the list and its turn has no sessions left, and the others' turns come.
#[test]
fn all_sessions_end_though_a_user_is_deleted_meanwhile() {
    let gateway = Gateway::start(LOOSE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut amid = 0;
    for times in (1..=MOST_POLLS).cycle().take(ROUNDS * MOST_POLLS) {
        if times == 1 && amid > 0 {
            break;
        }
        let auth = gateway.auth();
        let aaron = Username::new("aaron").unwrap();
        let newcomer = Newcomer {
            name: aaron.clone(),
            full_name: None,
            email: None,
            roles: roles(&["user"]),
            password: None,
        };
        runtime.block_on(async {
            auth.users().add(newcomer).await.unwrap();
            let _welcome = auth.login(attempt()).await.unwrap();
            let mut revoke = Box::pin(control::run(auth, Command::SessionRevoke(Which::All)));
            let answer = leaving(times, &mut revoke).await;
            amid += usize::from(answer.is_none());
            auth.users().delete(&aaron, Name::Freed).await.unwrap();
            let answer = match answer {
                Some(answer) => answer,
                None => revoke.await,
            };
            assert!(matches!(answer, Answer::Done(_)), "{answer:?}, polled {times} times");
            assert_eq!(live(&auth.users()).await, 0, "polled {times} times");
        });
    }
    assert!(amid > 0, "nobody was deleted meanwhile");
}
