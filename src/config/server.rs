//! `[server]`, `[log]` and `[store]`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::codes;
use super::forms::{Form, SIZE, SIZE_OR_OFF, THROUGHPUT};
use super::keys;
use super::listen;
use super::model::{Level, Log, LogFormat, LogOutput, MaxBody, Server, StoreUrl};
use super::problem::Problem;
use super::proxies;
use super::section::{Between, Section, not_yet};
use super::tls;
use super::tokens::word;
use super::value::{Text, bad_value};
use crate::request::Origin;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const TIMEOUT: Between = Between { least: SECOND, most: DAY, why: "" };
const MIB: u64 = 1 << 20;
/// Bytes of the path of a socket that the kernel takes, with a zero behind it.
const LONGEST_SOCKET: usize = 107;

pub(super) fn read(section: Section<'_>) -> Server {
    let limits = section.section("limits", &keys::LIMITS);
    let timeouts = section.section("timeouts", &keys::TIMEOUTS);
    let timeout = |key, default| timeouts.duration(key, Duration::from_secs(default), &TIMEOUT);
    let (body_min_rate, body_grace) =
        limits.form("body_min_rate", &THROUGHPUT).unwrap_or((1024, Duration::from_secs(30)));
    let server = Server {
        listen: listen::read(&section),
        public_url: section
            .text("public_url")
            .and_then(|text| origin(&section, "public_url", &text)),
        tls: tls::pairs(&section),
        tls_handshake_timeout: timeout("tls_handshake", 10),
        hsts: None,
        http_redirect: tls::redirect(&section),
        public_origins: public_origins(&section),
        trust: proxies::read(&section),
        data_dir: data_dir(&section),
        max_body: max_body(&section),
        strict_paths: section.flag("strict_paths", false),
        max_connections: section.count("max_connections", 20_000, 1..=10_000_000),
        max_connections_written: section.has("max_connections"),
        max_connections_per_ip: section.count("max_connections_per_ip", 2_000, 1..=10_000_000),
        limit_target: bytes(&limits, "target", 16 << 10),
        limit_headers: bytes(&limits, "headers", 64 << 10),
        limit_fields: limits.count("fields", 100, 10..=10_000),
        body_min_rate,
        body_grace,
        header_timeout: timeout("header", 10),
        idle_timeout: timeout("idle", 75),
        drain_timeout: timeout("drain", 30),
        admin: admin(&section),
        workers: auto_or_count(&section, "workers", section.context.environment.cores()),
    };
    tls::check_redirect(&section, &server);
    let hsts = tls::hsts(&section, server.public_url.as_ref());
    Server { hsts, ..server }
}

pub(super) fn admin(section: &Section<'_>) -> Option<SocketAddr> {
    section.form("admin", &ADMIN).unwrap_or_else(|| (ADMIN.read)("127.0.0.1:9180").flatten())
}

const ADMIN: Form<Option<SocketAddr>> = Form {
    what: "an address to listen on or \"off\"",
    examples: r#""127.0.0.1:9180", "off""#,
    unit: None,
    read: |text| {
        if text == "off" { Some(None) } else { text.parse().ok().map(Some) }
    },
};

fn origin(section: &Section<'_>, key: &str, text: &Text) -> Option<Origin> {
    let origin = Origin::read(&text.value);
    if origin.is_none() {
        let problem = bad_value(key, text, "an origin");
        section.tell(
            problem.help("an origin is a scheme, a host and, where it is not the usual one, a port: \"https://apps.example.com\", \"http://localhost:8080\""),
        );
    }
    origin
}

fn public_origins(section: &Section<'_>) -> Vec<Origin> {
    let texts = section.texts("public_origins").unwrap_or_default();
    texts.iter().filter_map(|text| origin(section, "public_origins", text)).collect()
}

/// systemd may name several folders, separated by colons; the first is ours.
pub(super) fn data_dir(section: &Section<'_>) -> PathBuf {
    let state = || section.context.environment.variable("STATE_DIRECTORY");
    let first = |folders: String| {
        folders.split(':').next().filter(|folder| !folder.is_empty()).map(PathBuf::from)
    };
    word(section, "data_dir")
        .map(PathBuf::from)
        .or_else(|| state().and_then(first))
        .unwrap_or_else(|| PathBuf::from("./portcullis-data"))
}

/// The control socket lies in it, unless the store is in memory.
pub(super) fn check_data_dir(section: &Section<'_>, server: &Server, store: &StoreUrl) {
    let socket = server.data_dir.join("control.sock");
    if *store == StoreUrl::Memory || socket.as_os_str().len() <= LONGEST_SOCKET {
        return;
    }
    let problem = Problem::new(
        &codes::OUT_OF_BOUNDS,
        section.place_of("data_dir"),
        "the path of `data_dir` is too long",
    )
    .label(format!("its `control.sock` may have {} bytes", LONGEST_SOCKET))
    .because("the kernel takes no longer path of a socket");
    section.tell(problem);
}

fn max_body(section: &Section<'_>) -> MaxBody {
    let table = section.section("max_body", &keys::MAX_BODY);
    MaxBody {
        signed_in: table.form("signed_in", &SIZE_OR_OFF).flatten(),
        public: table.form("public", &SIZE_OR_OFF).unwrap_or(Some(64 * MIB)),
    }
}

/// A size of a request's head: what is too small refuses browsers, what is too large invites floods.
fn bytes<'a>(limits: &Section<'a>, key: &'a str, default: usize) -> usize {
    let Some(size) = limits.form(key, &SIZE) else {
        return default;
    };
    let bounded = usize::try_from(size).ok().filter(|size| (1 << 10..=1 << 20).contains(size));
    bounded.unwrap_or_else(|| {
        let problem = Problem::new(
            &codes::OUT_OF_BOUNDS,
            limits.place_of(key),
            format!("`{key}` is out of bounds"),
        );
        limits.context.tell(problem.label("must be from \"1 KiB\" to \"1 MiB\""));
        default
    })
}

/// `"auto"`, or a number of threads.
pub(super) fn auto_or_count<'a>(section: &Section<'a>, key: &'a str, auto: usize) -> usize {
    if !section.value(key).is_some_and(|value| value.is_text()) {
        return section.count(key, auto, 1..=1_024);
    }
    if let Some(text) = section.text(key).filter(|text| text.value != "auto") {
        section.tell(bad_value(key, &text, "\"auto\" or a number without quotes"));
    }
    auto
}

/// The words of `log.format`.
pub(super) const FORMATS: [(&str, LogFormat); 3] =
    [("json", LogFormat::Json), ("text", LogFormat::Text), ("combined", LogFormat::Combined)];
/// The words of `log.level`.
pub(super) const LEVELS: [(&str, Level); 4] = [
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
];

pub(super) fn read_log(section: Section<'_>) -> Log {
    Log {
        format: section.choice("format", LogFormat::Json, &FORMATS),
        level: section.choice("level", Level::Info, &LEVELS),
        access: section.flag("access", true),
        output: log_output(&section, "output"),
        audit_output: log_output(&section, "audit_output"),
        full_address: section.choice("address", true, &[("full", true), ("prefix", false)]),
    }
}

fn log_output<'a>(section: &Section<'a>, key: &'a str) -> LogOutput {
    let Some(text) = section.text(key) else {
        return LogOutput::Stdout;
    };
    let (kind, path) = text.value.split_once(':').unwrap_or((&text.value, SYSLOG));
    let named = text.value.contains(':');
    match kind {
        "file" if named && !path.is_empty() => LogOutput::File(PathBuf::from(path)),
        "syslog" if !path.is_empty() => LogOutput::Syslog(PathBuf::from(path)),
        "stderr" if !named => LogOutput::Stderr,
        "stdout" if !named => LogOutput::Stdout,
        _ => {
            let known = "\"stdout\", \"stderr\", \"file:PATH\", \"syslog\" or \"syslog:PATH\"";
            section.tell(bad_value(key, &text, known));
            LogOutput::Stdout
        }
    }
}

/// Where a syslog daemon listens when nobody says another place.
pub(super) const SYSLOG: &str = "/dev/log";

pub(super) fn read_store(section: Section<'_>, data_dir: &Path) -> StoreUrl {
    let default = || StoreUrl::Sqlite(data_dir.join("portcullis.db"));
    let Some(text) = section.text("url") else {
        return default();
    };
    match text.value.strip_prefix("sqlite:") {
        Some(":memory:") => StoreUrl::Memory,
        Some(path) if !path.is_empty() && !path.contains('?') => {
            StoreUrl::Sqlite(data_dir.join(path))
        }
        None if text.value.starts_with("postgres") => {
            section.tell(not_yet("a PostgreSQL store", text.place));
            default()
        }
        _ => {
            let problem = Problem::new(
                &codes::BAD_VALUE,
                text.place,
                "`url` names no store that there is",
            )
            .label("not a store")
            .help("for example \"sqlite:portcullis.db\" (within data_dir) or \"sqlite::memory:\", without parameters");
            section.tell(problem);
            default()
        }
    }
}
