//! What the file may ask of the machine around it: variables, and how many cores there are.

use std::collections::BTreeMap;
use std::fmt;

use crate::clock::{Clock, Timestamp};

/// The surroundings of a configuration. The only code that reads environment variables.
#[derive(Clone)]
pub struct Environment {
    variables: Variables,
    cores: usize,
    now: Timestamp,
}

#[derive(Clone)]
enum Variables {
    Process,
    Fixed(BTreeMap<String, String>),
}

impl Environment {
    /// Of this process.
    pub fn process() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { variables: Variables::Process, cores, now: Clock::system().now() }
    }

    /// With exactly these variables, two cores and a day in January of 2027: for tests and the demo.
    pub fn fixed(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        let variables = Variables::Fixed(variables.into_iter().collect());
        Self { variables, cores: 2, now: Timestamp::from_secs(1_800_000_000) }
    }

    /// A variable's value; none when it is unset or not UTF-8.
    #[expect(clippy::disallowed_methods, reason = "this is the home of environment variables")]
    pub fn variable(&self, name: &str) -> Option<String> {
        match &self.variables {
            Variables::Process => std::env::var(name).ok(),
            Variables::Fixed(variables) => variables.get(name).cloned(),
        }
    }

    /// Whether a variable is set to what is not UTF-8.
    #[expect(clippy::disallowed_methods, reason = "this is the home of environment variables")]
    pub(super) fn is_no_text(&self, name: &str) -> bool {
        let not_unicode = |value| matches!(value, Err(std::env::VarError::NotUnicode(_)));
        matches!(self.variables, Variables::Process) && not_unicode(std::env::var(name))
    }

    /// When the configuration is read.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Cores of the machine: what "auto" counts.
    pub const fn cores(&self) -> usize {
        self.cores
    }
}

/// Values may be secrets, so none is shown.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("cores", &self.cores).finish_non_exhaustive()
    }
}
