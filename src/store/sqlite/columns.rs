//! How our values stand in columns. What a column holds is checked as if a stranger had written it:
//! a value that is none of ours is an error, never "not there".

use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};

use crate::clock::Timestamp;
use crate::identity::{Role, SessionId, UserId, Username};
use crate::password::PasswordHash;
use crate::session::{EndReason, Transport};

/// Roles in their order, as a JSON list.
pub(super) struct Roles(pub(super) Vec<Role>);

impl FromSql for Roles {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let names: Vec<String> =
            serde_json::from_str(value.as_str()?).map_err(FromSqlError::other)?;
        let roles = names.iter().map(|name| Role::new(name)).collect::<Result<_, _>>();
        roles.map(Self).map_err(FromSqlError::other)
    }
}

impl ToSql for Roles {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let names: Vec<&str> = self.0.iter().map(Role::as_str).collect();
        let json = serde_json::to_string(&names)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(json.into())
    }
}

/// A generation: SQLite's integers end at 2^63.
pub(super) struct Generation(pub(super) u64);

impl FromSql for Generation {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(FromSqlError::other)
    }
}

impl FromSql for UserId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        FromSql::column_result(value).map(Self::from_bytes)
    }
}

impl ToSql for UserId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_bytes().to_sql()
    }
}

impl FromSql for SessionId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        FromSql::column_result(value).map(Self::from_bytes)
    }
}

impl ToSql for SessionId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_bytes().to_sql()
    }
}

impl FromSql for Username {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::new(value.as_str()?).map_err(FromSqlError::other)
    }
}

impl ToSql for Username {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for PasswordHash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::parse(value.as_str()?).map_err(FromSqlError::other)
    }
}

impl ToSql for PasswordHash {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_millis)
    }
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_millis().into())
    }
}

impl FromSql for Transport {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Unpinned),
            1 => Ok(Self::Cookie),
            2 => Ok(Self::Body),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

impl ToSql for Transport {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let code = match self {
            Self::Unpinned => 0,
            Self::Cookie => 1,
            Self::Body => 2,
        };
        Ok(code.into())
    }
}

impl ToSql for EndReason {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let word = match self {
            Self::Reuse => "reuse",
            Self::Integrity => "integrity",
            Self::StoreRollback => "store_rollback",
            Self::Transport => "transport",
            Self::User => "user",
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Administrator => "administrator",
            Self::Password => "password",
            Self::Evicted => "evicted",
            Self::Replaced => "replaced",
        };
        Ok(word.into())
    }
}
