//! What `docs/monitoring` asks for exists: every metric by its name, every label by its metric.

use std::collections::BTreeMap;

use super::scrape::known;
use crate::session::EndReason;

const ALERTS: &str = include_str!("../../../docs/monitoring/alerts.yml");
const DASHBOARD: &str = include_str!("../../../docs/monitoring/dashboard.json");

/// Labels that Prometheus sets, and the bound of a histogram's bucket.
const OF_PROMETHEUS: [&str; 3] = ["job", "instance", "le"];

/// Words of PromQL that are no metrics.
const WORDS: [&str; 19] = [
    "sum",
    "min",
    "max",
    "by",
    "or",
    "unless",
    "offset",
    "rate",
    "increase",
    "changes",
    "time",
    "histogram_quantile",
    "label_values",
    "on",
    "and",
    "without",
    "ignoring",
    "avg",
    "count",
];

/// Each metric of an expression with the labels that are asked of it.
fn asked(expression: &str) -> Vec<(String, Vec<String>)> {
    let mut metrics: Vec<(String, Vec<String>)> = Vec::new();
    let mut grouped = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '"') {
        rest = rest.split_at(at).1;
        if let Some(text) = rest.strip_prefix('"') {
            rest = text.split_once('"').unwrap().1;
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        if word == "by" {
            let (labels, after) =
                after.trim_start().strip_prefix('(').unwrap().split_once(')').unwrap();
            grouped.extend(labels.split(',').map(|label| label.trim().to_owned()));
            rest = after;
        } else if let Some(inside) = after.strip_prefix('{') {
            let (matchers, after) = inside.split_once('}').unwrap();
            let labels = matchers.split(',').filter_map(|one| Some(one.split_once(['=', '!'])?.0));
            metrics.push((word.to_owned(), labels.map(str::to_owned).collect()));
            rest = after;
        } else if !WORDS.contains(&word) {
            metrics.push((word.to_owned(), Vec::new()));
        }
    }
    for (_, labels) in &mut metrics {
        labels.extend(grouped.iter().cloned());
    }
    metrics
}

/// Durations such as `[5m]` and numbers such as `14` hold no names.
fn without_ranges(expression: &str) -> String {
    let mut text = String::new();
    for part in expression.split('[') {
        text += part.split_once(']').map_or(part, |(_, after)| after);
    }
    text.replace("offset 10m", "").replace("{{", "").replace("$__rate_interval", "")
}

#[track_caller]
fn check(expression: &str) {
    let known = known();
    let metrics = asked(&without_ranges(expression));
    assert!(!metrics.is_empty(), "no metric in {expression}");
    for (name, labels) in metrics {
        if name == "up" {
            continue;
        }
        let (_, family) = ["", "_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| {
                let family = known.get(name.strip_suffix(suffix)?)?;
                (family.0 != suffix.is_empty()).then_some(family)
            })
            .next()
            .unwrap_or_else(|| panic!("there is no metric {name}: {expression}"));
        for label in labels {
            let known = family.contains(&label) || OF_PROMETHEUS.contains(&label.as_str());
            assert!(known, "{name} has no label {label}: {expression}");
        }
    }
}

/// Every `expr` of the dashboard.
fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    for (key, member) in value.as_object().into_iter().flatten() {
        match member.as_str() {
            Some(text) if key == "expr" => found.push(text.to_owned()),
            Some(text) if text.starts_with("label_values(") => {
                found.push(text.trim_end_matches(')').split([',', '(']).nth(1).unwrap().to_owned())
            }
            _ => expressions(member, found),
        }
    }
    value.as_array().into_iter().flatten().for_each(|one| expressions(one, found));
}

/// Every `expr` of the rules, on one line or on several after a `|`.
fn rules() -> BTreeMap<String, String> {
    let mut rules = BTreeMap::new();
    for rule in ALERTS.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap().to_owned();
        let (_, rest) = rule.split_once("expr: ").unwrap();
        let end =
            ["\n        for:", "\n        labels:"].iter().filter_map(|key| rest.find(key)).min();
        let text = rest.split_at(end.unwrap()).0.trim_start_matches('|').trim().to_owned();
        assert!(rules.insert(name, text).is_none(), "twice");
        for part in ["severity: ", "summary: ", "description: "] {
            assert!(rule.contains(part), "no {part} in {rule}");
        }
    }
    rules
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_there_are() {
    let board: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut found = Vec::new();
    expressions(&board, &mut found);
    assert!(found.len() > 20, "{found:?}");
    found.iter().for_each(|expression| check(expression));
    let ids: Vec<_> =
        board["panels"].as_array().unwrap().iter().map(|p| p["id"].as_u64()).collect();
    assert!(ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
}

#[test]
fn the_rules_ask_for_metrics_and_labels_that_there_are() {
    let rules = rules();
    assert_eq!(rules.len(), 8, "{rules:?}");
    rules.values().for_each(|expression| check(expression));
    let stolen = [EndReason::Reuse, EndReason::Integrity, EndReason::StoreRollback];
    let named = stolen.map(EndReason::as_str).join("|");
    assert!(rules["PortcullisSessionStolen"].contains(&format!("\"{named}\"")), "{named}");
}

#[test]
fn a_metric_or_label_that_is_not_there_would_be_noticed() {
    for wrong in [
        "portcullis_store_upp == 0",
        "sum by (route) (rate(portcullis_login_total[5m]))",
        "portcullis_login_total{reason=\"x\"} > 0",
        "portcullis_store_up_bucket",
    ] {
        assert!(std::panic::catch_unwind(|| check(wrong)).is_err(), "{wrong}");
    }
    check("sum by (le, alg) (rate(portcullis_password_hash_seconds_bucket{alg=\"bcrypt\"}[5m]))");
}
