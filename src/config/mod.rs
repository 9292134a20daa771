//! Reads `gateway.toml` and secrets into a checked [`Config`] of plain values, every problem with
//! its place and remedy. What limits, stores and upstreams are made of these values is theirs.
//!
//! The way through: text → spanned tree (`toml` gives every syntax error at once) → sections read
//! key by key → [`Config`]. A reader never stops at a problem: it tells it and goes on with the
//! default, so that one run shows every mistake. Nothing here prints.

mod app_cookies;
mod app_logout;
mod certificate;
mod codes;
mod conflicts;
mod cors;
mod dangers;
mod document;
mod entry;
mod environment;
mod fill;
mod forms;
mod frozen;
mod header_names;
mod identities;
mod include;
mod keys;
mod listen;
mod model;
mod named_file;
mod origins;
mod page;
mod people;
mod policy_tests;
mod presets;
mod problem;
mod proof;
mod proxies;
mod report;
mod respond;
mod route_headers;
mod routes;
mod section;
mod server;
mod servers;
mod show;
mod tls;
mod tokens;
mod tree;
mod upgrades;
mod upstream_tls;
mod upstreams;
mod value;
mod veil;

#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::iter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use certificate::{BadCertificate, Certificate};
pub use codes::explain_code;
pub use environment::Environment;
pub use frozen::{Frozen, frozen};
pub use listen::ListenAddress;
pub use model::*;
pub use problem::{Problem, Severity};
pub use report::{Report, Style};
pub use servers::{Balance, Eject, HealthCheck, Protocol, ServerAddress, UpstreamServer};
pub use show::masked;
pub use tls::{HttpRedirect, TlsPair};
pub use upstream_tls::{Authorities, UpstreamTls, Verify};

use document::{Document, top};
use report::Source;
use section::Context;
use tree::{Tree, with_syntax};

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What is legal and dangerous in it; empty when nothing is.
    pub warnings: Report,
}

/// Reads a configuration file and all it names. An `Err` that [`Report::is_unreadable`] means that
/// there was nothing to judge.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Report> {
    read(&text_of(path)?, path, environment)
}

/// What to do where a fault may hide `server.data_dir`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InDoubt {
    /// Refuse the file: another gateway may be on the default folder.
    Refuse,
    /// Take the default.
    TakeDefault,
}

/// The data folder of a configuration file, which may be faulty in all else.
pub fn data_dir(
    path: &Path,
    environment: &Environment,
    in_doubt: InDoubt,
) -> Result<PathBuf, Report> {
    data_dir_in(&Source { path: path.to_owned(), text: text_of(path)? }, environment, in_doubt)
}

fn data_dir_in(
    source: &Source,
    environment: &Environment,
    in_doubt: InDoubt,
) -> Result<PathBuf, Report> {
    let context = Context::new(&source.path, environment);
    let tree = Tree::parse(source, 0);
    let server = top(&context, &tree, 0).section("server", &keys::SERVER);
    let guess = in_doubt == InDoubt::TakeDefault && !server.has("data_dir");
    if server.text("data_dir").is_some_and(|text| !text.value.is_empty()) || guess {
        return Ok(server::data_dir(&server));
    }
    match read(&source.text, &source.path, environment) {
        Ok(loaded) => Ok(loaded.config.server.data_dir),
        // In both tables there is nothing amiss, and no other one holds what should be in them.
        Err(report)
            if !server.has("data_dir") && context.is_silent() && !report.may_hide_keys() =>
        {
            Ok(server::data_dir(&server))
        }
        Err(report) => Err(report),
    }
}

/// Where a gateway may be asked whether it lives.
#[derive(Clone, Debug)]
pub struct WaysIn {
    /// Its data folder, where it listens for commands.
    pub data_dir: PathBuf,
    /// Its admin listener.
    pub admin: Option<SocketAddr>,
    /// A listener for clients that speaks no TLS, and the path of its ping, where that is the last
    /// way: the store is in memory, or there is no file.
    pub ping: Option<(SocketAddr, String)>,
}

/// Where the gateway of a configuration file may be asked, which may be faulty in all else. Without
/// a file: where one of the defaults listens for commands, and for clients.
pub fn ways_in(path: Option<&Path>, environment: &Environment) -> Result<WaysIn, Report> {
    let text = path.map_or(Ok(String::new()), text_of)?;
    let source = Source { path: path.unwrap_or(Path::new("")).to_owned(), text };
    let data_dir = data_dir_in(&source, environment, InDoubt::TakeDefault)?;
    let (context, tree) = (Context::new(&source.path, environment), Tree::parse(&source, 0));
    let top = top(&context, &tree, 0);
    let server = top.section("server", &keys::SERVER);
    let store = server::read_store(top.section("store", &keys::STORE), &data_dir);
    let plain = listen::read(&server).iter().find_map(ListenAddress::tcp);
    let plain = plain.filter(|_| !server.has("tls"));
    let last = path.is_none() || store == StoreUrl::Memory;
    let auth_path = people::auth_path(&top.section("auth", &keys::AUTH));
    Ok(WaysIn {
        admin: path.and_then(|_file| server::admin(&server)),
        ping: plain.filter(|_| last).map(|address| (address, format!("{auth_path}/ping"))),
        data_dir,
    })
}

fn text_of(path: &Path) -> Result<String, Report> {
    named_file::main_text(path).map_err(|cause| {
        let problem = Problem::nowhere(
            &codes::UNREADABLE,
            format!("cannot read `{}`: {cause}", path.display()),
        )
        .help(way_to_read(cause.kind()));
        Report::new(path, Vec::new(), vec![problem])
    })
}

fn way_to_read(cause: ErrorKind) -> &'static str {
    if cause == ErrorKind::InvalidData {
        "save it as UTF-8"
    } else if cause == ErrorKind::PermissionDenied {
        "let this user read it, and pass the folders above it (chmod, chown)"
    } else if cause == ErrorKind::IsADirectory {
        "this is a folder: name the file in it with `-c FILE`"
    } else {
        "name another file with `-c FILE`"
    }
}

/// Reads the text of a configuration as if it stood in `file`.
pub fn read(text: &str, file: &Path, environment: &Environment) -> Result<Loaded, Report> {
    let context = Context::new(file, environment);
    let source = Source { path: file.to_owned(), text: text.to_owned() };
    let tree = Tree::parse(&source, 0);
    let main = top(&context, &tree, 0);
    let included = include::read(&main, file);
    let trees: Vec<_> =
        included.iter().zip(1..).map(|(source, at)| Tree::parse(source, at)).collect();

    let further = trees.iter().zip(1..).map(|(tree, at)| top(&context, tree, at));
    let tops = iter::once(main).chain(further).collect();
    let sources: Vec<&Source> = iter::once(&source).chain(&included).collect();
    let config = Document { main, tops, sources: &sources }.read(file);

    let trees: Vec<&Tree<'_>> = iter::once(&tree).chain(&trees).collect();
    let mut problems = with_syntax(context.into_problems(), &trees, &sources);
    // Beside an error it may be what keeps routes from being read.
    let sound = problems.iter().all(|problem| problem.severity() == Severity::Warning);
    if sound && config.routes.is_empty() {
        problems.push(dangers::no_routes());
    }
    let veiled = sources.iter().zip(&trees).map(|(source, tree)| tree.veiled(source)).collect();
    let report = Report::new(file, veiled, problems);
    if report.count(Severity::Error) > 0 {
        return Err(report);
    }
    Ok(Loaded { config, warnings: report })
}
