//! How the store fails: for now, or from the start.

use std::path::PathBuf;

use thiserror::Error;

/// The store cannot answer now, or did not say whether it committed: 503, change nothing.
#[derive(Clone, Debug, Error)]
#[error("the store is unavailable: {0}")]
pub struct Unavailable(pub String);

/// The store cannot be opened: what, where, why, and what to do. Nothing was half-done.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file or its folder is not ours to use.
    #[error(
        "cannot open the store {path}: {cause}; the account that runs portcullis must own that file and its folder, or be allowed to read and write both"
    )]
    Denied {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The file, its folder or the file system takes no writes.
    #[error(
        "the store {path} is read-only: {cause}; make the file and its folder writable, or set data_dir to a folder that is"
    )]
    ReadOnly {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// No room.
    #[error(
        "no room for the store {path}: {cause}; free some space on its file system and start again, nothing was changed"
    )]
    Full {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// Reading or writing fails: often a full disk as well.
    #[error(
        "reading or writing the store {path} fails: {cause}; see that its file system is sound, has room and sets no limit on this file, then start again"
    )]
    Disk {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        cause: String,
    },
    /// Not a file of SQLite at all.
    #[error(
        "{path} is not a database; name another file in [store] url, or move that one away to begin with an empty store"
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// A database, but of another program.
    #[error("{path} is a database of another program; name another file in [store] url")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A database that broke.
    #[error("the store {path} is damaged: {cause}; restore it from a backup")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        cause: String,
    },
    /// Another process holds it.
    #[error(
        "the store {path} is locked by another process: {cause}; stop the other one, then start again"
    )]
    Locked {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        cause: String,
    },
    /// Another gateway, or a command, works on it with another data folder.
    #[error(
        "another portcullis uses the store {path}, with another data folder; stop it, administer through the gateway of that folder, or name another file in [store] url"
    )]
    Held {
        /// The database file.
        path: PathBuf,
    },
    /// The schema is from the future.
    #[error(
        "the store {path} was made by a newer Portcullis: it has schema {found}, this one knows schemas up to {known}; run the newer release, or restore a backup from before the upgrade"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema known here.
        known: u32,
    },
    /// SQLite's locks do not hold there.
    #[error(
        "the store {path} would lie on a network file system ({kind}), where SQLite's locks do not hold; set data_dir to a folder on a local disk"
    )]
    Network {
        /// The database file.
        path: PathBuf,
        /// Which kind: `NFS`, `SMB`, ...
        kind: &'static str,
    },
    /// A master key is not the one that this store was used with.
    #[error(
        "master key {id} is not the one the store {path} was used with, and no session of it could be refreshed; put the right key file back (master_keys, id {id}), or give the new key an id of its own"
    )]
    WrongMasterKey {
        /// Its id.
        id: u8,
        /// The database file.
        path: PathBuf,
    },
    /// Live sessions need a master key that was not given.
    #[error(
        "master key {id} is missing, and sessions of the store {path} need it; put its file back and list it in master_keys (id {id}), after the active key if it is to be retired"
    )]
    MissingMasterKey {
        /// Its id.
        id: u8,
        /// The database file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("cannot open the store {path}: {cause}")]
    Other {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
}
