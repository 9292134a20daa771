//! The schema and its versions: one step of SQL from each to the next.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::file::explain;
use crate::store::OpenError;

/// Brings an older (or empty) store to the newest schema, in one transaction.
pub(super) fn upgrade(database: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let found = version(database, path)?;
    let missing = STEPS.iter().filter(|step| step.to > found);
    apply(database, missing).map_err(|error| explain(path, &error))
}

/// Writes the version again, to see whether anything can be written. An UPDATE to the same value
/// would write nothing.
pub(super) fn write_again(database: &Connection) -> rusqlite::Result<()> {
    let found = database.query_row("SELECT version FROM schema_version", [], |row| row.get(0))?;
    write_version(database, found)
}

/// The version of the schema, 0 for none yet; refuses what is no store, or too new a one.
pub(super) fn version(database: &Connection, path: &Path) -> Result<u32, OpenError> {
    match read_version(database).map_err(|error| explain(path, &error))? {
        Some(found) if found > NEWEST => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: NEWEST })
        }
        Some(found) => Ok(found),
        None => Err(OpenError::Foreign { path: path.to_owned() }),
    }
}

/// None: a database, but not of ours.
fn read_version(database: &Connection) -> rusqlite::Result<Option<u32>> {
    let tables: i64 =
        database.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Some(0));
    }
    let application: i64 = database.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != APPLICATION {
        return Ok(None);
    }
    database.query_row("SELECT version FROM schema_version", [], |row| row.get(0)).optional()
}

fn apply<'a>(
    database: &mut Connection,
    steps: impl Iterator<Item = &'a Step>,
) -> rusqlite::Result<()> {
    let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in steps {
        transaction.execute_batch(step.sql)?;
        write_version(&transaction, step.to)?;
    }
    transaction.commit()
}

fn write_version(database: &Connection, version: u32) -> rusqlite::Result<()> {
    database.execute("DELETE FROM schema_version", [])?;
    database.execute("INSERT INTO schema_version VALUES (?1)", [version]).map(drop)
}

/// A step from the version before.
struct Step {
    to: u32,
    sql: &'static str,
}

/// Oldest first. A released step is never edited: a change is a new one.
const STEPS: [Step; 1] = [Step { to: 1, sql: include_str!("schema_1.sql") }];

const NEWEST: u32 = 1;

/// Marks a database as ours: "PCul" as SQLite's application id.
const APPLICATION: i64 = 1_346_598_252;
