//! What the operating system knows of this process, where it tells (`/proc`, so Linux only).

use std::fs;

use rustix::process::{Resource, getrlimit};

/// `process_resident_memory_bytes`.
pub(super) fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// `process_cpu_seconds_total`, in hundredths: user and system time of all threads. Linux counts it
/// in hundredths for whoever asks (USER_HZ), whatever its own tick is.
pub(super) fn cpu_ticks() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The command's name, in brackets, may hold blanks and brackets; the state follows the last.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// `process_open_fds`.
pub(super) fn open_descriptors() -> Option<usize> {
    // One of them is the listing's own.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1))
}

/// The limit of open files; None: there is none.
pub fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_process_can_be_measured() {
        let rss = resident_bytes().unwrap();
        assert!((1 << 20..1 << 40).contains(&rss), "{rss}");
        let before = open_descriptors().unwrap();
        assert!(before >= 3, "{before}");
        let spun = (0..).find(|_| cpu_ticks().unwrap() > 0);
        assert!(spun.is_some());
    }
}
