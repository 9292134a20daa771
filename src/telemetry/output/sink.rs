//! The files and streams at the end of the queues.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::Stream;
use super::syslog::Syslog;
use crate::clock::Clock;
use crate::config::LogOutput;

/// The outputs of both streams.
pub(in crate::telemetry) struct Sinks {
    pub(super) access: Sink,
    pub(super) audit: Sink,
    /// Takes audit lines that their output does not take.
    pub(super) rescue: Box<dyn Write + Send>,
}

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sinks").finish_non_exhaustive()
    }
}

impl Sinks {
    /// These two, and standard error to the rescue.
    pub(in crate::telemetry) fn new(access: Sink, audit: Sink) -> Self {
        Self { access, audit, rescue: Box::new(io::stderr()) }
    }

    /// Opens the files again.
    pub(super) fn reopen(&mut self) {
        self.access.reopen();
        self.audit.reopen();
    }

    /// Writes whole lines; how many are lost. Audit lines that their output does not take go to
    /// `rescue` instead.
    pub(super) fn write(&mut self, stream: Stream, batch: &[u8]) -> u64 {
        let sink = match stream {
            Stream::Access => &mut self.access,
            Stream::Audit => &mut self.audit,
        };
        if batch.is_empty() {
            return 0;
        }
        let left = sink.write(stream, batch);
        if stream == Stream::Audit && self.rescue.write_all(&left).is_ok() {
            return 0;
        }
        left.iter().map(|byte| u64::from(*byte == b'\n')).sum()
    }
}

/// One output.
pub(in crate::telemetry) struct Sink {
    out: Out,
    /// The last write failed, perhaps amid a line.
    failed: bool,
}

enum Out {
    File(PathBuf, File),
    Stream(Box<dyn Write + Send>),
    Syslog(Syslog),
}

impl Sink {
    /// Opens an output; a file is made if it is missing, readable for its owner and group.
    pub(in crate::telemetry) fn open(output: &LogOutput, clock: &Clock) -> io::Result<Self> {
        let out = match output {
            LogOutput::Stdout => return Ok(Self::to(io::stdout())),
            LogOutput::Stderr => return Ok(Self::to(io::stderr())),
            LogOutput::File(path) => Out::File(path.clone(), append(path)?),
            LogOutput::Syslog(path) => Out::Syslog(Syslog::open(path, clock)?),
        };
        Ok(Self { out, failed: false })
    }

    /// An output that is open already.
    pub(in crate::telemetry) fn to(out: impl Write + Send + 'static) -> Self {
        Self { out: Out::Stream(Box::new(out)), failed: false }
    }

    fn reopen(&mut self) {
        let reopened = match &mut self.out {
            Out::File(path, file) => append(path).map(|opened| *file = opened),
            Out::Syslog(syslog) => syslog.reopen(),
            Out::Stream(_) => return,
        };
        match reopened {
            Ok(()) => self.failed = false,
            Err(cause) => tracing::error!("cannot reopen the log: {cause}"),
        }
    }

    /// Writes, and gives the lines that were not taken. Tells when writing begins to fail and when
    /// it works again.
    fn write(&mut self, stream: Stream, batch: &[u8]) -> Vec<u8> {
        let mut left = Vec::new();
        let outcome = match &mut self.out {
            Out::Syslog(syslog) => syslog.write((stream, batch), &mut left),
            Out::File(_, file) => write_whole(file, batch, self.failed),
            Out::Stream(out) => write_whole(out, batch, self.failed),
        };
        match &outcome {
            Ok(()) if self.failed => tracing::warn!("the log is written again"),
            Err(cause) if !self.failed => tracing::error!("cannot write the log: {cause}"),
            Ok(()) | Err(_) => {}
        }
        self.failed = outcome.is_err();
        if self.failed && left.is_empty() {
            left.extend_from_slice(batch);
        }
        left
    }
}

fn write_whole(out: &mut impl Write, batch: &[u8], after_a_failure: bool) -> io::Result<()> {
    if after_a_failure {
        // Whatever line was torn shall not spoil the next.
        out.write_all(b"\n")?;
    }
    out.write_all(batch)?;
    out.flush()
}

fn append(path: &Path) -> io::Result<File> {
    open_at_once(path).map_err(|cause| {
        let is_fifo = || path.metadata().is_ok_and(|found| found.file_type().is_fifo());
        let why = match Errno::from_io_error(&cause) {
            Some(Errno::NXIO) if is_fifo() => "nobody reads this FIFO".to_owned(),
            Some(_) | None => cause.to_string(),
        };
        io::Error::new(cause.kind(), format!("{}: {why}", path.display()))
    })
}

/// Without waiting for whoever may read a FIFO: they may never come, and who opens may be the one
/// who heeds a signal to stop.
fn open_at_once(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    let file = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
    Ok(file)
}
