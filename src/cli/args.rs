//! The arguments, each with its help.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Login, sessions and role rules in front of applications that have none.
#[derive(Debug, Parser)]
#[command(name = "portcullis", disable_version_flag = true)]
pub(super) struct Arguments {
    /// The configuration [default: ./gateway.toml, then /etc/portcullis/gateway.toml]
    #[arg(short = 'c', long = "config", global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a gateway before a tiny sample application, with two users, keeping nothing
    Demo {
        /// Where to listen
        #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
        listen: SocketAddr,
    },
    /// Start the gateway
    Run,
    /// Load the configuration, tell every problem at once, run its [[tests]]
    Check {
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Tell which route a request would take and why, or what an error code means
    Explain(Question),
    /// List the routes: match, who may, where it goes, what it is told
    Routes {
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Print the whole configuration with its defaults, secrets masked
    Show,
    /// Administer users
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Administer sessions
    Session {
        #[command(subcommand)]
        command: SessionCommand,
    },
    /// Administer the keys
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Have the running gateway read its configuration again
    Reload,
    /// Make certificates for TLS
    Cert {
        #[command(subcommand)]
        command: CertCommand,
    },
    /// Print the argon2id hash of a password from standard input
    Hash,
    /// Ask the running gateway whether it lives: by its data folder, else its admin listener
    Healthcheck,
    /// Print the version
    Version,
}

#[derive(Debug, Args)]
pub(super) struct Question {
    /// A method, or an error code such as E011
    #[arg(value_name = "METHOD|CODE")]
    pub(super) method: String,
    /// A path or a URL
    #[arg(value_name = "PATH|URL")]
    pub(super) target: Option<String>,
    /// Asked by a user of this name
    #[arg(long, value_name = "U")]
    pub(super) user: Option<String>,
    /// Asked by a user with this role; may be given several times
    #[arg(long = "role", value_name = "R")]
    pub(super) roles: Vec<String>,
    /// Asked by nobody known (the default without --user and --role)
    #[arg(long, conflicts_with_all = ["user", "roles"])]
    pub(super) anonymous: bool,
    /// Asked from this address (the default is this machine)
    #[arg(long, value_name = "ADDR")]
    pub(super) from: Option<IpAddr>,
    /// For machines
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum CertCommand {
    /// Make a certificate that nobody vouches for, to try TLS out: HOST.crt and HOST.key
    SelfSigned {
        /// A name, a wildcard such as "*.example.com", or an address
        host: String,
        /// Where to write them
        #[arg(long, value_name = "DIR", default_value = ".")]
        folder: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; asks for a password
    Add {
        name: String,
        /// A role; may be given several times
        #[arg(long = "role", value_name = "R")]
        roles: Vec<String>,
        /// Full name
        #[arg(long = "name", value_name = "N")]
        full_name: Option<String>,
        /// E-mail address
        #[arg(long, value_name = "E")]
        email: Option<String>,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Print a link that sets a password once: for a new user, or for a forgotten password
    Invite {
        name: String,
        /// A role of a new user; may be given several times
        #[arg(long = "role", value_name = "R")]
        roles: Vec<String>,
        /// How long the link is good: "30m", "24h", "7d"
        #[arg(long, value_name = "D", default_value = "24h", value_parser = seconds)]
        ttl: u64,
    },
    /// Take over users with bcrypt or argon2id hashes: CSV with the columns username,hash and then
    /// any of roles (a;b), name, email; all of them or none
    Import {
        file: PathBuf,
        /// Only tell what would be added, and what stands in the way
        #[arg(long)]
        dry_run: bool,
    },
    /// List all users
    List {
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Show one user
    Show {
        name: String,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Set a password and end every session of the user
    Passwd {
        name: String,
        #[command(flatten)]
        password: PasswordSource,
    },
    /// Set the roles, true from the next request on
    Roles {
        name: String,
        /// The roles; none takes all away
        roles: Vec<String>,
    },
    /// Refuse the user's logins and end every session
    Disable { name: String },
    /// Let the user log in again
    Enable { name: String },
    /// Delete a user; the name stays reserved
    Delete {
        name: String,
        /// Let a new user take the name
        #[arg(long)]
        free_name: bool,
    },
}

/// Never as an argument: other users of the machine could read it there.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct PasswordSource {
    /// Read it from standard input
    #[arg(long)]
    pub(super) password_stdin: bool,
    /// Make one up and print it
    #[arg(long)]
    pub(super) generate: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List live sessions
    List {
        /// Of this user only
        #[arg(long, value_name = "U")]
        user: Option<String>,
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// End sessions, at once
    #[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
    Revoke {
        /// The session of this id
        #[arg(group = "which")]
        id: Option<String>,
        /// All of this user
        #[arg(long, value_name = "U", group = "which")]
        user: Option<String>,
        /// All of everybody
        #[arg(long, group = "which")]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// List the keys that sign and verify access tokens, and those of assertions for applications
    List {
        /// For machines
        #[arg(long)]
        json: bool,
    },
    /// Publish new signing keys, to sign in a quarter of an hour; secrets of HS256 are the file's
    Rotate {
        /// Sign with them at once, and refuse every older access token; sessions go on
        #[arg(long)]
        revoke_old: bool,
    },
    /// Write the master keys and the signing keys into a new file
    Backup {
        /// Where to; a file that is there is not overwritten
        file: PathBuf,
    },
}

/// Reads a span of minutes, hours or days.
fn seconds(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match text.strip_prefix(number) {
        Some("m") => 60,
        Some("h") => 60 * 60,
        Some("d") => 24 * 60 * 60,
        Some(_) | None => return Err("a number with a unit: 30m, 24h or 7d".to_owned()),
    };
    let number: u32 = number.parse().map_err(|_digits| "not a number".to_owned())?;
    Ok(u64::from(number) * unit)
}
