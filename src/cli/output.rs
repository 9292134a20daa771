//! Where a command prints: answers to standard output, problems to standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{COULD_NOT, REFUSED};
use crate::config::{self, Environment, Loaded, Report, Severity, Style};
use crate::telemetry::Diagnostics;

/// The two streams, and whether people look at them.
#[derive(Debug)]
pub(super) struct Output {
    colour: bool,
    /// None: problems are printed directly.
    among: Option<Diagnostics>,
}

impl Output {
    pub(super) fn of_process() -> Self {
        let plain = Environment::process().variable("NO_COLOR").is_some_and(|set| !set.is_empty());
        Self { colour: io::stderr().is_terminal() && !plain, among: None }
    }

    /// The same, with its problems in their place among the diagnostics: nothing waits for whoever
    /// reads them, but [`Diagnostics::flush`].
    pub(super) fn among(&self, diagnostics: &Diagnostics) -> Self {
        Self { colour: self.colour, among: Some(diagnostics.clone()) }
    }

    /// Prints an answer, and gives the exit code. A reader that went away is no failure of ours.
    #[must_use]
    pub(super) fn say(&self, text: impl AsRef<str>) -> ExitCode {
        match write_line(io::stdout().lock(), text.as_ref()) {
            Err(cause) if cause.kind() != ErrorKind::BrokenPipe => self.not_said(&cause, ""),
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        }
    }

    /// The same with what is told this once: whoever does not read it is told what to do.
    #[must_use]
    pub(super) fn say_once(&self, text: impl AsRef<str>, remedy: &str) -> ExitCode {
        let said = write_line(io::stdout().lock(), text.as_ref());
        said.map_or_else(|cause| self.not_said(&cause, remedy), |()| ExitCode::SUCCESS)
    }

    fn not_said(&self, cause: &io::Error, remedy: &str) -> ExitCode {
        self.could_not(format!("cannot write to standard output: {cause}{remedy}"))
    }

    /// Prints a problem.
    pub(super) fn complain(&self, text: impl AsRef<str>) {
        match &self.among {
            Some(diagnostics) => diagnostics.print(text.as_ref()),
            None => drop(write_line(io::stderr().lock(), text.as_ref())),
        }
    }

    /// Prints a problem that begins with "error: ", and gives the exit code.
    pub(super) fn refuse(&self, text: impl std::fmt::Display) -> ExitCode {
        self.complain(format!("error: {text}"));
        ExitCode::from(REFUSED)
    }

    /// The same, when what was asked for could not be looked at.
    pub(super) fn could_not(&self, text: impl std::fmt::Display) -> ExitCode {
        self.complain(format!("error: {text}"));
        ExitCode::from(COULD_NOT)
    }

    /// How reports look here.
    pub(super) fn style(&self) -> Style {
        if self.colour { Style::Colour } else { Style::Plain }
    }

    /// Loads the configuration, or tells what is wrong with it.
    pub(super) fn load(&self, file: Option<&Path>) -> Result<Loaded, ExitCode> {
        let file = find(file).map_err(|text| self.could_not(text))?;
        config::load(&file, &Environment::process()).map_err(|report| self.tell(&report))
    }

    /// Prints what is wrong with a configuration, and gives the exit code.
    pub(super) fn tell(&self, report: &Report) -> ExitCode {
        self.complain(report.render(self.style()).trim_end());
        code_of(report)
    }

    /// Prints the warnings of a configuration.
    pub(super) fn warn(&self, loaded: &Loaded) {
        if loaded.warnings.count(Severity::Warning) > 0 {
            self.complain(loaded.warnings.render(self.style()).trim_end());
        }
    }
}

/// The file asked for, else the first of the usual places.
pub(super) fn find(file: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(file) = file {
        return Ok(file.to_owned());
    }
    let found = USUAL_PLACES.iter().map(Path::new).find(|place| place.symlink_metadata().is_ok());
    found.map(Path::to_owned).ok_or_else(|| {
        format!("there is no {}; name one with -c FILE", USUAL_PLACES.join(" and no "))
    })
}

/// The exit code of a configuration that cannot be used.
pub(super) fn code_of(report: &Report) -> ExitCode {
    ExitCode::from(if report.is_unreadable() { COULD_NOT } else { REFUSED })
}

fn write_line(mut to: impl Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.write_all(b"\n")?;
    to.flush()
}

const USUAL_PLACES: [&str; 2] = ["gateway.toml", "/etc/portcullis/gateway.toml"];
