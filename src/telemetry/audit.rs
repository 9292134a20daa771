//! The audit stream: who signed in, was refused, was signed out, and by whom.

use std::net::IpAddr;
use std::sync::Arc;

use super::Core;
use super::line::{Line, Shape};
use super::request_id::RequestId;
use crate::config::Level;
use crate::identity::{SessionId, UserId, Username};
use crate::session::Transport;

/// Where audit lines are handed in, from any thread. Clones share the stream.
#[derive(Clone, Debug)]
pub struct Audit(Arc<Core>);

impl Audit {
    pub(super) const fn new(core: Arc<Core>) -> Self {
        Self(core)
    }

    /// Writes one JSON line. It is never dropped for want of room: should the output be slow, this
    /// waits up to 100 ms and then queues it all the same. `log.level` silences only those of
    /// [`Level::Debug`].
    #[expect(clippy::needless_pass_by_value, reason = "an event is written once, as it is made")]
    pub fn write(&self, event: AuditEvent) {
        if event.level == Level::Debug && !self.0.tells_debug() {
            return;
        }
        let mut line = Vec::with_capacity(512);
        let mut fields = Line::begin(&mut line, Shape::Json);
        fields.moment("time", self.0.clock.now());
        event.fields(&mut fields);
        fields.end();
        self.0.audit.insist(&line);
    }
}

/// One event and what is known of it; what is not known stays out of the line.
#[derive(Clone, Debug)]
#[must_use]
pub struct AuditEvent {
    event: &'static str,
    level: Level,
    request_id: Option<RequestId>,
    user: Option<UserId>,
    username: Option<Username>,
    name_hmac: Option<[u8; 16]>,
    session: Option<SessionId>,
    generation: Option<u64>,
    presented_generation: Option<u64>,
    age_ms: Option<i64>,
    transport: Option<Transport>,
    network: Option<String>,
    address: Option<IpAddr>,
    agent: Option<[u8; 32]>,
    outcome: Option<&'static str>,
    reason: Option<&'static str>,
    actor: Option<String>,
    key: Option<String>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty;)*) => { $(
        $(#[$doc])*
        pub fn $name(mut self, value: impl Into<Option<$kind>>) -> Self {
            self.$name = value.into();
            self
        }
    )* };
}

impl AuditEvent {
    /// An event of this name, `auth.…`, of [`Level::Info`].
    pub const fn new(event: &'static str) -> Self {
        Self {
            event,
            level: Level::Info,
            request_id: None,
            user: None,
            username: None,
            name_hmac: None,
            session: None,
            generation: None,
            presented_generation: None,
            age_ms: None,
            transport: None,
            network: None,
            address: None,
            agent: None,
            outcome: None,
            reason: None,
            actor: None,
            key: None,
        }
    }

    /// How grave it is.
    pub const fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    setters! {
        /// The request that it happened in.
        request_id: RequestId;
        /// The user that it is about.
        user: UserId;
        /// That user's name; never a name that no account has.
        username: Username;
        /// Instead of a name that no account has (people type passwords there): its HMAC.
        name_hmac: [u8; 16];
        /// The session that it is about.
        session: SessionId;
        /// The session's generation.
        generation: u64;
        /// The generation of the presented token.
        presented_generation: u64;
        /// Time since the last rotation, in milliseconds.
        age_ms: i64;
        /// How the token travelled.
        transport: Transport;
        /// The client's network, /24 or /48.
        network: String;
        /// The client's address, where `log.address` allows it.
        address: IpAddr;
        /// The SHA-256 of the user agent; its first eight bytes are told.
        agent: [u8; 32];
        /// How it ended.
        outcome: &'static str;
        /// Why it ended so.
        reason: &'static str;
        /// Who did it, where it was not the user: an administrator, the command line.
        actor: String;
        /// The `kid` of the signing key that it is about.
        key: String;
    }

    fn fields(&self, line: &mut Line<'_>) {
        line.text("event", self.event);
        line.text("level", level_name(self.level));
        if let Some(id) = self.request_id {
            line.id("request_id", id);
        }
        self.subject(line);
        self.token(line);
        self.origin(line);
        let texts = [
            ("outcome", self.outcome),
            ("reason", self.reason),
            ("actor", self.actor.as_deref()),
            ("kid", self.key.as_deref()),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                line.text(key, text);
            }
        }
    }

    fn subject(&self, line: &mut Line<'_>) {
        if let Some(user) = self.user {
            line.id("user_id", user);
        }
        if let Some(name) = &self.username {
            line.text("username", name.as_str());
        }
        if let Some(hmac) = &self.name_hmac {
            line.id("name_hmac", Hex(hmac));
        }
        if let Some(session) = self.session {
            line.id("sid", session);
        }
    }

    fn token(&self, line: &mut Line<'_>) {
        if let Some(generation) = self.generation {
            line.number("gen", generation);
        }
        if let Some(generation) = self.presented_generation {
            line.number("presented_gen", generation);
        }
        if let Some(age) = self.age_ms {
            line.number("age_ms", age);
        }
        if let Some(transport) = self.transport {
            line.text("transport", transport_name(transport));
        }
    }

    fn origin(&self, line: &mut Line<'_>) {
        if let Some(network) = &self.network {
            line.text("ip_prefix", network);
        }
        if let Some(address) = self.address {
            line.id("address", address);
        }
        if let Some(first) = self.agent.as_ref().and_then(|hash| hash.first_chunk::<8>()) {
            line.id("ua_hash", Hex(first));
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
    }
}

const fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Unpinned => "unpinned",
        Transport::Cookie => "cookie",
        Transport::Body => "body",
    }
}
