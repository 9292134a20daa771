//! Passwords set by their owners: by the old one, or by a link that was made for it.
//!
//! Invariant: a link works once, and none made before a change of the password works after it.

use rusqlite::{Connection, OptionalExtension};

use super::{sessions, users};
use crate::clock::Timestamp;
use crate::session::EndReason;
use crate::store::{Added, Begun, Changed, NewLink, NewSession, NewUser, Renewal, RenewedBy, User};

/// Keeps a link for a user who may log in; false: there is none.
pub(super) fn add_link(database: &Connection, link: &NewLink) -> rusqlite::Result<bool> {
    database
        .prepare_cached(
            "INSERT INTO setup_links (hash, user_id, pw_epoch, expires_at)
            SELECT ?1, id, pw_epoch, ?3 FROM users
            WHERE id = ?2 AND disabled_at IS NULL AND deleted_at IS NULL",
        )?
        .execute((link.hash, link.user, link.expires))
        .map(|added| added == 1)
}

/// Adds a user and keeps a link for it, unless the name is or was taken.
pub(super) fn invite(
    database: &Connection,
    user: &NewUser,
    link: &NewLink,
    now: Timestamp,
) -> rusqlite::Result<Added> {
    let added = users::add(database, user, now)?;
    if added == Added::Yes {
        add_link(database, link)?;
    }
    Ok(added)
}

/// The user of a good link.
pub(super) fn user_of(
    database: &Connection,
    hash: &[u8; 32],
    now: Timestamp,
) -> rusqlite::Result<Option<User>> {
    database
        .prepare_cached(
            "SELECT id, username, name, email, roles, pw_hash, users.pw_epoch, disabled_at,
                created_at
            FROM setup_links JOIN users ON id = user_id AND users.pw_epoch = setup_links.pw_epoch
            WHERE hash = ?1 AND used_at IS NULL AND expires_at > ?2
                AND disabled_at IS NULL AND deleted_at IS NULL",
        )?
        .query_row((hash, now), users::user)
        .optional()
}

/// Sets the password, ends every session and begins one.
pub(super) fn renew(
    database: &Connection,
    renewal: Renewal,
    now: Timestamp,
) -> rusqlite::Result<Begun> {
    let Renewal { by, hash, session } = renewal;
    if !is_entitled(database, by, &session, now)? {
        return Ok(Begun::Refused);
    }
    let Changed::Ended(before) = users::set_password(database, session.user, &hash, now)? else {
        return Ok(Begun::Refused);
    };
    let epoch = session.password_epoch.saturating_add(1);
    let begun = sessions::begin(database, &NewSession { password_epoch: epoch, ..session }, now)?;
    let Begun::Yes { row, mut ended } = begun else {
        // Failing takes the new password back.
        return Err(rusqlite::Error::QueryReturnedNoRows);
    };
    ended.extend(before.into_iter().map(|session| (session, EndReason::Password)));
    Ok(Begun::Yes { row, ended })
}

/// Whether nothing was taken from the user meanwhile; a link is used up.
fn is_entitled(
    database: &Connection,
    by: RenewedBy,
    session: &NewSession,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    if let RenewedBy::Link(hash) = by {
        let user = user_of(database, &hash, now)?;
        if user.is_none_or(|user| user.id != session.user) {
            return Ok(false);
        }
        database
            .prepare_cached("UPDATE setup_links SET used_at = ?2 WHERE hash = ?1")?
            .execute((hash, now))?;
    }
    sessions::may_begin(database, session)
}
