//! How sessions end, how their older access tokens stop to count, and how both are forgotten.
//!
//! Invariant: a row and its record in `revocations` change in one transaction.

use std::time::Duration;

use rusqlite::Connection;

use crate::clock::Timestamp;
use crate::identity::{SessionId, UserId};
use crate::revocation::KEPT;
use crate::session::EndReason;
use crate::store::{Ended, Revocation};

/// Ends a session; false: it was ended before, or never was. One past its end by time is ended all
/// the same: the clock may have been wrong.
pub(super) fn end(
    database: &Connection,
    session: SessionId,
    reason: EndReason,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let ended = database
        .prepare_cached(
            "UPDATE sessions SET revoked_at = ?2, revoke_reason = ?3
            WHERE sid = ?1 AND revoked_at IS NULL",
        )?
        .execute((session, now, reason))?;
    if ended == 0 {
        return Ok(false);
    }
    database
        .prepare_cached(
            "INSERT INTO revocations (sid, reason, created_at, expires_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute((session, reason, now, now.plus(KEPT)))?;
    Ok(true)
}

macro_rules! unended {
    ($whose:literal) => {
        concat!(
            "SELECT sid, user_id, idle_expires_at > ?3 AND abs_expires_at > ?3 FROM sessions
            WHERE revoked_at IS NULL AND sid IS NOT ?2 AND ",
            $whose
        )
    };
}

/// Ends all sessions of a user, or of everybody, but one.
pub(super) fn end_all(
    database: &Connection,
    user: Option<UserId>,
    (but, reason): (Option<SessionId>, EndReason),
    now: Timestamp,
) -> rusqlite::Result<Vec<Ended>> {
    let unended = match user {
        Some(_) => unended!("user_id = ?1"),
        None => unended!("?1 IS NULL"),
    };
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Ended { session: row.get(0)?, user: row.get(1)?, lived: row.get(2)? })
    };
    let mut found = database.prepare_cached(unended)?;
    let all: Vec<Ended> = found.query_map((user, but, now), read)?.collect::<Result<_, _>>()?;
    for ended in &all {
        end(database, ended.session, reason, now)?;
    }
    Ok(all)
}

/// Raises the least `sv` of a user's sessions.
pub(super) fn raise(
    database: &Connection,
    user: UserId,
    now: Timestamp,
) -> rusqlite::Result<Vec<(SessionId, u32)>> {
    let raised: Vec<(SessionId, u32)> = database
        .prepare_cached(
            "UPDATE sessions SET sv = sv + 1 WHERE user_id = ?1 AND revoked_at IS NULL
            RETURNING sid, sv",
        )?
        .query_map([user], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut record = database.prepare_cached(
        "INSERT INTO revocations (sid, below_sv, reason, created_at, expires_at)
        VALUES (?1, ?2, 'changed', ?3, ?4)",
    )?;
    for (session, version) in &raised {
        record.execute((session, version, now, now.plus(KEPT)))?;
    }
    Ok(raised)
}

/// Everything that a sweep left.
pub(super) fn revocations(database: &Connection) -> rusqlite::Result<Vec<Revocation>> {
    database
        .prepare_cached("SELECT sid, below_sv, expires_at FROM revocations ORDER BY id")?
        .query_map([], revocation)?
        .collect()
}

/// What was recorded at this moment: by the transaction of that moment, and perhaps by one just
/// before.
pub(super) fn recorded_at(
    database: &Connection,
    now: Timestamp,
) -> rusqlite::Result<Vec<Revocation>> {
    database
        .prepare_cached("SELECT sid, below_sv, expires_at FROM revocations WHERE created_at = ?1")?
        .query_map([now], revocation)?
        .collect()
}

fn revocation(row: &rusqlite::Row<'_>) -> rusqlite::Result<Revocation> {
    Ok(Revocation { session: row.get(0)?, below: row.get(1)?, expires: row.get(2)? })
}

/// Forgets what is long over; true: more may be left.
pub(super) fn sweep(database: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    // Few: administrators make them one by one.
    database.prepare_cached("DELETE FROM setup_links WHERE expires_at <= ?1")?.execute([now])?;
    let long_ago = now.minus(REMEMBERED);
    let sessions = database
        .prepare_cached(
            "DELETE FROM sessions WHERE sid IN (SELECT sid FROM sessions WHERE
                min(idle_expires_at, abs_expires_at, coalesce(revoked_at, abs_expires_at)) <= ?1
                LIMIT ?2)",
        )?
        .execute((long_ago, BATCH))?;
    let room = BATCH.saturating_sub(i64::try_from(sessions).unwrap_or(BATCH));
    let revocations = database
        .prepare_cached(
            "DELETE FROM revocations WHERE id IN
                (SELECT id FROM revocations WHERE created_at <= ?1 LIMIT ?2)",
        )?
        .execute((long_ago, room))?;
    Ok(i64::try_from(revocations).unwrap_or(room) >= room)
}

/// How long what ended stays, so that a corrected clock finds it.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Rows that one sweep removes at most: the writer is not held up for long.
pub(super) const BATCH: i64 = 1000;
