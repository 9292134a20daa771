//! The effective configuration as TOML, defaults filled in and secrets masked: `portcullis show`.
//!
//! What it prints is a configuration again (but for the masked secrets), and means the same.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use toml::Value;

use super::app_cookies;
use super::entry::{Entry, MASK, chosen, key, list, rate, size, some_list, table, word};
use super::forms::{duration_text, size_text};
use super::identities;
use super::model::{
    Bootstrap, BootstrapPassword, Config, Expect, Insecure, Log, LogOutput, PolicyTest, StoreUrl,
    Upstream,
};
use super::page;
use super::proxies::SOURCES;
use super::respond;
use super::route_headers;
use super::routes::{ACCESS, BEARER, CACHE, ON_DENIED, REWRITE_LOCATION};
use super::server::{FORMATS, LEVELS, SYSLOG};
use super::servers::{BALANCE, HealthCheck, UpstreamServer};
use super::tls;
use super::tokens::{ALGORITHMS, SAME_SITE};
use super::upstream_tls;
use crate::identity::Role;
use crate::policy::{
    Cors, CorsOrigins, CorsPolicy, IdentityHeaders, Patience, Route, Target, Timeouts,
};
use crate::request::HostPattern;

/// The effective configuration as TOML; secrets are masked, files within `data_dir` are told relative to it.
pub fn masked(config: &Config) -> String {
    let mut page = Page(String::new());
    page.server(config);
    page.log(&config.log);
    page.table("[store]", [("url", store(config).into())]);
    page.tokens(config);
    page.sessions(config);
    page.people(config);
    config.bootstrap.iter().for_each(|user| page.bootstrap(user));
    config.cors.values().for_each(|policy| page.cors(policy));
    config.identities.iter().for_each(|(name, headers)| page.identity(name, headers));
    let named = config.upstreams.iter().filter(|upstream| !upstream.name.contains(':'));
    named.for_each(|upstream| page.upstream(upstream));
    config.routes.iter().for_each(|route| page.route(route, config));
    config.tests.iter().for_each(|test| page.test(test));
    page.0
}

struct Page(String);

impl Page {
    fn table<const N: usize>(&mut self, header: &str, entries: [(&str, Entry); N]) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(header);
        self.0.push('\n');
        for (key, Entry(value)) in entries {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = writeln!(self.0, "{key} = {value}");
            }
        }
    }

    fn server(&mut self, config: &Config) {
        let server = &config.server;
        let body = table([
            ("signed_in", size_or_off(server.max_body.signed_in).into()),
            ("public", size_or_off(server.max_body.public).into()),
        ]);
        let least = format!(
            "{}/s after {}",
            size_text(server.body_min_rate),
            duration_text(server.body_grace)
        );
        let limits = table([
            ("target", size(server.limit_target)),
            ("headers", size(server.limit_headers)),
            ("fields", server.limit_fields.into()),
            ("body_min_rate", least.into()),
        ]);
        let timeouts = table([
            ("header", server.header_timeout.into()),
            ("idle", server.idle_timeout.into()),
            ("drain", server.drain_timeout.into()),
            ("tls_handshake", server.tls_handshake_timeout.into()),
        ]);
        self.table(
            "[server]",
            [
                ("listen", list(server.listen.iter())),
                ("public_url", server.public_url.as_ref().map(ToString::to_string).into()),
                ("public_origins", list(server.public_origins.iter())),
                ("trusted_proxies", list(server.trust.proxies.iter())),
                ("client_ip", word(&SOURCES, &server.trust.source)),
                ("data_dir", server.data_dir.display().to_string().into()),
                ("max_body", body),
                ("max_connections", server.max_connections.into()),
                ("max_connections_per_ip", server.max_connections_per_ip.into()),
                ("limits", limits),
                ("timeouts", timeouts),
                ("strict_paths", server.strict_paths.into()),
                (
                    "admin",
                    server
                        .admin
                        .map_or_else(|| "off".to_owned(), |address| address.to_string())
                        .into(),
                ),
                ("workers", server.workers.into()),
                ("tls", tls::pairs_shown(&server.tls)),
                ("hsts", server.hsts.map_or_else(|| "off".into(), Entry::from)),
                ("http_redirect", tls::redirect_shown(server.http_redirect.as_ref())),
            ],
        );
    }

    fn log(&mut self, log: &Log) {
        self.table(
            "[log]",
            [
                ("format", word(&FORMATS, &log.format)),
                ("level", word(&LEVELS, &log.level)),
                ("access", log.access.into()),
                ("output", output(&log.output)),
                ("audit_output", output(&log.audit_output)),
                ("address", if log.full_address { "full" } else { "prefix" }.into()),
            ],
        );
    }

    fn tokens(&mut self, config: &Config) {
        let tokens = &config.tokens;
        let secrets = tokens.secrets.iter().map(|_| MASK);
        self.table(
            "[tokens]",
            [
                ("algorithm", word(&ALGORITHMS, &tokens.algorithm)),
                ("secret", if tokens.secrets.is_empty() { Entry(None) } else { list(secrets) }),
                ("key_dir", within(config, &tokens.key_dir).into()),
                ("issuer", tokens.issuer.clone().into()),
                ("audience", tokens.audience.as_str().into()),
                ("access_ttl", tokens.access_ttl.into()),
                ("access_jitter", Entry(Some(Value::Float(tokens.access_jitter)))),
                ("leeway", tokens.leeway.into()),
                ("sub", if tokens.sub_is_username { "username" } else { "id" }.into()),
                ("rotate_every", tokens.rotate_every.into()),
            ],
        );
    }

    fn sessions(&mut self, config: &Config) {
        let sessions = &config.sessions;
        let windows = table([
            ("cookie", sessions.windows.cookie.into()),
            ("keyed", sessions.windows.keyed.into()),
        ]);
        let keys = sessions.master_keys.iter().filter_map(|(id, file)| {
            table([("id", usize::from(*id).into()), ("file", within(config, file).into())]).0
        });
        self.table(
            "[sessions]",
            [
                ("remember_default", sessions.remember_default.into()),
                ("remember_idle", sessions.remember_idle.into()),
                ("remember_absolute", sessions.remember_absolute.into()),
                ("idle", sessions.idle.into()),
                ("absolute", sessions.absolute.into()),
                ("retry_window", windows),
                ("max_per_user", sessions.max_per_user.into()),
                ("reauth_max_age", sessions.reauth_max_age.into()),
                ("master_keys", Entry(Some(Value::Array(keys.collect())))),
            ],
        );
        let cookies = &config.cookies;
        let insecure = match cookies.insecure {
            Insecure::No => false.into(),
            Insecure::Loopback => true.into(),
            Insecure::TrustedNetwork => "trusted-network".into(),
        };
        self.table(
            "[cookies]",
            [
                ("same_site", word(&SAME_SITE, &cookies.same_site)),
                ("insecure", insecure),
                ("access_token_in_body", cookies.access_token_in_body.into()),
                ("allow_browser_body", cookies.allow_browser_body.into()),
            ],
        );
    }

    fn people(&mut self, config: &Config) {
        let passwords = &config.passwords;
        let argon2 = table([
            ("memory", size_text(u64::from(passwords.cost.memory_kib) << 10).into()),
            ("passes", Entry(Some(passwords.cost.passes.into()))),
            ("lanes", Entry(Some(passwords.cost.lanes.into()))),
        ]);
        self.table(
            "[passwords]",
            [
                ("argon2", argon2),
                ("concurrent", passwords.concurrent.into()),
                ("queue", passwords.queue.into()),
                ("queue_per_network", passwords.queue_per_network.into()),
                ("min_length", passwords.min_length.into()),
            ],
        );
        let limits = &config.rate_limits;
        self.table(
            "[rate_limits]",
            [
                ("login_per_ip", rate(limits.login_per_ip)),
                ("login_per_network", rate(limits.login_per_network)),
                ("login_per_username", rate(limits.login_per_username)),
                ("login_per_user", rate(limits.login_per_user)),
                ("refresh_per_session", rate(limits.refresh_per_session)),
                ("refresh_per_ip", rate(limits.refresh_per_ip)),
                ("sessions_per_session", rate(limits.sessions_per_session)),
                ("admin_per_user", rate(limits.admin_per_user)),
                ("auth_per_ip", rate(limits.auth_per_ip)),
            ],
        );
        self.table(
            "[auth]",
            [
                ("path", config.auth.path.as_str().into()),
                ("roles", list(config.auth.roles.iter())),
                ("after_logout", config.auth.after_logout.as_str().into()),
                ("page", page::shown(&config.auth.page)),
                ("admin_role", config.auth.admin_role.as_ref().map_or("", Role::as_str).into()),
                ("cors", config.auth.cors.as_ref().map(|policy| policy.name.clone()).into()),
            ],
        );
    }

    fn bootstrap(&mut self, user: &Bootstrap) {
        let password = match user.password {
            BootstrapPassword::Plain(_) => ("password", MASK.into()),
            BootstrapPassword::Hash(_) => ("hash", MASK.into()),
        };
        self.table(
            "[[bootstrap]]",
            [("name", user.name.as_str().into()), ("roles", list(user.roles.iter())), password],
        );
    }

    fn cors(&mut self, policy: &CorsPolicy) {
        let origins = match &policy.origins {
            CorsOrigins::Any => "*".into(),
            CorsOrigins::Listed(origins) => list(origins.iter()),
        };
        let methods = policy.methods.as_ref();
        self.table(
            &format!("[cors.{}]", key(&policy.name)),
            [
                ("origins", origins),
                ("credentials", policy.credentials.into()),
                ("methods", methods.map_or(Entry(None), |methods| list(methods.iter()))),
                ("headers", list(policy.headers.iter())),
                ("expose", list(policy.expose.iter())),
                ("max_age", policy.max_age.into()),
            ],
        );
    }

    fn identity(&mut self, name: &str, headers: &IdentityHeaders) {
        self.table(&format!("[identity.{}]", key(name)), identities::shown(headers));
    }

    fn upstream(&mut self, upstream: &Upstream) {
        let response = upstream.response_timeout.map_or_else(|| "off".into(), Entry::from);
        let timeouts = table([
            ("connect", upstream.connect_timeout.into()),
            ("response", response),
            ("idle", upstream.idle_timeout.into()),
        ]);
        let tolerate = [
            (upstream.tolerate_space_before_colon, "space_before_colon"),
            (upstream.tolerate_folded_lines, "folded_lines"),
            (upstream.tolerate_invalid_names, "invalid_names"),
        ];
        self.table(
            &format!("[upstreams.{}]", key(&upstream.name)),
            [
                ("servers", list(upstream.servers.iter().map(UpstreamServer::url))),
                ("balance", word(&BALANCE, &upstream.balance)),
                ("health", upstream.health.as_ref().map_or(Entry(None), HealthCheck::shown)),
                ("eject", upstream.eject.shown()),
                ("retries", upstream.retries.into()),
                ("tls", upstream_tls::shown(&upstream.tls)),
                ("timeouts", timeouts),
                ("max_connections", upstream.max_connections.into()),
                ("max_idle", upstream.max_idle.into()),
                ("header_case", if upstream.title_case { "title" } else { "lower" }.into()),
                ("tolerate", chosen(&tolerate)),
            ],
        );
    }

    fn route(&mut self, route: &Route, config: &Config) {
        let identity =
            config.identities.iter().find(|(_, known)| Arc::ptr_eq(known, &route.identity));
        let upstream = match route.target {
            Target::Upstream(id) => {
                config.upstreams.get(id.0).map(|upstream| upstream.name.to_string())
            }
            Target::Endpoint(_) | Target::Answer(_) => None,
        };
        let answers = matches!(route.target, Target::Answer(_));
        let sent_on = |entry| if answers { Entry(None) } else { entry };
        let allow = [
            (route.allow.underscore_headers, "underscore_headers"),
            (route.allow.method_override, "method_override"),
            (route.allow.non_utf8, "non_utf8"),
        ];
        self.table(
            "[[routes]]",
            [
                ("name", (*route.name).into()),
                ("host", some_list(route.hosts.iter().map(host))),
                ("path", route.pattern.as_str().into()),
                (
                    "methods",
                    route.methods.as_ref().map_or(Entry(None), |methods| list(methods.iter())),
                ),
                ("access", word(&ACCESS, &route.rule.access)),
                ("roles", some_list(route.rule.roles.iter())),
                ("users", some_list(route.rule.users.iter())),
                ("upstream", upstream.into()),
                ("respond", respond::shown(&route.target)),
                ("identity", sent_on(identity.map(|(name, _)| name.clone()).into())),
                ("app_cookies", sent_on(app_cookies::shown(route.app_cookies.as_ref()))),
                ("strip_prefix", route.strip_prefix.clone().into()),
                ("preserve_host", sent_on(route.preserve_host.into())),
                ("rewrite_location", sent_on(word(&REWRITE_LOCATION, &route.answer.location))),
                ("upgrades", sent_on(list(route.upgrades.iter()))),
                ("headers", route_headers::shown(&route.headers, &route.answer)),
                ("bearer", word(&BEARER, &route.bearer)),
                ("on_denied", word(&ON_DENIED, &route.on_denied)),
                ("cors", cors(route.cors.as_ref())),
                ("cache", word(&CACHE, &route.cache)),
                ("logout", some_list(route.logout.iter())),
                ("allow", chosen(&allow)),
                ("allow_ips", some_list(route.rule.addresses.iter())),
                ("max_body", size_or_off(route.max_body).into()),
                ("strict_paths", route.strict_paths.into()),
                ("timeouts", timeouts(&route.timeouts)),
                ("access_log", route.access_log.into()),
                ("overrides", route.overrides.as_deref().map(str::to_owned).into()),
            ],
        );
    }

    fn test(&mut self, test: &PolicyTest) {
        let who = test.roles.as_ref().map_or(Entry(None), |roles| {
            let user = test.user.as_ref().map(ToString::to_string);
            table([("roles", list(roles.iter())), ("user", user.into())])
        });
        let from = test.from.map(|address| address.to_string()).into();
        let expect = match &test.expect {
            Expect::Status(status) => usize::from(*status).into(),
            Expect::Forwarded { route, upstream } => {
                table([("route", route.clone().into()), ("upstream", upstream.clone().into())])
            }
        };
        self.table(
            "[[tests]]",
            [
                ("request", test.text.as_str().into()),
                ("as", who),
                ("from", from),
                ("expect", expect),
            ],
        );
    }
}

fn timeouts(timeouts: &Timeouts) -> Entry {
    if *timeouts == Timeouts::default() {
        return Entry(None);
    }
    let written = |limit: Option<Duration>| limit.map_or(Entry(None), Entry::from);
    table([
        ("connect", written(timeouts.connect)),
        (
            "response",
            match timeouts.response {
                Some(Patience::Endless) => "off".into(),
                Some(Patience::Ends(limit)) => limit.into(),
                None => Entry(None),
            },
        ),
        ("idle", written(timeouts.idle)),
    ])
}

/// A file as the configuration names it: relative within `data_dir`.
fn within(config: &Config, path: &Path) -> String {
    path.strip_prefix(&config.server.data_dir).unwrap_or(path).display().to_string()
}

fn store(config: &Config) -> String {
    match &config.store {
        StoreUrl::Sqlite(path) => format!("sqlite:{}", within(config, path)),
        StoreUrl::Memory => "sqlite::memory:".to_owned(),
    }
}

fn size_or_off(size: Option<u64>) -> String {
    size.map_or_else(|| "off".to_owned(), size_text)
}

fn output(output: &LogOutput) -> Entry {
    match output {
        LogOutput::Stdout => "stdout".into(),
        LogOutput::Syslog(path) if path.as_os_str() == SYSLOG => "syslog".into(),
        LogOutput::Syslog(path) => format!("syslog:{}", path.display()).into(),
        LogOutput::Stderr => "stderr".into(),
        LogOutput::File(path) => format!("file:{}", path.display()).into(),
    }
}

fn cors(cors: Option<&Cors>) -> Entry {
    match cors {
        None => Entry(None),
        Some(Cors::Upstream) => "upstream".into(),
        Some(Cors::Policy(policy)) => policy.name.as_str().into(),
    }
}

fn host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => name.as_str().to_owned(),
        HostPattern::Wildcard(parent) => format!("*.{}", parent.as_str()),
        HostPattern::Any => "*".to_owned(),
    }
}
