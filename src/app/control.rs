//! The control socket: how the command line speaks to a running gateway.
//!
//! One [`Command`] and one [`run`] serve both: the gateway over the socket, and the command line on
//! the store when no gateway runs. A frame is a `u32` length, big-endian, and JSON.

use std::fs::{self, Permissions};
use std::future::pending;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::keys::{self, KeyOrder, KeyView};
use super::office::start;
use super::reload::Reloader;
use crate::auth::{Auth, Mode, Name, Newcomer, UserError, Users};
use crate::identity::{Role, SessionId, Username};
use crate::secret::Secret;
use crate::session::Row;
use crate::store::User;

/// What an administrator can ask for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is the command of the same name")]
pub enum Command {
    UserAdd(NewUser),
    UserList,
    UserShow { user: String },
    UserPasswd { user: String, password: String },
    UserRoles { user: String, roles: Vec<String> },
    UserDisable { user: String },
    UserEnable { user: String },
    UserDelete { user: String, free_name: bool },
    UserInvite { user: String, roles: Vec<String>, seconds: u64 },
    UserImport { text: String, dry_run: bool },
    SessionList { user: Option<String> },
    SessionRevoke(Which),
    Key(KeyOrder),
    Reload,
    Healthcheck,
}

/// A user to be added.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the option of the same name")]
pub struct NewUser {
    pub user: String,
    pub name: Option<String>,
    pub email: Option<String>,
    pub roles: Vec<String>,
    pub password: String,
}

/// Which sessions to end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// This one.
    One(String),
    /// Those of a user.
    User(String),
    /// All.
    All,
}

/// What came of a command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was done; what to say.
    Done(String),
    /// The users asked for.
    Users(Vec<UserView>),
    /// The sessions asked for.
    Sessions(Vec<SessionView>),
    /// The signing keys.
    Keys(Vec<KeyView>),
    /// It was not done, or the store did not say so in time; why.
    Refused(String),
}

/// A user, as an administrator may see it: never a hash.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of a list that people read")]
pub struct UserView {
    pub id: String,
    pub username: String,
    pub name: Option<String>,
    pub email: Option<String>,
    pub roles: Vec<String>,
    pub disabled: bool,
    pub created_at: String,
}

/// A session, as an administrator may see it.
#[derive(Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of a list that people read")]
pub struct SessionView {
    pub id: String,
    pub username: String,
    pub device_name: Option<String>,
    pub user_agent: Option<String>,
    pub ip_prefix: Option<String>,
    pub created_at: String,
    pub last_seen_at: String,
    pub expires_at: String,
}

/// Carries out a command.
pub async fn run(auth: &Auth, command: Command) -> Answer {
    match carry_out(auth, command).await {
        Ok(answer) => answer,
        Err(refused) => Answer::Refused(refused),
    }
}

async fn carry_out(auth: &Auth, command: Command) -> Result<Answer, String> {
    let users = auth.users();
    match command {
        Command::UserAdd(new) => add(&users, new).await,
        Command::UserList => {
            let all = users.list().await.map_err(told)?;
            Ok(Answer::Users(all.iter().map(UserView::of).collect()))
        }
        Command::UserShow { user } => {
            let user = users.show(&named(&user)?).await.map_err(told)?;
            Ok(Answer::Users(vec![UserView::of(&user)]))
        }
        Command::UserPasswd { user, password } => {
            let name = named(&user)?;
            users.set_password(&name, &Secret::from(password)).await.map_err(told)?;
            done(format!("{name} has a new password; every session of {name} has ended"))
        }
        Command::UserRoles { user, roles } => set_roles(&users, &user, &roles).await,
        Command::UserDisable { user } => {
            let name = named(&user)?;
            done(match users.disable(&name).await.map_err(told)? {
                true => format!("{name} is disabled; every session of {name} has ended"),
                false => format!("{name} was disabled before; nothing was changed"),
            })
        }
        Command::UserEnable { user } => {
            let name = named(&user)?;
            done(match users.enable(&name).await.map_err(told)? {
                true => format!("{name} may log in again"),
                false => format!("{name} was not disabled; nothing was changed"),
            })
        }
        Command::UserDelete { user, free_name } => {
            let name = named(&user)?;
            let its_name = if free_name { Name::Freed } else { Name::Reserved };
            users.delete(&name, its_name).await.map_err(told)?;
            done(format!("{name} is deleted"))
        }
        Command::UserInvite { user, roles, seconds } => {
            let (name, roles) = (named(&user)?, read_roles(&roles)?);
            let life = Duration::from_secs(seconds);
            let invitation = users.invite(&name, roles, life).await.map_err(told)?;
            let url = invitation.url.expose_str().unwrap_or_default();
            done(format!("{url}\nlets {name} set a password once, until {}", invitation.expires))
        }
        Command::UserImport { text, dry_run } => import(&users, &text, dry_run).await,
        Command::SessionList { user } => {
            let name = user.as_deref().map(named).transpose()?;
            let rows = users.sessions(name.as_ref()).await.map_err(told)?;
            Ok(Answer::Sessions(rows.iter().map(SessionView::of).collect()))
        }
        Command::SessionRevoke(which) => revoke(&users, which).await,
        Command::Reload | Command::Healthcheck => Err("no gateway runs here".to_owned()),
        Command::Key(order) => keys::carry_out(auth.keys(), &order),
    }
}

async fn set_roles(users: &Users, user: &str, roles: &[String]) -> Result<Answer, String> {
    let (name, roles) = (named(user)?, read_roles(roles)?);
    let wanted = if roles.is_empty() { "no roles".to_owned() } else { listed(&roles) };
    done(match users.set_roles(&name, roles).await.map_err(told)? {
        true => format!("{name} has {wanted} from the next request on"),
        false => format!("{name} has {wanted} already; nothing was changed"),
    })
}

async fn add(users: &Users, new: NewUser) -> Result<Answer, String> {
    let name = named(&new.user)?;
    let newcomer = Newcomer {
        name: name.clone(),
        full_name: new.name,
        email: new.email,
        roles: read_roles(&new.roles)?,
        password: Some(Secret::from(new.password)),
    };
    users.add(newcomer).await.map_err(told)?;
    done(format!("{name} is added"))
}

/// The users of a file, a line each, or everything that stands in the way.
async fn import(users: &Users, text: &str, dry_run: bool) -> Result<Answer, String> {
    let mode = if dry_run { Mode::DryRun } else { Mode::ForGood };
    let import = users.import(text, mode).await.map_err(told)?;
    let count = import.users.len();
    let names: String = import.users.iter().map(|name| format!("{name}\n")).collect();
    if import.faults.is_empty() {
        if count == 0 {
            return done("the file names no users: there is nothing to add".to_owned());
        }
        let told = match mode {
            Mode::DryRun => counted(count, "user would be added", "users would be added"),
            Mode::ForGood => counted(count, "user is added", "users are added"),
        };
        return done(format!("{names}{told}"));
    }
    let fault = |(line, why): &(usize, String)| format!("line {line}: {why}\n");
    let faults: String = import.faults.iter().map(fault).collect();
    let fine = match mode {
        Mode::DryRun => format!("{names}{}; ", counted(count, "user is fine", "users are fine")),
        Mode::ForGood => String::new(),
    };
    let lines = counted(import.faults.len(), "line", "lines");
    Err(format!("{lines} cannot be taken over\n{faults}{fine}nothing was added"))
}

async fn revoke(users: &Users, which: Which) -> Result<Answer, String> {
    match which {
        Which::One(id) => {
            let session: SessionId = id.parse().map_err(|bad| format!("{id}: {bad}"))?;
            users.end_session(session).await.map_err(told)?;
            done(format!("session {session} has ended"))
        }
        Which::User(user) => {
            let name = named(&user)?;
            let count = users.end_sessions(&name).await.map_err(told)?;
            let one = format!("session of {name} has ended");
            done(counted(count, &one, &format!("sessions of {name} have ended")))
        }
        Which::All => {
            let count = users.end_all_sessions().await.map_err(told)?;
            done(counted(count, "session has ended", "sessions have ended"))
        }
    }
}

/// A number with its noun and verb.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn done(text: String) -> Result<Answer, String> {
    Ok(Answer::Done(text))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err asks for")]
fn told(error: UserError) -> String {
    error.to_string()
}

fn named(user: &str) -> Result<Username, String> {
    Username::new(user).map_err(|bad| bad.to_string())
}

/// `the roles admin, user`.
fn listed(roles: &[Role]) -> String {
    let names: Vec<_> = roles.iter().map(Role::as_str).collect();
    let word = if names.len() == 1 { "role" } else { "roles" };
    format!("the {word} {}", names.join(", "))
}

fn read_roles(roles: &[String]) -> Result<Vec<Role>, String> {
    roles.iter().map(|role| Role::new(role).map_err(|bad| bad.to_string())).collect()
}

impl UserView {
    fn of(user: &User) -> Self {
        Self {
            id: user.id.to_string(),
            username: user.username.to_string(),
            name: user.name.clone(),
            email: user.email.clone(),
            roles: user.roles.iter().map(ToString::to_string).collect(),
            disabled: user.disabled.is_some(),
            created_at: user.created.to_string(),
        }
    }
}

impl SessionView {
    fn of(row: &Row) -> Self {
        Self {
            id: row.identity.session.to_string(),
            username: row.identity.username.to_string(),
            device_name: row.device_name.clone(),
            user_agent: row.user_agent.clone(),
            ip_prefix: row.login_network.clone(),
            created_at: row.created.to_string(),
            last_seen_at: row.last_seen.to_string(),
            expires_at: row.idle_end.min(row.absolute_end).to_string(),
        }
    }
}

/// What travels: the version tells a command line of another release apart.
#[derive(Debug, Serialize, Deserialize)]
struct Frame<T> {
    version: u32,
    body: T,
}

/// Binds the socket: mode 0600, in a folder of mode 0700.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    // What a killed gateway left; whoever holds the lock of the data folder may remove it.
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves until dropped; without a listener, for ever and nothing.
pub(super) async fn serve(reloader: &Arc<Reloader>, listener: Option<UnixListener>) {
    let listener = listener.and_then(|bound| tokio::net::UnixListener::from_std(bound).ok());
    let Some(listener) = listener else {
        return pending().await;
    };
    loop {
        let accepted = listener.accept().await;
        let accepted = accepted.map(|(stream, _)| attend(Arc::clone(reloader), stream));
        start(accepted, &reloader.telemetry).await;
    }
}

async fn attend(reloader: Arc<Reloader>, stream: UnixStream) {
    if let Err(cause) = converse(&reloader, stream).await {
        tracing::warn!("a command over the control socket failed: {cause}");
    }
}

async fn converse(reloader: &Reloader, mut stream: UnixStream) -> io::Result<()> {
    let peer = stream.peer_cred()?.uid();
    if peer != 0 && peer != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("user {peer} may not administer this gateway")));
    }
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut bytes = vec![0; checked(u32::from_be_bytes(length))?];
    stream.read_exact(&mut bytes).await?;
    let body = match serde_json::from_slice::<Frame<Command>>(&bytes) {
        Ok(frame) if frame.version == VERSION => gateway_does(reloader, frame.body).await,
        Ok(_) | Err(_) => Answer::Refused(OTHER_RELEASE.to_owned()),
    };
    stream.write_all(&frame(&Frame { version: VERSION, body })?).await
}

/// What only a running gateway can do is done here.
async fn gateway_does(reloader: &Reloader, command: Command) -> Answer {
    if matches!(command, Command::Healthcheck) {
        return health(reloader).await;
    }
    if !matches!(command, Command::Reload) {
        return run(&reloader.auth(), command).await;
    }
    match Box::pin(reloader.reload()).await {
        Ok(reloaded) => Answer::Done(reloaded.text),
        Err(error) => {
            Answer::Refused(format!("not reloaded, the configuration in force stays\n{error}"))
        }
    }
}

async fn health(reloader: &Reloader) -> Answer {
    match timeout(A_TURN, reloader.workers_turn()).await {
        Ok(true) => Answer::Done("every worker turns".to_owned()),
        Ok(false) => Answer::Refused("a worker has ended".to_owned()),
        Err(_elapsed) => Answer::Refused("a worker does not turn".to_owned()),
    }
}

/// Asks the gateway that listens on this socket. Blocks.
pub fn ask(socket: &Path, command: &Command) -> io::Result<Answer> {
    let mut stream = std::os::unix::net::UnixStream::connect(socket)?;
    stream.write_all(&frame(&Frame { version: VERSION, body: command })?)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; checked(u32::from_be_bytes(length))?];
    stream.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice::<Frame<Answer>>(&bytes)?.body)
}

fn frame(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(value)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    checked(length)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(json);
    Ok(bytes)
}

fn checked(length: u32) -> io::Result<usize> {
    if length > LONGEST_FRAME {
        return Err(io::Error::other("a frame of the control socket is too long"));
    }
    usize::try_from(length).map_err(io::Error::other)
}

/// Less than whoever asks for the health waits, so that they hear of it.
const A_TURN: Duration = Duration::from_secs(2);

/// The answer to what is not understood. Earlier releases give it word for word.
pub const OTHER_RELEASE: &str =
    "the running gateway is of another release than this command line; restart it";

/// Of commands and answers; raised when an older one would be misread.
const VERSION: u32 = 1;

/// 16 MiB: a list of all sessions of a large installation.
const LONGEST_FRAME: u32 = 16 << 20;
