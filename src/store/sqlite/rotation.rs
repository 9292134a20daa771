//! The compare-and-swap at the heart of a refresh, and what follows when it does not hold.

use std::time::Duration;

use rusqlite::ffi::{Error, SQLITE_INTERNAL};
use rusqlite::{Connection, named_params};

use super::endings::end;
use super::sessions::{millis, row};
use crate::clock::Timestamp;
use crate::identity::SessionId;
use crate::session::{Row, Transport, Verdict, classify, is_dating, is_giving};
use crate::store::{Rotate, Rotation};

/// Rotates, or says why not and does what that asks for.
///
/// Everything here sees one moment and one state of the database, so there is no race to lose and
/// nothing to try again.
pub(super) fn rotate(
    database: &Connection,
    ask: &Rotate,
    now: Timestamp,
) -> rusqlite::Result<Rotation> {
    let session = ask.presented.session;
    if swap(database, ask, now)? {
        return told(database, session, Verdict::Rotate);
    }
    let found = row(database, session)?;
    let verdict = classify(found.as_ref(), &ask.presented, ask.windows, now);
    match verdict {
        Verdict::End(reason) if ask.may_end => {
            end(database, session, reason, now)?;
        }
        Verdict::Coalesced
            if found.as_ref().is_some_and(|row| is_dating(verdict, row, ask.windows, now)) =>
        {
            date_anew(database, session, (ask.windows.cookie, now))?;
            settle(database, session, ask.presented.transport)?;
        }
        Verdict::Coalesced if found.as_ref().is_some_and(news) => {
            settle(database, session, ask.presented.transport)?;
        }
        Verdict::Replayed { .. }
            if found.as_ref().is_some_and(|row| is_giving(verdict, row, ask.windows, now)) =>
        {
            note_given(database, session, now)?;
        }
        Verdict::Rotate => return Err(disagreement()),
        Verdict::End(_)
        | Verdict::Coalesced
        | Verdict::Replayed { .. }
        | Verdict::Expired
        | Verdict::Revoked
        | Verdict::Unknown => {
            return Ok(Rotation { verdict, row: found.map(Box::new) });
        }
    }
    told(database, session, verdict)
}

/// Marks rotations as confirmed by access tokens that were not issued before them. An `iat` counts
/// whole seconds. A late giving stays noted: the next rotation counts it.
pub(super) fn confirm(
    database: &Connection,
    seen: &[(SessionId, Timestamp)],
    window: Duration,
) -> rusqlite::Result<()> {
    let mut confirm = database.prepare_cached(
        "UPDATE sessions SET confirmed = 1, given_at =
            iif(?2 < given_at / 1000 AND given_at < rotated_at + ?3, NULL, given_at)
        WHERE sid = ?1 AND confirmed = 0 AND rotated_at / 1000 <= ?2",
    )?;
    let window = millis(window);
    let mut confirm = |(session, iat): &(SessionId, Timestamp)| {
        confirm.execute((session, iat.as_secs(), window)).map(drop)
    };
    seen.iter().try_for_each(&mut confirm)
}

/// What `SWAP` refused, the rules allow: a fault of ours, and no reason to end anything.
fn disagreement() -> rusqlite::Error {
    let text = "the rotation's statement and the rules of sessions disagree about this row";
    rusqlite::Error::SqliteFailure(Error::new(SQLITE_INTERNAL), Some(text.to_owned()))
}

fn told(database: &Connection, session: SessionId, verdict: Verdict) -> rusqlite::Result<Rotation> {
    Ok(Rotation { verdict, row: row(database, session)?.map(Box::new) })
}

/// One statement: every condition of a rotation, and the rotation.
fn swap(database: &Connection, ask: &Rotate, now: Timestamp) -> rusqlite::Result<bool> {
    let presented = &ask.presented;
    let window = match presented.transport {
        Transport::Cookie => millis(ask.windows.cookie),
        Transport::Unpinned | Transport::Body => 0,
    };
    let mut swap = database.prepare_cached(SWAP)?;
    let swapped = swap.execute(named_params! {
        ":sid": presented.session,
        // No row reaches a generation that does not fit.
        ":gen": i64::try_from(presented.generation).unwrap_or(i64::MAX),
        ":hash": presented.hash,
        ":transport": presented.transport,
        ":next": ask.next,
        ":salt": ask.salt,
        ":key": ask.key,
        ":retry_key": presented.retry_key,
        ":agent_hash": presented.agent_hash,
        ":network": presented.network,
        ":window": window,
        ":now": now,
    })?;
    Ok(swapped == 1)
}

/// Whether a coalesced refresh tells the row anything.
fn news(row: &Row) -> bool {
    !row.confirmed || row.transport == Transport::Unpinned
}

/// The current token came: its rotation is confirmed, and an unpinned session is pinned.
fn settle(database: &Connection, session: SessionId, transport: Transport) -> rusqlite::Result<()> {
    database
        .prepare_cached(
            "UPDATE sessions SET confirmed = 1, transport = iif(transport = 0, ?2, transport)
            WHERE sid = ?1",
        )?
        .execute((session, transport))
        .map(drop)
}

/// A clock that was ahead has written the row: its rotation is a window old from now on, no less, so
/// that the token before it holds for the own client alone. Given a window late, as it looks then, it
/// would cost one that was not late.
fn date_anew(
    database: &Connection,
    session: SessionId,
    (window, now): (Duration, Timestamp),
) -> rusqlite::Result<()> {
    database
        .prepare_cached(
            "UPDATE sessions SET rotated_at = ?2, given_at = ?3, late = max(late - 1, 0)
            WHERE sid = ?1",
        )?
        .execute((session, now.minus(window), now))
        .map(drop)
}

/// A successor that is given again is as new to its client as one just made.
fn note_given(database: &Connection, session: SessionId, now: Timestamp) -> rusqlite::Result<()> {
    database
        .prepare_cached("UPDATE sessions SET given_at = ?2 WHERE sid = ?1")?
        .execute((session, now))
        .map(drop)
}

pub(super) const SWAP: &str =
    "UPDATE sessions SET gen = gen + 1, prev_hash = cur_hash, cur_hash = :next,
        rot_salt = :salt, rot_kid = :key, retry_key = :retry_key, confirmed = 0,
        transport = :transport, rotated_at = :now, given_at = NULL,
        late = iif(abs(given_at - rotated_at) >= :window, late + 1, max(late - 1, 0)), last_seen_at = :now, ua_hash = :agent_hash, ip_prefix = :network,
        idle_expires_at = min(max(idle_expires_at, :now + idle_ttl), abs_expires_at)
    WHERE sid = :sid AND gen = :gen AND cur_hash = :hash
        AND (transport = 0 OR transport = :transport) AND revoked_at IS NULL
        AND idle_expires_at > :now AND abs_expires_at > :now
        AND (:window = 0 OR :now - max(rotated_at, coalesce(given_at, 0)) >= :window)
        AND EXISTS (SELECT 1 FROM users u WHERE u.id = user_id AND u.disabled_at IS NULL
            AND u.deleted_at IS NULL AND u.pw_epoch = sessions.pw_epoch)";
