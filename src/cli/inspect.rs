//! `check`, `explain`, `routes`, `show` and `version`: the configuration, looked at from all sides.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use http::Method;
use serde::Serialize;

use super::REFUSED;
use super::administer::{table, to_json};
use super::args;
use super::output::{Output, code_of, find};
use crate::app;
use crate::config::{self, Config, Loaded, explain_code};
use crate::gateway::{self, Question, Snapshot};
use crate::identity::{Role, Username};
use crate::policy::{Access, Route, Target};
use crate::request::{Host, Origin};

pub(super) fn check(output: &Output, file: Option<&Path>, json: bool) -> ExitCode {
    if json {
        return check_for_machines(output, file);
    }
    let loaded = match output.load(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    output.warn(&loaded);
    match test(&loaded.config) {
        Ok(tests) => {
            let file = loaded.config.file.display();
            let routes = loaded.config.routes.len();
            output.say(format!("{file}: fine; {routes} routes, {tests} tests passed."))
        }
        Err(red) => {
            output.complain(red);
            ExitCode::from(REFUSED)
        }
    }
}

fn check_for_machines(output: &Output, file: Option<&Path>) -> ExitCode {
    let file = match find(file) {
        Ok(file) => file,
        Err(text) => return output.could_not(text),
    };
    let (report, red, code) = match config::load(&file, &config::Environment::process()) {
        Ok(Loaded { config, warnings }) => match test(&config) {
            Ok(_) => (warnings, String::new(), ExitCode::SUCCESS),
            Err(red) => (warnings, red, ExitCode::from(REFUSED)),
        },
        Err(report) => {
            let code = code_of(&report);
            (report, String::new(), code)
        }
    };
    let verdict = Verdict { report: report.json(), failed_tests: red.lines().collect() };
    told(output.say(to_json(&verdict)), code)
}

/// What machines are told of a file.
#[derive(Serialize)]
struct Verdict<'a> {
    #[serde(flatten)]
    report: serde_json::Value,
    /// A line for each of its `[[tests]]` that fails.
    failed_tests: Vec<&'a str>,
}

/// Runs the `[[tests]]`: how many there are, or a line for each that fails.
pub(super) fn test(config: &Config) -> Result<usize, String> {
    let snapshot = compile(config).map_err(str::to_owned)?;
    let red = gateway::run_tests(&snapshot, &config.tests);
    if red.is_empty() { Ok(config.tests.len()) } else { Err(red.join("\n")) }
}

pub(super) fn explain(output: &Output, file: Option<&Path>, asked: &args::Question) -> ExitCode {
    let Some(target) = &asked.target else {
        return match explain_code(&asked.method) {
            Some(text) => output.say(text),
            None => output.could_not(format!(
                "{} is no error code; for a request give a method and a path",
                asked.method
            )),
        };
    };
    let loaded = match output.load(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let question = match question(asked, target) {
        Ok(question) => question,
        Err(text) => return output.could_not(text),
    };
    if let Some(text) = undefined_role(&loaded.config, &question) {
        return output.could_not(text);
    }
    let snapshot = match compile(&loaded.config) {
        Ok(snapshot) => snapshot,
        Err(text) => return output.could_not(text),
    };
    let explanation = gateway::explain(&snapshot, &question);
    let said = output.say(if asked.json { to_json(&explanation) } else { explanation.to_string() });
    if matches!(explanation.code, "permitted" | "endpoint") {
        said
    } else {
        told(said, ExitCode::from(REFUSED))
    }
}

/// The exit code of a bad verdict, if it could be told.
fn told(said: ExitCode, verdict: ExitCode) -> ExitCode {
    if said == ExitCode::SUCCESS { verdict } else { said }
}

fn question(asked: &args::Question, target: &str) -> Result<Question, String> {
    let method = Method::from_bytes(asked.method.as_bytes())
        .map_err(|_invalid| format!("{} is no method", asked.method))?;
    let (host, target) = split(target)?;
    let roles: Vec<Role> = asked
        .roles
        .iter()
        .map(|role| Role::new(role).map_err(|bad| bad.to_string()))
        .collect::<Result<_, _>>()?;
    let name = asked.user.as_deref().unwrap_or("somebody");
    let name = Username::new(name).map_err(|bad| bad.to_string())?;
    let known = !asked.anonymous && (asked.user.is_some() || !roles.is_empty());
    Ok(Question { method, host, target, caller: known.then_some((name, roles)), from: asked.from })
}

/// As E051 tells of a test.
fn undefined_role(config: &Config, question: &Question) -> Option<String> {
    let (_, roles) = question.caller.as_ref()?;
    let unknown = roles.iter().find(|role| !config.auth.roles.contains(role))?;
    let known: Vec<&str> = config.auth.roles.iter().map(Role::as_str).collect();
    Some(format!("there is no role `{unknown}`; roles are {}", known.join(", ")))
}

/// Host and target of a URL; a path stands for itself.
fn split(target: &str) -> Result<(Option<Host>, String), String> {
    let Some((scheme, rest)) = target.split_once("://") else {
        return Ok((None, target.to_owned()));
    };
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, format!("/{path}")),
        None => (rest, "/".to_owned()),
    };
    let known = Origin::read(&format!("{scheme}://{authority}")).is_some();
    let host = Host::read(authority).ok().filter(|_| known);
    host.map(|host| (Some(host), path)).ok_or_else(|| format!("{target} is no http or https URL"))
}

pub(super) fn routes(output: &Output, file: Option<&Path>, json: bool) -> ExitCode {
    let loaded = match output.load(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let rows: Vec<_> =
        loaded.config.routes.iter().map(|route| RouteRow::of(route, &loaded)).collect();
    output.say(if json {
        to_json(&rows)
    } else {
        table(rows.iter().map(RouteRow::cells), &["MATCH", "WHO", "UPSTREAM", "TOLD BY", "NAME"])
    })
}

#[derive(Serialize)]
struct RouteRow {
    name: String,
    matches: String,
    who: String,
    upstream: String,
    identity: String,
}

impl RouteRow {
    fn of(route: &Route, loaded: &Loaded) -> Self {
        let upstream = match route.target {
            Target::Upstream(upstream) => loaded.config.upstreams.get(upstream.0),
            Target::Endpoint(_) | Target::Answer(_) => None,
        };
        let answer = match &route.target {
            Target::Answer(answer) => format!("responds {}", answer.status.as_u16()),
            Target::Endpoint(_) | Target::Upstream(_) => String::new(),
        };
        let told: Vec<_> = route.identity.names().map(ToString::to_string).collect();
        Self {
            name: route.name.to_string(),
            matches: matches(route),
            who: who(route),
            upstream: upstream.map_or(answer, |upstream| upstream.name.to_string()),
            identity: told.join(" "),
        }
    }

    fn cells(&self) -> [String; 5] {
        let Self { name, matches, who, upstream, identity } = self;
        [matches.clone(), who.clone(), upstream.clone(), identity.clone(), name.clone()]
    }
}

fn matches(route: &Route) -> String {
    let hosts: Vec<_> = route.hosts.iter().map(ToString::to_string).collect();
    let methods: Vec<_> = route.methods.iter().flatten().map(Method::as_str).collect();
    let hosts = hosts.join("|");
    let methods = if methods.is_empty() { String::new() } else { methods.join("|") + " " };
    format!("{methods}{hosts}{}", route.pattern)
}

/// Public routes are written large, so that one that is open by accident is seen.
fn who(route: &Route) -> String {
    match route.rule.access {
        Access::Public => return "PUBLIC".to_owned(),
        Access::Optional => return "everybody, told if known".to_owned(),
        Access::SignedIn => {}
    }
    let roles = route.rule.roles.iter().map(|role| format!("role {role}"));
    let users = route.rule.users.iter().map(|user| format!("user {user}"));
    let who: Vec<_> = roles.chain(users).collect();
    if who.is_empty() { "signed in".to_owned() } else { who.join(" or ") }
}

pub(super) fn show(output: &Output, file: Option<&Path>) -> ExitCode {
    match output.load(file) {
        Ok(loaded) => {
            let shown = config::masked(&loaded.config);
            output.say(format!("{}\n{}", shown.trim_end(), derived(&loaded.config)).trim_end())
        }
        Err(code) => code,
    }
}

/// As comments, what follows from other keys where the file does not say it.
fn derived(config: &Config) -> String {
    let listen: Vec<_> = config.server.tcp_listeners().into_iter().map(chosen).collect();
    let origin = app::issuer(config, &listen);
    let mut lines = String::new();
    if config.server.public_url.is_none() {
        lines += &format!("\n# server.public_url = \"{origin}\", of server.listen");
    }
    if config.tokens.issuer.is_none() {
        lines += &format!("\n# tokens.issuer = \"{origin}\", of server.public_url");
    }
    lines
}

pub(super) fn version(output: &Output) -> ExitCode {
    output.say(format!("portcullis {}", env!("CARGO_PKG_VERSION")))
}

fn compile(config: &Config) -> Result<Snapshot, &'static str> {
    let listen: Vec<_> = config.server.tcp_listeners().into_iter().map(chosen).collect();
    Snapshot::compile(&Arc::new(config.clone()), &listen)
        .map_err(|_conflicts| "the routes contradict each other")
}

/// Port 0 asks the system for one, which is not known before the start: any other stands for it.
fn chosen(mut address: SocketAddr) -> SocketAddr {
    if address.port() == 0 {
        address.set_port(8080);
    }
    address
}
