//! The files and streams at the end of the queues.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Stream;
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
        if batch.is_empty() || sink.write(batch) {
            return 0;
        }
        if stream == Stream::Audit && self.rescue.write_all(batch).is_ok() {
            return 0;
        }
        batch.iter().map(|byte| u64::from(*byte == b'\n')).sum()
    }
}

/// One output.
pub(in crate::telemetry) struct Sink {
    file: Option<PathBuf>,
    out: Box<dyn Write + Send>,
    /// The last write failed, perhaps amid a line.
    failed: bool,
}

impl Sink {
    /// Opens an output; a file is made if it is missing, readable for its owner and group.
    pub(in crate::telemetry) fn open(output: &LogOutput) -> io::Result<Self> {
        match output {
            LogOutput::Stdout => Ok(Self::to(io::stdout())),
            LogOutput::Stderr => Ok(Self::to(io::stderr())),
            LogOutput::File(path) => {
                Ok(Self { file: Some(path.clone()), ..Self::to(append(path)?) })
            }
        }
    }

    /// An output that is open already.
    pub(in crate::telemetry) fn to(out: impl Write + Send + 'static) -> Self {
        Self { file: None, out: Box::new(out), failed: false }
    }

    fn reopen(&mut self) {
        let Some(path) = &self.file else { return };
        match append(path) {
            Ok(file) => {
                self.out = Box::new(file);
                self.failed = false;
            }
            Err(cause) => tracing::error!("cannot reopen the log file: {cause}"),
        }
    }

    /// Whether all of it was written. Tells when writing begins to fail and when it works again.
    fn write(&mut self, batch: &[u8]) -> bool {
        let outcome = self.try_write(batch);
        match &outcome {
            Ok(()) if self.failed => tracing::warn!("the log is written again"),
            Err(cause) if !self.failed => tracing::error!("cannot write the log: {cause}"),
            Ok(()) | Err(_) => {}
        }
        self.failed = outcome.is_err();
        !self.failed
    }

    fn try_write(&mut self, batch: &[u8]) -> io::Result<()> {
        if self.failed {
            // Whatever line was torn shall not spoil the next.
            self.out.write_all(b"\n")?;
        }
        self.out.write_all(batch)?;
        self.out.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(|cause| io::Error::new(cause.kind(), format!("{}: {cause}", path.display())))
}
