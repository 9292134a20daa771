//! Who may sign in and how often: `[passwords]`, `[rate_limits]`, `[auth]` and `[[bootstrap]]`.

use std::sync::Arc;
use std::time::Duration;

use super::codes;
use super::cors::Policies;
use super::forms::{self, SIZE};
use super::keys::{self, nearest};
use super::model::{AuthSection, Bootstrap, BootstrapPassword, Passwords, Rate, RateLimits};
use super::named_file::{self, LARGEST_LIST};
use super::page;
use super::problem::{Place, Problem};
use super::section::{Between, Section, unreadable};
use super::server::auto_or_count;
use super::value::{Text, bad_value};
use crate::identity::{Role, Username};
use crate::password::{self, Cost, Demands, PasswordHash};
use crate::policy::PathPattern;
use crate::secret::Secret;

pub(super) fn read_passwords(section: Section<'_>) -> Passwords {
    let cores = section.context.environment.cores();
    let cost = cost(section.section("argon2", &keys::ARGON2));
    Passwords {
        cost,
        concurrent: auto_or_count(&section, "concurrent", cores.saturating_sub(1).max(1)),
        queue: section.count("queue", 64, 1..=100_000),
        queue_per_network: section.count("queue_per_network", 2, 1..=100_000),
        min_length: section.count("min_length", 12, 8..=128),
        blocklist: blocklist(&section),
        failure_floor: cost.floor(),
    }
}

fn cost(section: Section<'_>) -> Cost {
    let count =
        |key, default, most| u32::try_from(section.count(key, default, 1..=most)).unwrap_or(1);
    Cost {
        memory_kib: memory(&section),
        passes: count("passes", 2, 4),
        lanes: count("lanes", 1, 16),
    }
}

fn memory(section: &Section<'_>) -> u32 {
    const DEFAULT: u32 = 19 << 10;
    let Some(bytes) = section.form("memory", &SIZE) else {
        return DEFAULT;
    };
    let kib = u32::try_from(bytes >> 10).ok().filter(|kib| (7 << 10..=256 << 10).contains(kib));
    kib.unwrap_or_else(|| {
        let problem = Problem::new(
            &codes::OUT_OF_BOUNDS,
            section.place_of("memory"),
            "`memory` is out of bounds",
        )
        .label("must be from \"7 MiB\" to \"256 MiB\"")
        .because("less makes guessing cheap; more lets a few logins fill the machine");
        section.tell(problem);
        DEFAULT
    })
}

fn blocklist(section: &Section<'_>) -> Arc<[String]> {
    let Some(file) = section.text("blocklist_file").filter(|file| !file.value.is_empty()) else {
        return Arc::default();
    };
    let path = section.context.folder.join(&file.value);
    match named_file::text(&path, LARGEST_LIST) {
        Ok(text) => text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect(),
        Err(cause) => {
            section.tell(unreadable(&path, &cause, file.place));
            Arc::default()
        }
    }
}

pub(super) fn read_rate_limits(section: Section<'_>) -> RateLimits {
    let rate = |key, burst, every| rate(&section, key, Rate { burst, every });
    let millis = Duration::from_millis;
    RateLimits {
        login_per_ip: rate("login_per_ip", 20, millis(3_000)),
        login_per_network: rate("login_per_network", 100, millis(600)),
        login_per_username: rate("login_per_username", 10, millis(60_000)),
        login_per_user: rate("login_per_user", 30, millis(120_000)),
        refresh_per_session: rate("refresh_per_session", 30, millis(2_000)),
        refresh_per_ip: rate("refresh_per_ip", 300, millis(200)),
        sessions_per_session: rate("sessions_per_session", 10, millis(6_000)),
        admin_per_user: rate("admin_per_user", 60, millis(1_000)),
        auth_per_ip: rate("auth_per_ip", 600, millis(100)),
    }
}

const EVERY: Between =
    Between { least: Duration::from_millis(1), most: Duration::from_secs(86_400), why: "" };

fn rate<'a>(section: &Section<'a>, key: &'a str, default: Rate) -> Rate {
    let Some(value) = section.value(key) else {
        return default;
    };
    if !value.is_table() {
        return value.form(&forms::RATE).unwrap_or(default);
    }
    let table = section.section(key, &keys::RATE);
    for part in ["burst", "every"] {
        if !table.has(part) {
            table.needed(part, "a rate is a burst, and the time until one of it comes back");
        }
    }
    Rate {
        burst: u32::try_from(table.count("burst", 1, 1..=1_000_000)).unwrap_or(1),
        every: table.duration("every", default.every, &EVERY),
    }
}

/// The closed list of roles; not closed when part of it could not be read.
pub(super) struct Roles {
    known: Vec<Role>,
    whole: bool,
}

pub(super) fn read_auth(section: Section<'_>, cors: &Policies<'_>) -> (AuthSection, Roles) {
    let texts = section.texts("roles");
    let wanted = texts.as_ref().map_or(0, Vec::len);
    let known = match texts {
        Some(texts) => texts.iter().filter_map(|text| role(&section, "roles", text)).collect(),
        None => ["admin", "user"]
            .into_iter()
            .filter_map(|name| Role::new(name).ok())
            .collect::<Vec<_>>(),
    };
    let whole = !section.has("roles") || known.len() == wanted;
    let roles = Roles { known, whole };
    let auth = AuthSection {
        path: auth_path(&section),
        roles: roles.known.clone(),
        admin_role: admin_role(&section, &roles),
        after_logout: page::after_logout(&section),
        page: page::read(&section),
        cors: cors.of_auth(&section),
    };
    (auth, roles)
}

/// `admin`, if there is such a role; none where it is written as empty.
fn admin_role(section: &Section<'_>, roles: &Roles) -> Option<Role> {
    let Some(text) = section.text("admin_role") else {
        return Role::new("admin").ok().filter(|role| roles.known.contains(role));
    };
    if text.value.is_empty() {
        return None;
    }
    let role = role(section, "admin_role", &text)?;
    roles.check(section, &role, text.place);
    Some(role)
}

fn role(section: &Section<'_>, key: &str, text: &Text) -> Option<Role> {
    let role = Role::new(&text.value);
    if role.is_err() {
        let problem = bad_value(key, text, "the name of a role")
            .help("a role is 1 to 32 lower-case letters, digits and `. _ : -`, beginning with a letter or digit");
        section.tell(problem);
    }
    role.ok()
}

impl Roles {
    /// The roles that a list names; each one that does not exist is told.
    pub(super) fn read<'a>(&self, section: &Section<'a>, key: &'a str) -> Option<Vec<Role>> {
        let texts = section.texts(key)?;
        let known = |text: &Text| {
            let role = role(section, "roles", text)?;
            self.check(section, &role, text.place);
            Some(role)
        };
        Some(texts.iter().filter_map(known).collect())
    }

    fn check(&self, section: &Section<'_>, role: &Role, place: Place) {
        if self.whole && !self.known.contains(role) {
            section.tell(self.undefined(role, place));
        }
    }

    fn undefined(&self, role: &Role, place: Place) -> Problem {
        let names: Vec<&str> = self.known.iter().map(Role::as_str).collect();
        let problem =
            Problem::new(&codes::UNDEFINED_ROLE, place, format!("there is no role `{role}`"));
        let problem = match nearest(role.as_str(), names.iter().copied()) {
            Some(near) => problem.label(format!("did you mean `{near}`?")),
            None => problem.label("no such role"),
        };
        problem.help(format!(
            "roles are {}; `auth.roles` is the list of all that exist",
            names.join(", ")
        ))
    }
}

pub(super) fn auth_path(section: &Section<'_>) -> String {
    let default = || "/auth".to_owned();
    let Some(text) = section.text("path") else {
        return default();
    };
    let plain = PathPattern::read(&text.value).ok().filter(|pattern| {
        let path = pattern.as_str();
        path == text.value
            && path.len() > 1
            && !path.ends_with('/')
            && !path.contains(['{', '*', '%', ';'])
    });
    match plain {
        Some(pattern) => pattern.as_str().to_owned(),
        None => {
            section.tell(bad_value("path", &text, "a plain path").help("for example \"/auth\": it begins with a slash, does not end with one, and holds nothing that is percent-encoded"));
            default()
        }
    }
}

pub(super) fn read_bootstrap(
    sections: Vec<Section<'_>>,
    roles: &Roles,
    passwords: &Passwords,
) -> Vec<Bootstrap> {
    let mut users: Vec<Bootstrap> = Vec::new();
    for section in sections {
        let name = section
            .needed("name", "a user has a name")
            .and_then(|text| username(&section, "name", &text));
        let roles = roles.read(&section, "roles").unwrap_or_default();
        let password = bootstrap_password(&section, name.as_ref(), passwords);
        let Some(name) = name else { continue };
        if users.iter().any(|user| user.name == name) {
            let problem = Problem::new(
                &codes::DUPLICATE,
                section.place_of("name"),
                format!("two bootstrap users are named `{name}`"),
            );
            section
                .tell(problem.label("again").help("take one out; names are compared without case"));
        }
        if let Some(password) = password {
            warn_of_refusal(&section, (&name, &password), passwords);
            users.push(Bootstrap { name, roles, password });
        }
    }
    users
}

/// Reads a username, telling why a text is none.
pub(super) fn username(section: &Section<'_>, key: &str, text: &Text) -> Option<Username> {
    Username::new(&text.value)
        .map_err(|cause| {
            section.tell(bad_value(key, text, "a username").because(cause.to_string().trim()))
        })
        .ok()
}

fn bootstrap_password(
    section: &Section<'_>,
    name: Option<&Username>,
    passwords: &Passwords,
) -> Option<BootstrapPassword> {
    const WAYS: [&str; 3] = ["password", "password_file", "hash"];
    if WAYS.iter().all(|way| !section.has(way)) {
        let problem = Problem::new(&codes::MISSING, section.place, "this user has no password")
            .label("needs a password")
            .help("add `password_file = \"...\"`, `password = \"${NAME}\"` or `hash = \"$argon2id$...\"` (`portcullis hash` makes one)");
        section.tell(problem);
        return None;
    }
    if section.clash("password", "hash") || section.clash("hash", "password_file") {
        return None;
    }
    if let Some(text) = section.text("hash") {
        return hash(section, &text).map(BootstrapPassword::Hash);
    }
    let (secret, place) = section.secret("password", "password_file")?;
    if let Some(label) = name.and_then(|name| unfit(&secret, name, passwords)) {
        let problem = Problem::new(&codes::UNFIT_PASSWORD, place, "this password cannot be set")
            .label(label)
            .help("choose another, or give its `hash`, which is taken as it is");
        section.tell(problem);
    }
    Some(BootstrapPassword::Plain(secret))
}

/// What a start refuses where the user is not there yet, which nobody can tell from the file.
fn warn_of_refusal(
    section: &Section<'_>,
    (name, password): (&Username, &BootstrapPassword),
    passwords: &Passwords,
) {
    let warn = |key, label: String| {
        let message = format!("the user `{name}` cannot be made");
        let problem = Problem::new(&codes::REFUSED_USER, section.place_of(key), message);
        let why = "where nobody ever had the name, the gateway does not start";
        section.tell(problem.label(label).because(why));
    };
    if let Err(cause) = name.may_be_taken() {
        warn("name", cause.to_string());
    }
    let is_dear = |hash: &PasswordHash| hash.floor() > passwords.cost.floor();
    if matches!(password, BootstrapPassword::Hash(hash) if is_dear(hash)) {
        warn("hash", "dearer than `passwords.argon2`".to_owned());
    }
}

fn hash(section: &Section<'_>, text: &Text) -> Option<PasswordHash> {
    let tell = |cause: crate::password::BadHash| {
        let problem = Problem::new(&codes::BAD_HASH, text.place, "this hash cannot be used")
            .label(cause.to_string())
            .help("make one with `portcullis hash`");
        section.tell(problem);
    };
    PasswordHash::parse(&text.value).map_err(tell).ok()
}

/// What keeps a password from being set; never the password itself. The same rules as at the start.
fn unfit(secret: &Secret, name: &Username, passwords: &Passwords) -> Option<String> {
    let demands = Demands { min_length: passwords.min_length, blocklist: &passwords.blocklist };
    let rejections = password::judge(secret, name, demands).err()?;
    Some(rejections.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
