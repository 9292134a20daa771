//! How long sessions live: noted when seen, and cut when the configuration gives them less.

use rusqlite::{Connection, named_params};

use super::endings::BATCH;
use super::sessions::millis;
use crate::clock::Timestamp;
use crate::identity::SessionId;
use crate::store::Lifetimes;

/// Notes when sessions were last seen; no moment moves back.
pub(super) fn touch(
    database: &Connection,
    seen: &[(SessionId, Timestamp)],
) -> rusqlite::Result<()> {
    let mut note = database.prepare_cached(
        "UPDATE sessions SET last_seen_at = ?2
        WHERE sid = ?1 AND last_seen_at < ?2 AND revoked_at IS NULL",
    )?;
    seen.iter().try_for_each(|seen| note.execute(*seen).map(drop))
}

/// Cuts what lives too long; false: nothing was left that did. Only a rotation moves the idle end, so that
/// it is counted from the last one.
pub(super) fn shorten(database: &Connection, to: Lifetimes) -> rusqlite::Result<bool> {
    let cut = database
        .prepare_cached(
            "UPDATE sessions SET
                abs_expires_at = min(abs_expires_at, created_at + :absolute),
                idle_ttl = min(idle_ttl, :idle),
                idle_expires_at = min(idle_expires_at, rotated_at + :idle, created_at + :absolute)
            WHERE sid IN (SELECT sid FROM sessions
                WHERE revoked_at IS NULL AND remember = :remember
                AND (abs_expires_at > created_at + :absolute OR idle_ttl > :idle) LIMIT :batch)",
        )?
        .execute(named_params! {
            ":remember": to.remember,
            ":idle": millis(to.idle),
            ":absolute": millis(to.absolute),
            ":batch": BATCH,
        })?;
    Ok(cut > 0)
}
