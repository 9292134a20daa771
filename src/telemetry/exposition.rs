//! The text of `/metrics`: Prometheus text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Arc;

use super::cells::{Cells, Histogram};
use super::metrics::{
    ACTIVE, BUILD, CPU, Counter, DECISIONS, DESCRIPTORS, FORWARDED, Gauge, LINES_LOST, Metric,
    RESIDENT, SERVED, STARTED, Timing, UPSTREAM_HEALTHY,
};
use super::output::{Stream, Writer};
use super::process;
use crate::clock::Timestamp;

/// The page in the making. Every family has its head, also one without a sample yet.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn into_text(self) -> String {
        self.0
    }

    /// What is known of requests.
    pub(super) fn exchanges(&mut self, sum: &Cells, active: u64) {
        self.head(&SERVED);
        for (route, cells) in &sum.routes {
            for ((method, status), histogram) in &cells.served {
                let status = if *status == 0 { "none".to_owned() } else { status.to_string() };
                self.histogram(&SERVED, &[method, &status, route], histogram);
            }
        }
        self.single(&ACTIVE, active);
        self.head(&FORWARDED);
        for (upstream, histogram) in &sum.upstreams {
            self.histogram(&FORWARDED, &[upstream], histogram);
        }
        self.head(&DECISIONS);
        for (route, cells) in &sum.routes {
            for ((decision, reason), count) in &cells.decisions {
                self.sample(&DECISIONS, &[route, decision.as_str(), reason], count);
            }
        }
    }

    /// Every [`Counter`]; one without a label begins at zero.
    pub(super) fn counters(&mut self, sum: &Cells) {
        for counter in Counter::ALL {
            let metric = counter.metric();
            self.head(&metric);
            if metric.labels.is_empty() {
                let count = sum.counts.get(&(counter, "")).copied().unwrap_or_default();
                self.sample(&metric, &[], count);
                continue;
            }
            for ((_, label), count) in sum.counts.iter().filter(|((of, _), _)| *of == counter) {
                self.sample(&metric, &[label], count);
            }
        }
    }

    /// Every [`Timing`]; one without a label begins at zero.
    pub(super) fn timings(&mut self, sum: &Cells) {
        for timing in Timing::ALL {
            let metric = timing.metric();
            self.head(&metric);
            if metric.labels.is_empty() {
                let none = Histogram::default();
                self.histogram(&metric, &[], sum.timings.get(&(timing, "")).unwrap_or(&none));
                continue;
            }
            for ((_, label), took) in sum.timings.iter().filter(|((of, _), _)| *of == timing) {
                self.histogram(&metric, &[label], took);
            }
        }
    }

    /// Every [`Gauge`] that was set.
    pub(super) fn gauges(&mut self, values: &BTreeMap<Gauge, f64>) {
        for gauge in Gauge::ALL {
            self.head(&gauge.metric());
            if let Some(value) = values.get(&gauge) {
                self.sample(&gauge.metric(), &[], value);
            }
        }
    }

    /// Every server, healthy or not.
    pub(super) fn servers(&mut self, servers: &[(Arc<str>, String, bool)]) {
        self.head(&UPSTREAM_HEALTHY);
        for (upstream, server, healthy) in servers {
            self.sample(&UPSTREAM_HEALTHY, &[upstream, server], u8::from(*healthy));
        }
    }

    /// What the log lost.
    pub(super) fn lost_lines(&mut self, writer: &Writer) {
        self.head(&LINES_LOST);
        for stream in [Stream::Access, Stream::Audit] {
            self.sample(&LINES_LOST, &[stream.as_str()], writer.lost(stream));
        }
    }

    /// What runs, since when, and what it takes.
    pub(super) fn process(&mut self, started: Timestamp) {
        self.head(&BUILD);
        self.sample(&BUILD, &[env!("CARGO_PKG_VERSION")], 1);
        if let Some(bytes) = process::resident_bytes() {
            self.single(&RESIDENT, bytes);
        }
        if let Some(ticks) = process::cpu_ticks() {
            self.single(&CPU, format_args!("{}.{:02}", ticks / 100, ticks % 100));
        }
        if let Some(count) = process::open_descriptors() {
            self.single(&DESCRIPTORS, count);
        }
        let millis = started.as_millis();
        self.single(&STARTED, format_args!("{}.{:03}", millis / 1000, (millis % 1000).abs()));
    }

    fn single(&mut self, metric: &Metric, value: impl Display) {
        self.head(metric);
        self.sample(metric, &[], value);
    }

    fn head(&mut self, metric: &Metric) {
        let Metric { name, kind, help, .. } = metric;
        let kind = kind.as_str();
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn histogram(&mut self, metric: &Metric, labels: &[&str], histogram: &Histogram) {
        let pairs: Vec<_> = pairs(metric, labels).collect();
        let rest = ("+Inf", histogram.count());
        for (bound, count) in histogram.cumulative().chain([rest]) {
            let bounded = pairs.iter().copied().chain([("le", bound)]);
            self.series(metric.name, "_bucket", bounded);
            self.put(format_args!(" {count}\n"));
        }
        let total = histogram.total();
        self.series(metric.name, "_sum", pairs.iter().copied());
        self.put(format_args!(" {}.{:09}\n", total.as_secs(), total.subsec_nanos()));
        self.series(metric.name, "_count", pairs.iter().copied());
        self.put(format_args!(" {}\n", histogram.count()));
    }

    fn sample(&mut self, metric: &Metric, labels: &[&str], value: impl Display) {
        self.series(metric.name, "", pairs(metric, labels));
        self.put(format_args!(" {value}\n"));
    }

    fn series<'a>(
        &mut self,
        name: &str,
        suffix: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) {
        self.put(format_args!("{name}{suffix}"));
        let mut before = '{';
        for (label, value) in labels {
            self.put(format_args!("{before}{label}=\""));
            self.label_value(value);
            self.0.push('"');
            before = ',';
        }
        if before == ',' {
            self.0.push('}');
        }
    }

    fn label_value(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str(r"\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str(r"\n"),
                plain => self.0.push(plain),
            }
        }
    }

    /// Writing to memory cannot fail.
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        let _: Result<(), _> = self.0.write_fmt(text);
    }
}

/// The labels of a family with the values of one series.
fn pairs<'a>(metric: &Metric, values: &[&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    metric.labels.iter().copied().zip(values.iter().copied())
}
