//! `portcullis cert`.

use std::process::ExitCode;

use super::args::CertCommand;
use super::output::Output;
use crate::app::certificate::{SelfSigned, self_signed};
use crate::clock::Clock;

pub(super) fn cert(output: &Output, command: &CertCommand) -> ExitCode {
    let CertCommand::SelfSigned { host, folder } = command;
    match self_signed(host, folder, &Clock::system()) {
        Ok(SelfSigned { cert, key }) => {
            let [cert, key] = [cert, key].map(|path| path.display().to_string());
            output.say(format!(
                "made {cert} and {key}; browsers will warn of it, since nobody vouches for it\n\
                 \n\
                 [server]\n\
                 tls = {{ cert = \"{cert}\", key = \"{key}\" }}"
            ))
        }
        Err(error) => output.refuse(error),
    }
}
