use std::io::{self, Write};
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::facts::{End, Facts};
use super::*;
use crate::config::{Level, LogOutput};
use crate::identity::{Caller, Identity, SessionId, UserId, Username, Why};
use crate::session::Transport;

mod lines;
mod monitoring;
mod scrape;

/// An output that a test can read.
#[derive(Clone, Default)]
struct Tape(Arc<Mutex<Vec<u8>>>);

impl Tape {
    fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).unwrap()
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A telemetry at 2026-11-24T13:44:46.500Z, whose lines can be read.
struct House {
    telemetry: Telemetry,
    clock: Clock,
    access: Tape,
    audit: Tape,
}

impl House {
    fn new() -> Self {
        Self::with(&log())
    }

    fn with(log: &Log) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_795_527_886_500));
        let (access, audit) = (Tape::default(), Tape::default());
        let sinks = Sinks::new(Sink::to(access.clone()), Sink::to(audit.clone()));
        let telemetry = Telemetry::start(log, &clock, sinks, Bounds::default()).unwrap();
        Self { telemetry, clock, access, audit }
    }

    fn access(&self) -> String {
        self.telemetry.flush();
        self.access.text()
    }

    fn audit(&self) -> String {
        self.telemetry.flush();
        self.audit.text()
    }
}

fn log() -> Log {
    Log {
        format: LogFormat::Json,
        level: Level::Info,
        access: true,
        output: LogOutput::Stdout,
        audit_output: LogOutput::Stdout,
        full_address: true,
    }
}

fn alice() -> Identity {
    Identity {
        user: UserId::from_bytes([0xa1; 16]),
        username: Username::new("alice").unwrap(),
        roles: [].into(),
        session: SessionId::from_bytes([0x5e; 16]),
    }
}

fn client() -> IpAddr {
    "203.0.113.7".parse().unwrap()
}

/// A request of alice's, told as the gateway tells it.
fn visit(exchange: &mut Exchange, clock: &Clock) {
    exchange.asked(&Method::GET, "/notes", client());
    exchange.placed(&"notes".into(), true);
    exchange.caller(&Caller::Known(alice()));
    exchange.decision(Decision::Permitted, "role");
    exchange.upstream(&"api".into());
    clock.advance(Duration::from_millis(30));
    exchange.upstream_answered();
    exchange.status(StatusCode::OK);
    exchange.sent(1000);
    clock.advance(Duration::from_millis(12));
    exchange.sent(234);
}

#[test]
fn a_finished_exchange_writes_one_line_of_all_that_was_told() {
    let house = House::new();
    let mut exchange = house.telemetry.worker().exchange();
    visit(&mut exchange, &house.clock);
    exchange.upload(Default::default());
    exchange.complete();
    let (id, trace) = (exchange.request_id(), exchange.begun_trace().unwrap());
    drop(exchange);
    assert_eq!(
        house.access(),
        format!(
            "{{\"time\":\"2026-11-24T13:44:46.542Z\",\"level\":\"info\",\"method\":\"GET\",\
             \"path\":\"/notes\",\"status\":200,\"duration_ms\":42.000,\"bytes_in\":0,\
             \"bytes_out\":1234,\"client\":\"203.0.113.7\",\"user\":\"alice\",\
             \"session\":\"5e5e5e5e-5e5e-5e5e-5e5e-5e5e5e5e5e5e\",\"route\":\"notes\",\
             \"decision\":\"permitted\",\"reason\":\"role\",\"upstream\":\"api\",\
             \"upstream_ms\":30.000,\"request_id\":\"{id}\",\"trace_id\":\"{trace}\",\"config\":1}}\n"
        )
    );
}

#[test]
fn an_exchange_dropped_unfinished_writes_an_aborted_line() {
    let house = House::new();
    let worker = house.telemetry.worker();
    let mut exchange = worker.exchange();
    visit(&mut exchange, &house.clock);
    drop(exchange);
    drop(worker.exchange());
    let lines = house.access();
    let aborted: Vec<bool> = lines.lines().map(|line| line.contains("\"aborted\":true")).collect();
    assert_eq!(aborted, [true, true], "{lines}");
}

#[test]
fn why_an_upstream_gave_no_answer_is_told_in_so_many_characters() {
    let house = House::new();
    let mut exchange = house.telemetry.worker().exchange();
    visit(&mut exchange, &house.clock);
    exchange.upstream_failed("answer", &"é".repeat(10_000));
    drop(exchange);
    let line: serde_json::Value = serde_json::from_str(&house.access()).unwrap();
    assert_eq!(line["error"], "é".repeat(300), "{line}");
}

#[test]
fn an_answer_that_breaks_off_is_an_error_unless_the_upload_broke_it() {
    use crate::request::{Upload, UploadLimits};
    let limits = UploadLimits { max_bytes: Some(1), min_rate: 0, grace: Duration::ZERO };
    let mut upload = Upload::new(http_body_util::Full::new(bytes::Bytes::from("abc")), limits);
    let house = House::new();
    let worker = house.telemetry.worker();
    for polls in [false, true] {
        let mut exchange = worker.exchange();
        visit(&mut exchange, &house.clock);
        exchange.upload(upload.state());
        if polls {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = http_body::Body::poll_frame(std::pin::Pin::new(&mut upload), &mut context);
            assert!(upload.state().fault().is_some(), "it is too large");
        }
        exchange.upstream_broke_off("end of file");
        drop(exchange);
    }
    let lines = house.access();
    let told: Vec<bool> =
        lines.lines().map(|line| line.contains("\"error\":\"the answer broke off: ")).collect();
    assert_eq!(told, [true, false], "{lines}");
    assert_eq!(lines.matches("\"level\":\"error\"").count(), 1, "{lines}");
}

#[test]
fn a_panicking_request_still_leaves_its_line() {
    let house = House::new();
    let telemetry = house.telemetry.clone();
    let outcome = thread::spawn(move || {
        let _exchange = telemetry.worker().exchange();
        panic!("on purpose");
    })
    .join();
    assert!(outcome.is_err());
    assert!(house.access().contains("\"aborted\":true"), "{}", house.access());
}

#[test]
fn a_route_or_a_file_without_access_log_writes_no_line_but_counts() {
    let silent_route = House::new();
    let mut exchange = silent_route.telemetry.worker().exchange();
    exchange.placed(&"health".into(), false);
    drop(exchange);
    let silent_file = House::with(&Log { access: false, ..log() });
    let mut exchange = silent_file.telemetry.worker().exchange();
    exchange.placed(&"health".into(), true);
    drop(exchange);
    for house in [silent_route, silent_file] {
        assert_eq!(house.access(), "");
        let page = house.telemetry.render();
        assert!(page.contains("_count{http_request_method=\"_OTHER\",http_response_status_code=\"none\",http_route=\"health\"} 1"), "{page}");
    }
}

#[test]
fn with_the_access_log_off_nothing_of_the_request_is_copied() {
    let house = House::with(&Log { access: false, ..log() });
    let mut exchange = house.telemetry.worker().exchange();
    visit(&mut exchange, &house.clock);
    assert_eq!((&exchange.facts.path, &exchange.facts.user), (&None, &None));
}

#[test]
fn an_anonymous_caller_has_no_user_and_a_failure_is_an_error() {
    let house = House::new();
    let mut exchange = house.telemetry.worker().exchange();
    exchange.caller(&Caller::Anonymous(Why::Expired));
    exchange.decision(Decision::Permitted, "public");
    exchange.decision(Decision::Failed, "upstream_refused");
    drop(exchange);
    let line = house.access();
    assert!(!line.contains("\"user\""), "{line}");
    assert!(
        line.contains("\"level\":\"error\"") && line.contains("\"decision\":\"failed\""),
        "{line}"
    );
}

#[test]
fn an_audit_line_tells_what_is_known_and_nothing_else() {
    let house = House::new();
    let audit = house.telemetry.audit();
    audit.write(AuditEvent::new("auth.logout"));
    assert_eq!(
        house.audit(),
        "{\"time\":\"2026-11-24T13:44:46.500Z\",\"event\":\"auth.logout\",\"level\":\"info\"}\n"
    );
}

#[test]
fn a_full_audit_line_reads_back() {
    let house = House::new();
    let id = RequestId::new(house.clock.now());
    house.telemetry.audit().write(full_event(id));
    assert_eq!(
        house.audit(),
        format!(
            "{{\"time\":\"2026-11-24T13:44:46.500Z\",\"event\":\"auth.refresh.reuse\",\
             \"level\":\"warn\",\"request_id\":\"{id}\",\
             \"user_id\":\"a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1\",\"username\":\"alice\",\
             \"name_hmac\":\"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f\",\
             \"sid\":\"5e5e5e5e-5e5e-5e5e-5e5e-5e5e5e5e5e5e\",\"gen\":4,\"presented_gen\":2,\
             \"age_ms\":-7,\"transport\":\"body\",\"ip_prefix\":\"203.0.113.0/24\",\
             \"address\":\"203.0.113.7\",\"ua_hash\":\"abababababababab\",\
             \"outcome\":\"revoked\",\"reason\":\"reuse\",\"actor\":\"control \\\"socket\\\"\\u000a\",\"kid\":\"k1\"}}\n"
        )
    );
}

fn full_event(id: RequestId) -> AuditEvent {
    AuditEvent::new("auth.refresh.reuse")
        .level(Level::Warn)
        .request_id(id)
        .user(alice().user)
        .username(alice().username)
        .name_hmac([0x0f; 16])
        .session(alice().session)
        .generation(4)
        .presented_generation(2)
        .age_ms(-7)
        .transport(Transport::Body)
        .network("203.0.113.0/24".to_owned())
        .address(client())
        .agent([0xab; 32])
        .outcome("revoked")
        .reason("reuse")
        .actor("control \"socket\"\n".to_owned())
        .key("k1".to_owned())
}

#[test]
fn only_debug_events_can_be_silenced() {
    for (level, expected) in [(Level::Error, 1), (Level::Info, 1), (Level::Debug, 2)] {
        let house = House::with(&Log { level, ..log() });
        let audit = house.telemetry.audit();
        audit.write(AuditEvent::new("auth.refresh.invalid").level(Level::Debug));
        audit.write(AuditEvent::new("auth.login.success").level(Level::Info));
        assert_eq!(house.audit().lines().count(), expected, "{level:?}");
    }
}

#[test]
fn the_reference_names_the_fields_of_both_lines() {
    let page = include_str!("../../docs/reference/log.md");
    let (access, audit) = page.split_once("\n## Audit lines\n").unwrap();
    let (_, access) = access.split_once("\n## Access lines\n").unwrap();
    let house = House::new();
    let mut exchange = house.telemetry.worker().exchange();
    visit(&mut exchange, &house.clock);
    exchange.upstream_failed("answer", "nonsense");
    drop(exchange);
    house.telemetry.audit().write(full_event(RequestId::new(house.clock.now())));
    assert_eq!(documented(access), fields(&house.access()), "access lines");
    assert_eq!(documented(audit), fields(&house.audit()), "audit lines");
}

fn documented(section: &str) -> Vec<String> {
    let rows = section.lines().filter_map(|row| row.strip_prefix("| `"));
    rows.map(|row| row.split_once('`').unwrap().0.to_owned()).collect()
}

/// The keys of a JSON line, in their order.
fn fields(line: &str) -> Vec<String> {
    let read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
    let mut keys: Vec<_> = read.keys().cloned().collect();
    keys.sort_by_key(|key| line.find(&format!("\"{key}\":")).unwrap());
    keys
}

#[test]
fn diagnostics_can_be_asked_for_twice() {
    diagnostics(Level::Error).unwrap();
    diagnostics(Level::Debug).unwrap();
}

#[test]
fn files_are_appended_to_for_owner_and_group_and_opened_again_on_request() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let (now, rotated) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
    let log = Log { access: false, audit_output: LogOutput::File(now.clone()), ..log() };
    let telemetry = Telemetry::open(&log, &Clock::system()).unwrap();
    let mode = std::fs::metadata(&now).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");

    telemetry.audit().write(AuditEvent::new("auth.one"));
    telemetry.flush();
    std::fs::rename(&now, &rotated).unwrap();
    std::fs::write(&now, "before\n").unwrap();
    telemetry.reopen();
    telemetry.audit().write(AuditEvent::new("auth.two"));
    telemetry.flush();

    let (old, new) =
        (std::fs::read_to_string(rotated).unwrap(), std::fs::read_to_string(now).unwrap());
    assert!(old.contains("auth.one") && !old.contains("auth.two"), "{old}");
    assert!(new.contains("auth.two") && !new.contains("auth.one"), "{new}");
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let path = std::path::PathBuf::from("/nowhere/at/all/access.log");
    let log = Log { output: LogOutput::File(path), ..log() };
    let problem = Telemetry::open(&log, &Clock::system()).unwrap_err();
    assert!(problem.to_string().starts_with("/nowhere/at/all/access.log: "), "{problem}");
}

#[test]
fn dropping_the_last_handle_writes_what_is_queued() {
    let house = House::new();
    let audit = house.telemetry.audit();
    drop(house.telemetry);
    audit.write(AuditEvent::new("auth.last"));
    drop(audit);
    assert!(house.audit.text().contains("auth.last"), "{}", house.audit.text());
}
