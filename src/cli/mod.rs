//! Reads arguments and prints answers; each command calls the code that the server uses.

mod administer;
mod args;
mod certificate;
mod inspect;
mod output;
mod serve;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use output::Output;

/// The whole of `portcullis`.
pub fn main() -> ExitCode {
    let Arguments { config, command } = Arguments::parse();
    let output = Output::of_process();
    let file = config.as_deref();
    match command {
        Command::Demo { listen } => serve::demo(&output, listen),
        Command::Run => serve::run(&output, file),
        Command::Healthcheck => serve::healthcheck(&output, file),
        Command::Check { json } => inspect::check(&output, file, json),
        Command::Explain(question) => inspect::explain(&output, file, &question),
        Command::Routes { json } => inspect::routes(&output, file, json),
        Command::Show => inspect::show(&output, file),
        Command::Version => inspect::version(&output),
        Command::User { command } => administer::user(&output, file, command),
        Command::Session { command } => administer::session(&output, file, command),
        Command::Key { command } => administer::key(&output, file, command),
        Command::Reload => administer::reload(&output, file),
        Command::Cert { command } => certificate::cert(&output, &command),
        Command::Hash => administer::hash(&output),
    }
}

/// What was asked for was found wanting: problems in the file, a refusal, an order not carried out.
const REFUSED: u8 = 1;

/// It could not be looked at: no file, no gateway, no terminal.
const COULD_NOT: u8 = 2;
