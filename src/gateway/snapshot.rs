//! The compiled configuration that a request is served by, from its first byte to its last.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::cookies::CookieJar;
use super::pages::Pages;
use crate::config::{Config, Insecure};
use crate::policy::{Conflict, Table, UpstreamId};
use crate::request::{
    CookieNames, CookiePrefix, HostPattern, Origin, Reader, Scheme, ServedOrigins, UploadLimits,
};
use crate::upstream::HeaderRules;

/// A [`Config`] compiled for one worker: nothing in it is shared with another.
#[derive(Debug)]
pub struct Snapshot {
    config: Arc<Config>,
    table: Table,
    reader: Reader,
    rules: HeaderRules,
    jar: CookieJar,
    realm: String,
    pages: Pages,
    hsts: Option<HeaderValue>,
}

impl Snapshot {
    /// Compiles; `bound` are the listeners' addresses, which give the origin when none is written.
    pub fn compile(config: &Arc<Config>, bound: &[SocketAddr]) -> Result<Self, Vec<Conflict>> {
        let public = public_origins(config, bound);
        let hosts: Vec<HostPattern> =
            config.routes.iter().flat_map(|route| route.hosts.iter().cloned()).collect();
        let table =
            Table::compile_with(&config.routes, &config.auth.path, config.auth.cors.as_ref())?;
        let served = ServedOrigins::new(&public, &config.server.public_origins, &hosts);
        let Some(first) = public.first() else {
            return Err(Vec::new());
        };
        let insecure = config.cookies.insecure != Insecure::No && first.scheme() == Scheme::Http;
        let prefix = if insecure { CookiePrefix::Bare } else { CookiePrefix::HostHttp };
        let cookies = CookieNames::new(first, prefix);
        let routes = table.routes().iter().map(AsRef::as_ref);
        let rules = HeaderRules::new(routes, &config.upstreams, &cookies);
        let jar = CookieJar::new(cookies.clone(), &config.cookies, !insecure);
        let realm = first.host().to_string();
        let pages = Pages::new(&config.auth, &realm);
        let hsts = hsts(config, &served);
        let reader = Reader {
            served,
            cookies,
            target_limit: config.server.limit_target,
            field_limit: config.server.limit_fields,
            trust: config.server.trust.clone(),
        };
        Ok(Self { config: Arc::clone(config), table, reader, rules, jar, realm, pages, hsts })
    }

    /// The configuration it was compiled from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Every route.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// What reading a request needs.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What rewriting needs.
    pub fn header_rules(&self) -> &HeaderRules {
        &self.rules
    }

    /// `Strict-Transport-Security` of every answer.
    pub(super) fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    pub(super) fn jar(&self) -> &CookieJar {
        &self.jar
    }

    pub(super) fn pages(&self) -> &Pages {
        &self.pages
    }

    /// The name of an upstream, for the log.
    pub(super) fn upstream_name(&self, upstream: UpstreamId) -> Option<&Arc<str>> {
        self.config.upstreams.get(upstream.0).map(|upstream| &upstream.name)
    }

    /// `Host` of the first served origin, for requests that nobody sent.
    pub(super) fn first_host(&self) -> String {
        let first = self.reader.served.exact().first();
        first.map(|origin| format!("{}:{}", origin.host(), origin.port())).unwrap_or_default()
    }

    /// What bounds every body, before its route is known.
    pub(super) fn upload_limits(&self) -> UploadLimits {
        let server = &self.config.server;
        UploadLimits { max_bytes: None, min_rate: server.body_min_rate, grace: server.body_grace }
    }

    pub(super) fn reauth_max_age(&self) -> Duration {
        self.config.sessions.reauth_max_age
    }

    /// `Bearer realm="…"`, with the error of a token that was presented, and how many seconds old a
    /// login may be that is asked for (RFC 9470 section 3).
    pub(super) fn challenge(&self, error: Option<&str>, max_age: Option<u64>) -> HeaderValue {
        let error = error.map(|error| format!(", error=\"{error}\"")).unwrap_or_default();
        let age = max_age.map(|age| format!(", max_age=\"{age}\"")).unwrap_or_default();
        HeaderValue::from_str(&format!("Bearer realm=\"{}\"{error}{age}", self.realm))
            .unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}

/// `Strict-Transport-Security` (RFC 6797 section 6.1), where it is asked for and every origin that
/// browsers see is https: over http it must not be told.
fn hsts(config: &Config, served: &ServedOrigins) -> Option<HeaderValue> {
    let age = config.server.hsts?.as_secs();
    let secure = served.exact().iter().all(|origin| origin.scheme() == Scheme::Https);
    let told = || HeaderValue::from_str(&format!("max-age={age}")).ok();
    secure.then(told).flatten()
}

/// `public_url`, or http://localhost (https with certificates) with the port of each listener as bound.
pub fn public_origins(config: &Config, bound: &[SocketAddr]) -> Vec<Origin> {
    config.server.first_origins(bound)
}
