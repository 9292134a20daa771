//! Users: found, added, changed. Whatever takes a user's standing ends sessions in the same
//! transaction.

use rusqlite::{Connection, OptionalExtension, Row};

use super::columns::Roles;
use super::endings;
use crate::clock::Timestamp;
use crate::identity::{Role, UserId, Username};
use crate::password::PasswordHash;
use crate::session::EndReason;
use crate::store::{Added, Applicant, Changed, NewUser, Taking, User};

macro_rules! users {
    ($which:literal) => {
        concat!(
            "SELECT id, username, name, email, roles, pw_hash, pw_epoch, disabled_at, created_at
            FROM users WHERE deleted_at IS NULL ",
            $which
        )
    };
}

/// The user of a name.
pub(super) fn by_name(database: &Connection, name: &Username) -> rusqlite::Result<Option<User>> {
    let mut found = database.prepare_cached(users!("AND username_key = ?1"))?;
    found.query_row([name], user).optional()
}

/// The user of a name, and whether a live session of that user is of this network. For a name
/// that nobody has the second question is asked of an id that nobody has.
pub(super) fn applicant(
    database: &Connection,
    name: &Username,
    network: Option<&str>,
    now: Timestamp,
) -> rusqlite::Result<Applicant> {
    let user = by_name(database, name)?;
    let id = user.as_ref().map_or(UserId::from_bytes([0; 16]), |user| user.id);
    let is_near = database
        .prepare_cached(
            "SELECT 1 FROM sessions WHERE user_id = ?1 AND ip_prefix = ?2 AND revoked_at IS NULL
            AND idle_expires_at > ?3 AND abs_expires_at > ?3",
        )?
        .exists((id, network, now))?;
    Ok(Applicant { user, is_near })
}

/// Whether anybody ever had the name. A freed one stays in the row, and is lost to its key alone.
pub(super) fn was(database: &Connection, name: &Username) -> rusqlite::Result<bool> {
    database.prepare_cached(WAS)?.exists([name])
}

/// Only a name that is free, or was freed, asks every row.
pub(super) const WAS: &str = "SELECT 1 FROM users WHERE username_key = ?1
    UNION ALL SELECT 1 FROM users WHERE username = ?1 LIMIT 1";

/// Those of the names that nobody can have any more.
pub(super) fn taken(
    database: &Connection,
    mut names: Vec<Username>,
) -> rusqlite::Result<Vec<Username>> {
    let mut known = database.prepare_cached("SELECT 1 FROM users WHERE username_key = ?1")?;
    let mut fault = Ok(());
    names.retain(|name| {
        known.exists([name]).unwrap_or_else(|error| {
            fault = Err(error);
            false
        })
    });
    fault.map(|()| names)
}

/// The user of an id.
pub(super) fn by_id(database: &Connection, id: UserId) -> rusqlite::Result<Option<User>> {
    let mut found = database.prepare_cached(users!("AND id = ?1"))?;
    found.query_row([id], user).optional()
}

/// All of them, by name.
pub(super) fn all(database: &Connection) -> rusqlite::Result<Vec<User>> {
    let mut found = database.prepare_cached(users!("ORDER BY username_key"))?;
    found.query_map([], user)?.collect()
}

/// Whether there is one.
pub(super) fn any(database: &Connection) -> rusqlite::Result<bool> {
    database.prepare_cached(users!("LIMIT 1"))?.exists([])
}

/// Adds one, unless the name is or was taken.
pub(super) fn add(database: &Connection, new: &NewUser, now: Timestamp) -> rusqlite::Result<Added> {
    let added = database
        .prepare_cached(
            "INSERT INTO users
                (id, username, username_key, name, email, roles, pw_hash, pw_prep, created_at)
            VALUES (?1, ?2, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (username_key) DO NOTHING",
        )?
        .execute((
            new.id,
            &new.username,
            &new.name,
            &new.email,
            Roles(new.roles.clone()),
            &new.hash,
            // 0: of the raw password.
            !new.hash.as_ref().is_some_and(PasswordHash::is_foreign),
            now,
        ))?;
    Ok(if added == 0 { Added::NameTaken } else { Added::Yes })
}

/// Adds all of them, unless one of the names is or was taken.
pub(super) fn add_all(
    database: &Connection,
    new: &[NewUser],
    now: Timestamp,
) -> rusqlite::Result<Added> {
    let names = new.iter().map(|user| user.username.clone()).collect();
    if !taken(database, names)?.is_empty() {
        return Ok(Added::NameTaken);
    }
    for user in new {
        if add(database, user, now)? == Added::NameTaken {
            // The same name twice: failing takes back what was added.
            return Err(rusqlite::Error::StatementChangedRows(0));
        }
    }
    Ok(Added::Yes)
}

/// Sets the password; nothing that was proven by the old one goes on.
pub(super) fn set_password(
    database: &Connection,
    user: UserId,
    hash: &PasswordHash,
    now: Timestamp,
) -> rusqlite::Result<Changed> {
    let found = database
        .prepare_cached(
            "UPDATE users SET pw_hash = ?2, pw_prep = 1, pw_epoch = pw_epoch + 1
            WHERE id = ?1 AND deleted_at IS NULL",
        )?
        .execute((user, hash))?;
    ended(database, found, (user, EndReason::Password), now)
}

/// Replaces the hash if it is still `old`.
pub(super) fn rehash(
    database: &Connection,
    user: UserId,
    old: &PasswordHash,
    new: &PasswordHash,
) -> rusqlite::Result<()> {
    database
        .prepare_cached(
            "UPDATE users SET pw_hash = ?3, pw_prep = 1 WHERE id = ?1 AND pw_hash = ?2",
        )?
        .execute((user, old, new))
        .map(drop)
}

/// Sets the roles.
pub(super) fn set_roles(
    database: &Connection,
    user: UserId,
    roles: Vec<Role>,
    now: Timestamp,
) -> rusqlite::Result<Changed> {
    let found = database
        .prepare_cached(
            "UPDATE users SET roles = ?2 WHERE id = ?1 AND deleted_at IS NULL AND roles <> ?2",
        )?
        .execute((user, Roles(roles)))?;
    if found == 0 {
        return untouched(database, user);
    }
    raised(database, found, user, now)
}

/// Makes a change, unless the user is the last who can sign in with the role `keep` and would be
/// no more.
pub(super) fn take_standing(
    database: &Connection,
    user: UserId,
    (change, keep): (Taking, &Role),
    now: Timestamp,
) -> rusqlite::Result<Option<Changed>> {
    if !matches!(&change, Taking::Roles(roles) if roles.contains(keep)) {
        let holds = |user: &User| {
            user.disabled.is_none() && user.hash.is_some() && user.roles.contains(keep)
        };
        let holders: Vec<_> = all(database)?.into_iter().filter(holds).collect();
        if matches!(&holders[..], [last] if last.id == user) {
            return Ok(None);
        }
    }
    match change {
        Taking::Roles(roles) => set_roles(database, user, roles, now),
        Taking::Disable => disable(database, user, now),
        Taking::Delete => delete(database, user, false, now),
    }
    .map(Some)
}

/// Sets full name and e-mail.
pub(super) fn set_profile(
    database: &Connection,
    user: UserId,
    (name, email): (Option<String>, Option<String>),
    now: Timestamp,
) -> rusqlite::Result<Changed> {
    let found = database
        .prepare_cached(
            "UPDATE users SET name = ?2, email = ?3 WHERE id = ?1 AND deleted_at IS NULL",
        )?
        .execute((user, name, email))?;
    raised(database, found, user, now)
}

/// Disables.
pub(super) fn disable(
    database: &Connection,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<Changed> {
    let found = database
        .prepare_cached(
            "UPDATE users SET disabled_at = ?2
            WHERE id = ?1 AND deleted_at IS NULL AND disabled_at IS NULL",
        )?
        .execute((user, now))?;
    if found == 0 {
        return untouched(database, user);
    }
    ended(database, found, (user, EndReason::User), now)
}

/// Enables again; the sessions that ended stay ended.
pub(super) fn enable(database: &Connection, user: UserId) -> rusqlite::Result<Changed> {
    let found = database
        .prepare_cached(
            "UPDATE users SET disabled_at = NULL
            WHERE id = ?1 AND deleted_at IS NULL AND disabled_at IS NOT NULL",
        )?
        .execute([user])?;
    if found == 0 { untouched(database, user) } else { Ok(Changed::Ended(Vec::new())) }
}

/// What a change comes to that found nothing to change.
fn untouched(database: &Connection, user: UserId) -> rusqlite::Result<Changed> {
    let known = by_id(database, user)?.is_some();
    Ok(if known { Changed::Already } else { Changed::NoSuchUser })
}

/// Deletes. The row stays, for its name and for what refers to it, without what is personal or can
/// be guessed at.
pub(super) fn delete(
    database: &Connection,
    user: UserId,
    free_name: bool,
    now: Timestamp,
) -> rusqlite::Result<Changed> {
    let found = database
        .prepare_cached(
            // A colon occurs in no username: a freed key meets no name.
            "UPDATE users SET deleted_at = ?2, name = NULL, email = NULL, pw_hash = NULL,
                username_key = iif(?3, 'deleted:' || lower(hex(id)), username_key)
            WHERE id = ?1 AND deleted_at IS NULL",
        )?
        .execute((user, now, free_name))?;
    ended(database, found, (user, EndReason::User), now)
}

fn ended(
    database: &Connection,
    found: usize,
    (user, reason): (UserId, EndReason),
    now: Timestamp,
) -> rusqlite::Result<Changed> {
    if found == 0 {
        return Ok(Changed::NoSuchUser);
    }
    let ended = endings::end_all(database, Some(user), (None, reason), now)?;
    Ok(Changed::Ended(ended.into_iter().map(|ended| ended.session).collect()))
}

fn raised(
    database: &Connection,
    found: usize,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<Changed> {
    if found == 0 {
        return Ok(Changed::NoSuchUser);
    }
    endings::raise(database, user, now).map(Changed::Raised)
}

pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get("id")?,
        username: row.get("username")?,
        name: row.get("name")?,
        email: row.get("email")?,
        roles: row.get::<_, Roles>("roles")?.0,
        hash: row.get("pw_hash")?,
        password_epoch: row.get("pw_epoch")?,
        disabled: row.get("disabled_at")?,
        created: row.get("created_at")?,
    })
}
