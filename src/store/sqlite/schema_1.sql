-- Moments and spans are milliseconds (UTC), ids 16 bytes, lists JSON, flags 0 or 1.
PRAGMA application_id = 1346598252;

CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;

CREATE TABLE users (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    username TEXT NOT NULL,
    username_key TEXT NOT NULL UNIQUE,           -- folded; a deleted user's stays reserved
    name TEXT,
    email TEXT,
    roles TEXT NOT NULL,
    pw_hash TEXT,
    pw_prep INTEGER NOT NULL DEFAULT 1,          -- 1: RFC 8265 OpaqueString, 0: raw
    pw_epoch INTEGER NOT NULL DEFAULT 0,
    disabled_at INTEGER,
    deleted_at INTEGER,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    sid BLOB PRIMARY KEY CHECK (length(sid) = 16),
    user_id BLOB NOT NULL REFERENCES users,
    parent_sid BLOB,
    host TEXT,
    transport INTEGER NOT NULL CHECK (transport IN (0, 1, 2)),   -- unpinned, cookie, body
    gen INTEGER NOT NULL DEFAULT 0,
    cur_hash BLOB NOT NULL CHECK (length(cur_hash) = 32),
    prev_hash BLOB,
    rot_salt BLOB,
    rot_kid INTEGER NOT NULL,
    confirmed INTEGER NOT NULL DEFAULT 0,
    retry_key BLOB,
    pw_epoch INTEGER NOT NULL,
    sv INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    auth_time INTEGER NOT NULL,
    rotated_at INTEGER NOT NULL,
    given_at INTEGER,                            -- the unconfirmed current token was given again (T3, T4)
    late INTEGER NOT NULL DEFAULT 0,             -- rotations answered late, less those in time
    last_seen_at INTEGER NOT NULL,
    idle_ttl INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL,
    abs_expires_at INTEGER NOT NULL,
    remember INTEGER NOT NULL,
    revoked_at INTEGER,
    revoke_reason TEXT,
    user_agent TEXT,
    ua_hash BLOB,
    ip_prefix TEXT,
    login_prefix TEXT,                           -- where the login came from; a rotation does not move it
    device_name TEXT,
    dpop_jkt TEXT
) STRICT, WITHOUT ROWID;
-- No column that a rotation writes is indexed.
CREATE INDEX sessions_user ON sessions (user_id) WHERE revoked_at IS NULL;
CREATE INDEX sessions_sweep ON sessions (abs_expires_at);

CREATE TABLE revocations (
    id INTEGER PRIMARY KEY,
    sid BLOB NOT NULL,
    below_sv INTEGER,                            -- NULL: all of the session
    reason TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX revocations_created ON revocations (created_at);

CREATE TABLE app_passwords (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    user_id BLOB NOT NULL REFERENCES users,
    hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    routes TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE setup_links (
    hash BLOB PRIMARY KEY,
    user_id BLOB NOT NULL,
    pw_epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE master_keys (
    id INTEGER PRIMARY KEY,
    check_value BLOB NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    alg TEXT NOT NULL,
    state INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    master_id INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE VIEW refresh_tokens AS
SELECT
    sid AS id, user_id, lower(hex(cur_hash)) AS token_hash,
    min(idle_expires_at, abs_expires_at) AS expires_at,
    revoked_at IS NOT NULL AS revoked,
    created_at, rotated_at, revoked_at, user_agent, ip_prefix, device_name
FROM sessions;
