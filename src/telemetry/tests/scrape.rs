use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A scraped page: per family its kind, meaning and samples.
type Families = BTreeMap<String, Family>;

#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|v| v == value))
    }
}

/// Reads a page strictly: HELP, then TYPE, then the family's samples; nothing twice.
fn read(page: &str) -> Families {
    let mut families = Families::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            let family = Family { help: help.into(), ..Family::default() };
            assert!(families.insert(name.into(), family).is_none(), "twice: {line}");
            current = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current, "{line}");
            families.get_mut(name).unwrap().kind = kind.into();
        } else {
            let sample = read_sample(line);
            assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "twice: {line}");
            let family = families.get_mut(&current).unwrap();
            let suffixes: &[_] =
                if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            let named = suffixes.iter().any(|suffix| sample.name == format!("{current}{suffix}"));
            assert!(named && !family.kind.is_empty(), "{line}");
            family.samples.push(sample);
        }
    }
    families
}

fn read_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, tail) = rest.split_once("=\"").unwrap();
            let (value, tail) = read_value(tail);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = tail.strip_prefix(',').unwrap_or(tail);
            if let Some(tail) = rest.strip_prefix('}') {
                rest = tail;
                break;
            }
        }
    }
    let value = rest.strip_prefix(' ').unwrap();
    assert!(!value.contains(' '), "{line}");
    Sample { name: name.into(), labels, value: value.parse().unwrap() }
}

fn read_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().unwrap() {
            '"' => return (value, chars.as_str()),
            '\\' => value.push(match chars.next().unwrap() {
                'n' => '\n',
                c @ ('"' | '\\') => c,
                other => panic!("no such escape: {other}"),
            }),
            c => value.push(c),
        }
    }
}

fn value(families: &Families, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut found =
        families.values().flat_map(|f| &f.samples).filter(|s| s.name == name && s.has(labels));
    let sample = found.next()?;
    assert!(found.next().is_none(), "{name} {labels:?} is not one sample");
    Some(sample.value)
}

/// Counts everything once.
fn fed() -> House {
    let house = House::new();
    let worker = house.telemetry.worker();
    let mut exchange = worker.exchange();
    visit(&mut exchange, &house.clock);
    exchange.complete();
    drop(exchange);
    for counter in Counter::ALL {
        worker.count(counter, "x");
        house.telemetry.count(counter, "x");
    }
    for timing in Timing::ALL {
        house.telemetry.time(timing, "x", Duration::from_secs(1));
    }
    for gauge in Gauge::ALL {
        house.telemetry.set(gauge, 0.5);
    }
    house.telemetry.set_servers([("app".into(), "http://a".to_owned(), true)].into_iter());
    house
}

/// Every metric: whether it is a histogram, and its labels.
pub(super) fn known() -> BTreeMap<String, (bool, BTreeSet<String>)> {
    let families = read(&fed().telemetry.render()).into_iter();
    let labels =
        |family: &Family| family.samples.iter().flat_map(|s| s.labels.keys().cloned()).collect();
    families.map(|(name, family)| (name, (family.kind == "histogram", labels(&family)))).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn the_reference_lists_every_metric_as_it_is_scraped() {
    let families = read(&fed().telemetry.render());
    let rows: BTreeSet<String> = families
        .iter()
        .map(|(name, family)| {
            let labels: BTreeSet<_> = family.samples.iter().flat_map(|s| s.labels.keys()).collect();
            let labels: Vec<_> =
                labels.into_iter().filter(|l| *l != "le").map(|l| format!("`{l}`")).collect();
            format!("| `{name}` | {} | {} | {} |", family.kind, labels.join(", "), family.help)
        })
        .collect();
    let page = include_str!("../../../docs/reference/metrics.md");
    let documented: BTreeSet<String> =
        page.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
    assert_eq!(documented, rows);
}

#[test]
fn counts_from_within_and_outside_of_a_worker_are_one() {
    let families = read(&fed().telemetry.render());
    for (name, labels) in [
        ("portcullis_login_total", [("outcome", "x")].as_slice()),
        ("portcullis_throttled_total", &[("limit", "x")]),
        ("portcullis_parse_errors_total", &[]),
    ] {
        assert_eq!(value(&families, name, labels), Some(2.0), "{name}");
    }
    assert_eq!(value(&families, "portcullis_store_up", &[]), Some(0.5));
}

#[test]
fn an_idle_gateway_has_a_page_without_inventions() {
    let families = read(&House::new().telemetry.render());
    assert_eq!(value(&families, "portcullis_parse_errors_total", &[]), Some(0.0));
    assert_eq!(value(&families, "http_server_active_requests", &[]), Some(0.0));
    assert_eq!(value(&families, "process_start_time_seconds", &[]), Some(1_795_527_886.5));
    assert_eq!(value(&families, "portcullis_store_up", &[]), None);
    assert!(families["portcullis_login_total"].samples.is_empty());
}

#[test]
fn buckets_are_cumulative_and_end_at_the_count() {
    let house = House::new();
    let worker = house.telemetry.worker();
    for millis in [0, 1, 2, 100, 101, 9_000, 60_000] {
        let mut exchange = worker.exchange();
        exchange.status(StatusCode::OK);
        house.clock.advance(Duration::from_millis(millis));
        drop(exchange);
    }
    let families = read(&house.telemetry.render());
    let samples = &families["http_server_request_duration_seconds"].samples;
    let buckets: Vec<(f64, f64)> = samples
        .iter()
        .filter(|s| s.name.ends_with("_bucket"))
        .map(|s| (s.labels["le"].parse().unwrap(), s.value))
        .collect();
    assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{buckets:?}");
    let at = |bound: f64| buckets.iter().find(|b| b.0 == bound).map(|b| b.1);
    let few = [at(0.001), at(0.0025), at(0.075), at(0.1), at(0.25), at(10.0), at(f64::INFINITY)];
    assert_eq!(few, [2.0, 3.0, 3.0, 4.0, 5.0, 6.0, 7.0].map(Some), "{buckets:?}");
    let name = "http_server_request_duration_seconds";
    assert_eq!(value(&families, &format!("{name}_count"), &[]), Some(7.0));
    assert_eq!(value(&families, &format!("{name}_sum"), &[]), Some(69.204));
}

#[test]
fn a_label_says_what_it_was_told_whatever_that_is() {
    let house = House::new();
    let hostile = "a\"} 1\nportcullis_store_up 1\n\\n{";
    let mut exchange = house.telemetry.worker().exchange();
    exchange.placed(&hostile.into(), true);
    exchange.decision(Decision::Refused, "no_role");
    drop(exchange);
    let families = read(&house.telemetry.render());
    let labels = [("route", hostile), ("decision", "refused"), ("reason", "no_role")];
    assert_eq!(value(&families, "portcullis_authz_decisions_total", &labels), Some(1.0));
    assert_eq!(value(&families, "portcullis_store_up", &[]), None);
}

#[test]
fn a_method_that_a_client_made_up_makes_no_series() {
    let house = House::new();
    let worker = house.telemetry.worker();
    for method in ["PROPFIND", "XYZZY", "get", "GET"] {
        worker.exchange().asked(&Method::from_bytes(method.as_bytes()).unwrap(), "/", client());
    }
    let families = read(&house.telemetry.render());
    let count = |method| {
        let name = "http_server_request_duration_seconds_count";
        value(&families, name, &[("http_request_method", method)])
    };
    assert_eq!((count("_OTHER"), count("GET")), (Some(3.0), Some(1.0)));
}

#[test]
fn workers_are_summed_while_they_count() {
    let house = House::new();
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (telemetry, clock) = (house.telemetry.clone(), house.clock.clone());
            thread::spawn(move || {
                let worker = telemetry.worker();
                for _ in 0..1000 {
                    let mut exchange = worker.exchange();
                    visit(&mut exchange, &clock);
                    worker.count(Counter::Login, "success");
                }
                std::mem::forget(worker.exchange());
            })
        })
        .collect();
    read(&house.telemetry.render());
    for thread in threads {
        thread.join().unwrap();
    }
    let families = read(&house.telemetry.render());
    let expected = [
        ("http_server_request_duration_seconds_count", 2000.0),
        ("http_client_request_duration_seconds_count", 2000.0),
        ("portcullis_authz_decisions_total", 2000.0),
        ("portcullis_login_total", 2000.0),
        ("http_server_active_requests", 2.0),
    ];
    for (name, expected) in expected {
        assert_eq!(value(&families, name, &[]), Some(expected), "{name}");
    }
}
