//! Check values of master keys: whether a store and the keys it is opened with belong together.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::file::explain;
use crate::clock::Timestamp;
use crate::secret::same;
use crate::store::OpenError;

/// Compares the given check values with the kept ones; keeps new ones, in an empty store all.
pub(super) fn check(
    database: &mut Connection,
    path: &Path,
    given: &[(u8, [u8; 32])],
    now: Timestamp,
) -> Result<(), OpenError> {
    let fault = |error: rusqlite::Error| explain(path, &error);
    let transaction =
        database.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    if has_rows(&transaction).map_err(fault)? {
        if let Some(id) = wrong(&transaction, given).map_err(fault)? {
            return Err(OpenError::WrongMasterKey { id, path: path.to_owned() });
        }
        if let Some(id) = missing(&transaction, given, now).map_err(fault)? {
            return Err(OpenError::MissingMasterKey { id, path: path.to_owned() });
        }
    } else {
        transaction.execute("DELETE FROM master_keys", []).map_err(fault)?;
    }
    keep(&transaction, given).and_then(|()| transaction.commit()).map_err(fault)
}

/// Whether there is any user or session.
pub(super) fn has_rows(database: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM sessions)";
    database.query_row(sql, [], |row| row.get(0))
}

/// The first key that differs from the one of its id that was used before.
fn wrong(transaction: &Transaction<'_>, given: &[(u8, [u8; 32])]) -> rusqlite::Result<Option<u8>> {
    let mut kept = transaction.prepare("SELECT check_value FROM master_keys WHERE id = ?1")?;
    for (id, value) in given {
        let before: Option<Vec<u8>> = kept.query_row([id], |row| row.get(0)).optional()?;
        if before.is_some_and(|before| !same(&before, value)) {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// The first key that live sessions need and that was not given.
fn missing(
    transaction: &Transaction<'_>,
    given: &[(u8, [u8; 32])],
    now: Timestamp,
) -> rusqlite::Result<Option<u8>> {
    let sql = "SELECT DISTINCT rot_kid FROM sessions WHERE revoked_at IS NULL
        AND idle_expires_at > ?1 AND abs_expires_at > ?1 ORDER BY rot_kid";
    let mut used = transaction.prepare(sql)?;
    for id in used.query_map([now], |row| row.get::<_, u8>(0))? {
        let id = id?;
        if !given.iter().any(|(known, _)| *known == id) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn keep(transaction: &Transaction<'_>, given: &[(u8, [u8; 32])]) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare("INSERT OR IGNORE INTO master_keys VALUES (?1, ?2)")?;
    given.iter().try_for_each(|(id, value)| insert.execute((id, value)).map(drop))
}
