//! The notations of values: durations, sizes, rates, words. Pure functions of text.

use std::net::SocketAddr;
use std::time::Duration;

use super::Rate;

/// A notation: what it is called, how it looks, and how it is read.
pub(super) struct Form<T: 'static> {
    pub(super) what: &'static str,
    pub(super) examples: &'static str,
    /// What a bare number lacks: an example of a unit.
    pub(super) unit: Option<&'static str>,
    pub(super) read: fn(&str) -> Option<T>,
}

pub(super) const DURATION: Form<Duration> = Form {
    what: "a duration",
    examples: r#""500ms", "30s", "15m", "12h", "14d""#,
    unit: Some("s"),
    read: duration,
};

/// None: "off".
pub(super) const DURATION_OR_OFF: Form<Option<Duration>> = Form {
    what: "a duration or \"off\"",
    examples: r#""60s", "15m", "off""#,
    unit: Some("s"),
    read: |text| {
        if text == "off" { Some(None) } else { duration(text).map(Some) }
    },
};

pub(super) const SIZE: Form<u64> = Form {
    what: "a size",
    examples: r#""512 B", "16 KiB", "64 MiB", "1 GiB""#,
    unit: Some(" B"),
    read: size,
};

/// None: "off".
pub(super) const SIZE_OR_OFF: Form<Option<u64>> = Form {
    what: "a size or \"off\"",
    examples: r#""64 MiB", "1 GiB", "off""#,
    unit: Some(" B"),
    read: |text| {
        if text == "off" { Some(None) } else { size(text).map(Some) }
    },
};

pub(super) const RATE: Form<Rate> = Form {
    what: "a rate",
    examples: r#""10/minute", "600/hour", or { burst = 10, every = "1m" }"#,
    unit: Some("/minute"),
    read: rate,
};

/// Bytes a second, and how long nobody counts.
pub(super) const THROUGHPUT: Form<(u64, Duration)> = Form {
    what: "a speed",
    examples: r#""1 KiB/s after 30s""#,
    unit: Some(" B/s after 30s"),
    read: |text| {
        let (speed, grace) = text.split_once(" after ")?;
        Some((size(speed.trim().strip_suffix("/s")?)?, duration(grace.trim())?))
    },
};

pub(super) const ADDRESS: Form<SocketAddr> = Form {
    what: "an address to listen on",
    examples: r#""127.0.0.1:8080", "0.0.0.0:80", "[::]:80""#,
    unit: None,
    read: |text| text.parse().ok(),
};

/// 24 hours.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

const LONGEST: u64 = 36_500 * 86_400_000;

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).filter(|total| *total <= LONGEST).map(Duration::from_millis)
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift).filter(|total| *total <= 1 << 60)
}

fn rate(text: &str) -> Option<Rate> {
    let (count, unit) = text.split_once('/')?;
    let burst: u32 =
        digits(count.trim())?.try_into().ok().filter(|count| (1..=1_000_000).contains(count))?;
    let seconds = match unit.trim() {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return None,
    };
    Some(Rate { burst, every: Duration::from_secs(seconds) / burst })
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(at)?;
    Some((digits(number)?, unit.trim_start()))
}

/// Digits and nothing else: `parse` alone would take a sign.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// A duration as the file writes it, in its largest whole unit.
pub(super) fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
        .into_iter()
        .find(|(unit, name)| millis.is_multiple_of(*unit) && (millis > 0 || *name == "s"))
        .map_or_else(|| format!("{millis}ms"), |(unit, name)| format!("{}{name}", millis / unit))
}

/// A size as the file writes it, in its largest whole unit.
pub(super) fn size_text(size: u64) -> String {
    [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")]
        .into_iter()
        .find(|(shift, _)| size > 0 && size.is_multiple_of(1 << shift))
        .map_or_else(|| format!("{size} B"), |(shift, name)| format!("{} {name}", size >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_digits_and_a_unit() {
        for (text, millis) in
            [("0s", 0), ("500ms", 500), ("30s", 30_000), ("15 m", 900_000), ("14d", 1_209_600_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "s",
            "30",
            "-1s",
            "+1s",
            "1.5h",
            " 1s",
            "1s ",
            "1S",
            "1 min",
            "１s",
            "1s2",
            "0x1s",
            "1e3s",
            "36501d",
            "18446744073709551615d",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_size_counts_in_powers_of_two() {
        for (text, bytes) in
            [("1 B", 1), ("16 KiB", 16 << 10), ("64MiB", 64 << 20), ("1 GiB", 1 << 30)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in
            ["64", "64 MB", "64 M", "1.5 GiB", "-1 B", "18446744073709551615 TiB", "2097152 TiB"]
        {
            assert_eq!(size(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_rate_is_refilled_evenly() {
        assert_eq!(rate("20/minute"), Some(Rate { burst: 20, every: Duration::from_secs(3) }));
        assert_eq!(rate("1 / day"), Some(Rate { burst: 1, every: Duration::from_secs(86_400) }));
        for text in
            ["20", "0/minute", "-1/minute", "20/minutes", "20/", "/minute", "4294967296/second"]
        {
            assert_eq!(rate(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["0s", "1ms", "1500ms", "90s", "1m", "25h", "14d"] {
            assert_eq!(duration(text).map(duration_text).as_deref(), Some(text));
        }
        for text in ["0 B", "1 B", "1025 B", "1 KiB", "1536 KiB", "64 MiB", "1 TiB"] {
            assert_eq!(size(text).map(size_text).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_least_speed_has_a_grace() {
        assert_eq!((THROUGHPUT.read)("1 KiB/s after 30s"), Some((1024, Duration::from_secs(30))));
        for text in ["1 KiB/s", "1 KiB after 30s", "1/s after 30s", "1 KiB/s after 30"] {
            assert_eq!((THROUGHPUT.read)(text), None, "{text}");
        }
    }
}
