use super::*;

fn end() -> End {
    End {
        at: Timestamp::from_millis(1_795_527_886_042),
        took: Duration::from_nanos(1_234_567),
        id: RequestId::new(Timestamp::from_secs(0)),
        generation: 1,
    }
}

fn facts() -> Facts {
    Facts {
        method: Some(Method::POST),
        path: Some("/a=b".into()),
        status: Some(StatusCode::CREATED),
        client: Some("2001:db8::1".parse().unwrap()),
        user: Some(alice().username),
        route: Some("all notes".into()),
        decision: Some((Decision::Own, "login")),
        bytes_in: 5,
        bytes_out: 7,
        complete: true,
        ..Facts::default()
    }
}

fn written(facts: &Facts, format: LogFormat) -> String {
    let mut line = Vec::new();
    facts.write(&mut line, format, end());
    // The id is another each time.
    String::from_utf8(line).unwrap().replace(&"0".repeat(10), "T")
}

#[test]
fn text_lines_are_for_people() {
    let line = written(&facts(), LogFormat::Text);
    let (line, id) = line.rsplit_once("request_id=").unwrap();
    assert_eq!(
        line,
        "time=2026-11-24T13:44:46.042Z level=info method=POST path=/a=b status=201 \
         duration_ms=1.234 bytes_in=5 bytes_out=7 client=2001:db8::1 user=alice \
         route=\"all notes\" decision=own reason=login "
    );
    assert_eq!(id.len(), "T".len() + 16 + " config=1\n".len(), "{id}");
}

#[test]
fn a_method_as_long_as_a_head_is_told_by_its_beginning() {
    let facts = Facts { method: Method::from_bytes(&[b'A'; 60_000]).ok(), ..facts() };
    for format in [LogFormat::Json, LogFormat::Text, LogFormat::Combined] {
        let line = written(&facts, format);
        assert!(line.contains(&"A".repeat(32)) && line.len() < 1000, "{} bytes", line.len());
    }
}

#[test]
fn combined_lines_are_apaches() {
    assert_eq!(
        written(&facts(), LogFormat::Combined),
        "2001:db8::1 - alice [24/Nov/2026:13:44:46 +0000] \"POST /a=b HTTP/1.1\" 201 7 \"-\" \"-\"\n"
    );
    assert_eq!(
        written(&Facts::default(), LogFormat::Combined),
        "- - - [24/Nov/2026:13:44:46 +0000] \"- - HTTP/1.1\" 499 0 \"-\" \"-\"\n"
    );
    let newer = written(&Facts { version: Version::HTTP_2, ..facts() }, LogFormat::Combined);
    assert!(newer.contains(" \"POST /a=b HTTP/2.0\" 201 "), "{newer}");
}

/// None of these can come through the request's reader; the log relies on nobody.
const HOSTILE: &str =
    "/x\" 200 \"\\\r\n{\"event\":\"auth.login.success\"}\0\x1b[2J\u{7f}\u{9b}\u{202e}\u{2028}é💥";

#[test]
fn a_hostile_value_stays_in_its_field_and_line() {
    let hostile = Facts {
        path: Some(HOSTILE.into()),
        route: Some(HOSTILE.into()),
        upstream: Some(HOSTILE.into()),
        error: Some(HOSTILE.into()),
        ..facts()
    };
    let escaped = "\"/x\\\" 200 \\\"\\\\\\u000d\\u000a{\\\"event\\\":\\\"auth.login.success\\\"}\\u0000\\u001b[2J\\u007f\\u009b\\u202e\\u2028é💥\"";
    for format in [LogFormat::Json, LogFormat::Text, LogFormat::Combined] {
        let line = written(&hostile, format);
        assert_eq!(line.matches('\n').count(), 1, "{format:?}: {line}");
        assert!(!line.trim_end().chars().any(char::is_control), "{format:?}: {line:?}");
        assert!(line.contains(escaped.trim_matches('"')), "{format:?}: {line}");
    }
    let json = written(&hostile, LogFormat::Json);
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    for field in ["path", "route", "upstream", "error"] {
        assert_eq!(read[field], HOSTILE, "{json}");
    }
    assert!(written(&hostile, LogFormat::Text).contains(&format!(" path={escaped} status=")));
}

#[test]
fn an_empty_text_value_is_seen_to_be_empty() {
    let line = written(&Facts { path: Some(String::new()), ..facts() }, LogFormat::Text);
    assert!(line.contains(" path=\"\" "), "{line}");
}

#[test]
fn every_scalar_value_survives_a_json_line() {
    for start in (0..=0x10_ffff_u32).step_by(0x400) {
        let text: String = (start..start + 0x400).filter_map(char::from_u32).collect();
        let line = written(&Facts { path: Some(text.clone()), ..facts() }, LogFormat::Json);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["path"], text, "from {start:x}");
    }
}

#[test]
fn a_moment_beyond_the_calendar_breaks_no_line() {
    for millis in [i64::MIN, i64::MAX, -1] {
        let mut line = Vec::new();
        let end = End { at: Timestamp::from_millis(millis), ..end() };
        facts().write(&mut line, LogFormat::Combined, end);
        facts().write(&mut line, LogFormat::Json, end);
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 2, "{millis}");
    }
}
