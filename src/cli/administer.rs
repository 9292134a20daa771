//! `user`, `session`, `key` and `hash`: through the control socket when a gateway runs, else on the store.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::args::{KeyCommand, PasswordSource, SessionCommand, UserCommand};
use super::output::{Output, find};
use crate::app::administration::{self, AdministrationError};
use crate::app::control::{Answer, Command, NewUser, SessionView, UserView, Which};
use crate::app::demo;
use crate::app::keys::{self, KeyOrder, KeyView};
use crate::config::{self, Environment, InDoubt};
use crate::password::{Cost, Password, PasswordHash};
use crate::secret::Secret;
use crate::telemetry::is_hostile;

pub(super) fn user(output: &Output, file: Option<&Path>, command: UserCommand) -> ExitCode {
    let as_json =
        matches!(command, UserCommand::List { json: true } | UserCommand::Show { json: true, .. });
    let lost = if_unread(&command);
    let (command, generated) = match order(output, command) {
        Ok(order) => order,
        Err(code) => return code,
    };
    let answer = match carry_out(output, file, command) {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    match (&answer, lost) {
        (Answer::Done(text), Some(lost)) => {
            let password = generated.map(|password| format!("\npassword: {password}"));
            output.say_once(format!("{text}{}", password.unwrap_or_default()), &lost)
        }
        (_, _) => print(output, &answer, as_json),
    }
}

/// What to do when nobody could read what a command tells once.
fn if_unread(command: &UserCommand) -> Option<String> {
    if let UserCommand::Invite { name, .. } = command {
        return Some(format!("\nthe link is lost; make another: portcullis user invite {name}"));
    }
    let (UserCommand::Add { name, password, .. } | UserCommand::Passwd { name, password }) =
        command
    else {
        return None;
    };
    password.generate.then(|| {
        format!(
            "\nthe password is set and lost; set another: portcullis user passwd {name} --generate"
        )
    })
}

pub(super) fn session(output: &Output, file: Option<&Path>, command: SessionCommand) -> ExitCode {
    match command {
        SessionCommand::List { user, json } => {
            answer(output, file, (Command::SessionList { user }, json))
        }
        SessionCommand::Revoke { id, user, all: _ } => {
            let which = match (id, user) {
                (Some(id), _) => Which::One(id),
                (None, Some(user)) => Which::User(user),
                (None, None) => Which::All,
            };
            answer(output, file, (Command::SessionRevoke(which), false))
        }
    }
}

pub(super) fn key(output: &Output, file: Option<&Path>, command: KeyCommand) -> ExitCode {
    match command {
        KeyCommand::List { json } => answer(output, file, (Command::Key(KeyOrder::List), json)),
        KeyCommand::Rotate { revoke_old } => {
            answer(output, file, (Command::Key(KeyOrder::Rotate { revoke_old }), false))
        }
        KeyCommand::Backup { file: to } => {
            let loaded = match output.load(file) {
                Ok(loaded) => loaded,
                Err(code) => return code,
            };
            match keys::backup(&loaded.config, &to) {
                Ok(text) => output.say(text),
                Err(error) => output.refuse(error),
            }
        }
    }
}

pub(super) fn reload(output: &Output, file: Option<&Path>) -> ExitCode {
    answer(output, file, (Command::Reload, false))
}

pub(super) fn hash(output: &Output) -> ExitCode {
    let typed = match read_line() {
        Ok(typed) => Secret::from(typed),
        Err(cause) => return output.could_not(format!("cannot read standard input: {cause}")),
    };
    let hash = Password::new(&typed).map(|password| PasswordHash::create(&password, Cost::DEFAULT));
    match hash {
        Some(Ok(hash)) => output.say(hash.as_str()),
        Some(Err(cause)) => output.refuse(cause),
        None => output.refuse("no password: give one line of at most 1024 bytes on standard input"),
    }
}

/// What a running gateway is asked for, with the password that was made up for it.
fn order(output: &Output, command: UserCommand) -> Result<(Command, Option<String>), ExitCode> {
    let mut generated = None;
    let mut read = |source: &PasswordSource| {
        let password = read_password(output, source)?;
        generated = source.generate.then(|| password.clone());
        Ok::<_, ExitCode>(password)
    };
    let command = match command {
        UserCommand::Add { name, roles, full_name, email, password } => {
            let password = read(&password)?;
            Command::UserAdd(NewUser { user: name, name: full_name, email, roles, password })
        }
        UserCommand::Invite { name, roles, ttl } => {
            Command::UserInvite { user: name, roles, seconds: ttl }
        }
        UserCommand::Import { file, dry_run } => {
            Command::UserImport { text: read_file(output, &file)?, dry_run }
        }
        UserCommand::List { .. } => Command::UserList,
        UserCommand::Show { name, .. } => Command::UserShow { user: name },
        UserCommand::Passwd { name, password } => {
            Command::UserPasswd { user: name, password: read(&password)? }
        }
        UserCommand::Roles { name, roles } => Command::UserRoles { user: name, roles },
        UserCommand::Disable { name } => Command::UserDisable { user: name },
        UserCommand::Enable { name } => Command::UserEnable { user: name },
        UserCommand::Delete { name, free_name } => Command::UserDelete { user: name, free_name },
    };
    Ok((command, generated))
}

fn answer(output: &Output, file: Option<&Path>, (command, json): (Command, bool)) -> ExitCode {
    match carry_out(output, file, command) {
        Ok(answer) => print(output, &answer, json),
        Err(code) => code,
    }
}

/// A gateway that runs is asked whatever the file says by now: of it, only the data folder counts.
fn carry_out(output: &Output, file: Option<&Path>, command: Command) -> Result<Answer, ExitCode> {
    let is_reload = matches!(command, Command::Reload);
    // A gateway that is asked to reload reads its own file, whichever it is.
    let in_doubt = if is_reload { InDoubt::TakeDefault } else { InDoubt::Refuse };
    let could_not = |error| output.could_not(error);
    let file = find(file).map_err(|text| output.could_not(text))?;
    let environment = Environment::process();
    let data_dir = config::data_dir(&file, &environment, in_doubt).map_err(|r| output.tell(&r))?;
    // What root may read, the owner of the folder may not.
    let loaded = config::load(&file, &environment);
    administration::become_owner(&data_dir).map_err(could_not)?;
    if let Some(answer) = administration::ask(&data_dir, &command).map_err(could_not)? {
        return Ok(answer);
    }
    let loaded = loaded.map_err(|report| {
        let code = output.tell(&report);
        let nobody = || could_not(AdministrationError::not_running(&data_dir));
        if is_reload { nobody() } else { code }
    })?;
    administration::administer(loaded.config, command).map_err(could_not)
}

fn print(output: &Output, answer: &Answer, json: bool) -> ExitCode {
    match answer {
        Answer::Done(text) => output.say(text),
        Answer::Refused(text) => output.refuse(text),
        Answer::Users(users) if json => output.say(to_json(users)),
        Answer::Sessions(sessions) if json => output.say(to_json(sessions)),
        Answer::Keys(keys) if json => output.say(to_json(keys)),
        Answer::Keys(keys) => output.say(table(keys.iter().map(key_row), &KEY_HEAD)),
        Answer::Users(users) => output.say(table(users.iter().map(user_row), &USER_HEAD)),
        Answer::Sessions(sessions) => {
            output.say(table(sessions.iter().map(session_row), &SESSION_HEAD))
        }
    }
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

const USER_HEAD: [&str; 5] = ["NAME", "ROLES", "FULL NAME", "E-MAIL", "STATE"];

fn user_row(user: &UserView) -> [String; 5] {
    [
        user.username.clone(),
        user.roles.join(","),
        user.name.clone().unwrap_or_default(),
        user.email.clone().unwrap_or_default(),
        if user.disabled { "disabled".to_owned() } else { String::new() },
    ]
}

const SESSION_HEAD: [&str; 5] = ["ID", "USER", "DEVICE", "NETWORK", "LAST SEEN"];

fn session_row(session: &SessionView) -> [String; 5] {
    let device = session.device_name.as_ref().or(session.user_agent.as_ref());
    [
        session.id.clone(),
        session.username.clone(),
        device.cloned().unwrap_or_default(),
        session.ip_prefix.clone().unwrap_or_default(),
        session.last_seen_at.clone(),
    ]
}

const KEY_HEAD: [&str; 6] = ["KID", "SIGNS", "ALGORITHM", "STATE", "SIGNS FROM", "VERIFIES UNTIL"];

fn key_row(key: &KeyView) -> [String; 6] {
    [
        key.kid.clone(),
        key.purpose.clone(),
        key.algorithm.clone(),
        key.state.clone(),
        key.signs_from.clone().unwrap_or_default(),
        key.verifies_until.clone().unwrap_or_default(),
    ]
}

/// Columns as wide as their widest cell. No character of a client moves the text of a terminal.
pub(super) fn table<const N: usize>(
    rows: impl Iterator<Item = [String; N]>,
    head: &[&str; N],
) -> String {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.map(|row| row.map(|cell| cell.replace(is_hostile, "?"))));
    let widths: Vec<usize> = (0..N)
        .map(|at| lines.iter().filter_map(|line| line.get(at)).map(|c| c.chars().count()).max())
        .map(Option::unwrap_or_default)
        .collect();
    let padded = |line: &[String; N]| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(padded).collect::<Vec<_>>().join("\n")
}

fn read_password(output: &Output, source: &PasswordSource) -> Result<String, ExitCode> {
    if source.generate {
        return Ok(demo::password());
    }
    let read =
        if source.password_stdin || !io::stdin().is_terminal() { read_line() } else { prompt() };
    match read {
        Ok(password) if password.is_empty() => Err(output.refuse("no password was given")),
        Ok(password) => Ok(password),
        Err(cause) => Err(output.could_not(format!("cannot read a password: {cause}"))),
    }
}

/// A file of users; one that is longer does not fit through the control socket.
fn read_file(output: &Output, file: &Path) -> Result<String, ExitCode> {
    const LONGEST: u64 = 8 << 20;
    let read = || {
        let mut text = String::new();
        let length = File::open(file)?.take(LONGEST + 1).read_to_string(&mut text)?;
        if u64::try_from(length).is_ok_and(|length| length <= LONGEST) {
            Ok(text)
        } else {
            Err(io::Error::other("it is longer than 8 MiB; import it in parts"))
        }
    };
    read().map_err(|cause| output.could_not(format!("cannot read {}: {cause}", file.display())))
}

/// The first line of standard input.
fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().take(4096).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Asks twice, without showing what is typed.
fn prompt() -> io::Result<String> {
    let ask = |question: &str| {
        let mut terminal = io::stderr().lock();
        terminal.write_all(question.as_bytes())?;
        terminal.flush()?;
        drop(terminal);
        let line = unseen()?;
        io::stderr().lock().write_all(b"\n")?;
        Ok::<_, io::Error>(line)
    };
    let first = ask("Password: ")?;
    if first == ask("Once more: ")? { Ok(first) } else { Err(io::Error::other("the two differ")) }
}

/// A line from the terminal with its echo off, which is on again whatever happens.
fn unseen() -> io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &quiet)?;
    let line = read_line();
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    line
}

#[cfg(test)]
mod tests {
    use super::table;

    #[test]
    fn a_table_lets_nothing_to_the_terminal_that_moves_its_text() {
        let rows = [["a\u{1b}[2J".to_owned()], ["a\u{202e}b\u{200b}".to_owned()]];
        assert_eq!(table(rows.into_iter(), &["NAME"]), "NAME\na?[2J\na?b?");
    }
}
