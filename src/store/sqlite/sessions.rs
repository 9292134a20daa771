//! Sessions: begun, found, listed.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, named_params};

use super::columns::{Generation, Roles};
use super::endings::end;
use crate::clock::Timestamp;
use crate::identity::{Identity, SessionId, UserId};
use crate::session::{EndReason, Row};
use crate::store::{Begun, NewSession};

macro_rules! rows {
    ($which:literal) => {
        concat!(
            "SELECT s.sid, s.user_id, u.username, u.roles, s.transport, s.gen, s.cur_hash,
                s.prev_hash, s.rot_salt, s.rot_kid, s.confirmed, s.retry_key, s.sv, s.created_at,
                s.auth_time, s.rotated_at, s.given_at, s.late, s.last_seen_at, s.idle_expires_at, s.abs_expires_at,
                s.remember, s.revoked_at, s.user_agent, s.ua_hash, s.ip_prefix, s.login_prefix, s.device_name,
                u.disabled_at IS NOT NULL OR u.deleted_at IS NOT NULL OR u.pw_epoch <> s.pw_epoch
                    AS barred
            FROM sessions s JOIN users u ON u.id = s.user_id WHERE ",
            $which
        )
    };
}

/// A session, ended or not.
pub(super) fn row(database: &Connection, session: SessionId) -> rusqlite::Result<Option<Row>> {
    database.prepare_cached(rows!("s.sid = ?1"))?.query_row([session], read).optional()
}

/// Live sessions, newest login first.
pub(super) fn live(
    database: &Connection,
    user: Option<UserId>,
    now: Timestamp,
) -> rusqlite::Result<Vec<Row>> {
    match user {
        Some(user) => database
            .prepare_cached(rows!(
                "s.user_id = ?2 AND s.revoked_at IS NULL AND s.idle_expires_at > ?1
                AND s.abs_expires_at > ?1 ORDER BY s.created_at DESC, s.sid"
            ))?
            .query_map((now, user), read)?
            .collect(),
        None => database
            .prepare_cached(rows!(
                "s.revoked_at IS NULL AND s.idle_expires_at > ?1
                AND s.abs_expires_at > ?1 ORDER BY s.created_at DESC, s.sid"
            ))?
            .query_map([now], read)?
            .collect(),
    }
}

/// How many sessions live.
pub(super) fn count(database: &Connection, now: Timestamp) -> rusqlite::Result<u32> {
    database
        .prepare_cached(
            "SELECT count(*) FROM sessions
            WHERE revoked_at IS NULL AND idle_expires_at > ?1 AND abs_expires_at > ?1",
        )?
        .query_row([now], |row| row.get(0))
}

/// Names the device of a session that has not ended.
pub(super) fn name_device(
    database: &Connection,
    session: SessionId,
    name: &str,
) -> rusqlite::Result<bool> {
    let named = database
        .prepare_cached(
            "UPDATE sessions SET device_name = ?2 WHERE sid = ?1 AND revoked_at IS NULL",
        )?
        .execute((session, name))?;
    Ok(named > 0)
}

/// Begins a session, for a user who may (still) have one, in the place of those it replaces.
pub(super) fn begin(
    database: &Connection,
    new: &NewSession,
    now: Timestamp,
) -> rusqlite::Result<Begun> {
    if !may_begin(database, new)? {
        return Ok(Begun::Refused);
    }
    let mut ended = Vec::new();
    let replaced = new.replaces.into_iter().chain(namesakes(database, new)?);
    for session in replaced.collect::<Vec<_>>() {
        if end(database, session, EndReason::Replaced, now)? {
            ended.push((session, EndReason::Replaced));
        }
    }
    for session in surplus(database, new, now)? {
        end(database, session, EndReason::Evicted, now)?;
        ended.push((session, EndReason::Evicted));
    }
    insert(database, new, now)?;
    let row = row(database, new.session)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(Begun::Yes { row: Box::new(row), ended })
}

/// Whether nothing was taken from the user since the password was verified.
pub(super) fn may_begin(database: &Connection, new: &NewSession) -> rusqlite::Result<bool> {
    database
        .prepare_cached(
            "SELECT 1 FROM users WHERE id = ?1 AND pw_epoch = ?2
            AND disabled_at IS NULL AND deleted_at IS NULL",
        )?
        .exists((new.user, new.password_epoch))
}

/// The user's never refreshed sessions on a device of the same name.
fn namesakes(database: &Connection, new: &NewSession) -> rusqlite::Result<Vec<SessionId>> {
    database
        .prepare_cached(
            "SELECT sid FROM sessions WHERE user_id = ?1 AND device_name = ?2
            AND revoked_at IS NULL AND gen = 0 AND transport <> 1",
        )?
        .query_map((new.user, &new.device_name), |row| row.get(0))?
        .collect()
}

/// The live sessions that must go so that one more is not too many.
fn surplus(
    database: &Connection,
    new: &NewSession,
    now: Timestamp,
) -> rusqlite::Result<Vec<SessionId>> {
    let others = i64::try_from(new.max_per_user.saturating_sub(1)).unwrap_or(i64::MAX);
    database
        .prepare_cached(
            "SELECT sid FROM (
                SELECT sid, row_number() OVER (
                    ORDER BY iif(transport = 1, 2, gen > 0) DESC, last_seen_at DESC, sid
                ) AS place
                FROM sessions WHERE user_id = ?1 AND revoked_at IS NULL
                AND idle_expires_at > ?2 AND abs_expires_at > ?2
            ) WHERE place > ?3 ORDER BY place DESC",
        )?
        .query_map((new.user, now, others), |row| row.get(0))?
        .collect()
}

fn insert(database: &Connection, new: &NewSession, now: Timestamp) -> rusqlite::Result<()> {
    let absolute_end = now.plus(new.absolute);
    let mut insert = database.prepare_cached(
        "INSERT INTO sessions (sid, user_id, transport, cur_hash, rot_kid, pw_epoch, created_at,
            auth_time, rotated_at, last_seen_at, idle_ttl, idle_expires_at, abs_expires_at,
            remember, user_agent, ua_hash, ip_prefix, login_prefix, device_name)
        VALUES (:sid, :user, :transport, :first, :key, :epoch, :now, :now, :now, :now, :idle,
            :idle_end, :absolute_end, :remember, :agent, :agent_hash, :network, :network, :device)",
    )?;
    insert.execute(named_params! {
        ":sid": new.session,
        ":user": new.user,
        ":transport": new.transport,
        ":first": new.first,
        ":key": new.key,
        ":epoch": new.password_epoch,
        ":now": now,
        ":idle": millis(new.idle),
        ":idle_end": now.plus(new.idle).min(absolute_end),
        ":absolute_end": absolute_end,
        ":remember": new.remember,
        ":agent": new.user_agent,
        ":agent_hash": new.agent_hash,
        ":network": new.network,
        ":device": new.device_name,
    })?;
    Ok(())
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        identity: Identity {
            user: row.get("user_id")?,
            username: row.get("username")?,
            roles: row.get::<_, Roles>("roles")?.0.into(),
            session: row.get("sid")?,
        },
        transport: row.get("transport")?,
        generation: row.get::<_, Generation>("gen")?.0,
        current: row.get("cur_hash")?,
        previous: row.get("prev_hash")?,
        salt: row.get("rot_salt")?,
        key: row.get("rot_kid")?,
        confirmed: row.get("confirmed")?,
        retry_key: row.get("retry_key")?,
        version: row.get("sv")?,
        created: row.get("created_at")?,
        auth_time: row.get("auth_time")?,
        rotated: row.get("rotated_at")?,
        given: row.get("given_at")?,
        late: row.get("late")?,
        last_seen: row.get("last_seen_at")?,
        idle_end: row.get("idle_expires_at")?,
        absolute_end: row.get("abs_expires_at")?,
        remember: row.get("remember")?,
        revoked: row.get("revoked_at")?,
        user_barred: row.get("barred")?,
        user_agent: row.get("user_agent")?,
        agent_hash: row.get("ua_hash")?,
        network: row.get("ip_prefix")?,
        login_network: row.get("login_prefix")?,
        device_name: row.get("device_name")?,
    })
}
