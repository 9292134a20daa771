//! The demo: a gateway before a tiny application, two users, nothing kept.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::{Running, StartError, sample, start};
use crate::clock::Clock;
use crate::config::{self, Environment, Report};
use crate::secret;

/// A demo that runs.
#[derive(Debug)]
pub struct Demo {
    /// The gateway.
    pub running: Running,
    /// Password of `alice`, who has the role `user`.
    pub alice: String,
    /// Password of `admin`, who has the role `admin`.
    pub admin: String,
}

impl Demo {
    /// What to try, for whoever looks at the terminal.
    pub fn welcome(&self) -> String {
        let port = self.running.addresses().first().map_or(0, SocketAddr::port);
        WELCOME
            .replace("ORIGIN", &format!("http://localhost:{port}"))
            .replace("ALICE", &self.alice)
            .replace("ADMIN", &self.admin)
    }
}

/// Why the demo did not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The gateway does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The sample application does not start.
    #[error("cannot start the sample application: {0}")]
    Sample(#[from] io::Error),
    /// The embedded configuration is wrong, which a test excludes.
    #[error("the embedded configuration is wrong:\n{0}")]
    Config(String),
}

/// Starts the sample application and a gateway before it.
pub fn demo(listen: SocketAddr) -> Result<Demo, DemoError> {
    let sample = sample::start()?;
    let (alice, admin) = (password(), password());
    let text = TEMPLATE
        .replace("LISTEN", &listen.to_string())
        .replace("PORT", &listen.port().to_string())
        .replace("SAMPLE", &sample.to_string())
        .replace("ALICE", &alice)
        .replace("ADMIN", &admin);
    let loaded = config::read(&text, Path::new("demo.toml"), &Environment::fixed([]))
        .map_err(|report: Report| DemoError::Config(report.render(config::Style::Plain)))?;
    let running = start(loaded.config, &Clock::system())?;
    Ok(Demo { running, alice, admin })
}

/// A password of 20 characters out of 32 that are easily typed: 100 bits.
pub fn password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().map(char::from);
    secret::random::<20>().iter().filter_map(letter).collect()
}

/// The configuration of the demo; the words in capitals are filled in.
const TEMPLATE: &str = r#"
[server]
listen = "LISTEN"
public_url = "http://localhost:PORT"
admin = "off"

[log]
access = false
audit_output = "file:/dev/null"

[store]
url = "sqlite::memory:"

[auth]
roles = ["admin", "user"]
page = { title = "Portcullis demo" }

[[bootstrap]]
name = "alice"
roles = ["user"]
password = "ALICE"

[[bootstrap]]
name = "admin"
roles = ["admin"]
password = "ADMIN"

[upstreams.sample]
servers = ["http://SAMPLE"]

[[routes]]
path = "/"
access = "public"
upstream = "sample"

[[routes]]
path = "/private/*"
upstream = "sample"

[[routes]]
path = "/admin/*"
roles = ["admin"]
upstream = "sample"
"#;

/// The words in capitals are filled in.
const WELCOME: &str = r#"Portcullis stands before a small application that has no login of its own.

    ORIGIN          (open it in a browser)

    user alice, password ALICE    (role user)
    user admin, password ADMIN    (role admin)

Open ORIGIN/private/hello in a browser: the login page comes first, then the application,
which shows what it was told of you. ORIGIN/auth/account is your account,
ORIGIN/auth/logout the way out.

Or try it from another terminal:

    curl ORIGIN/                     # open to everybody
    curl -i ORIGIN/private/hello     # 401: sign in first

    curl -s -c jar ORIGIN/auth/login -H 'Content-Type: application/json' \
      -d '{"username":"alice","password":"ALICE","transport":"cookie"}'
    curl -b jar -c jar ORIGIN/private/hello # alice, as the application is told
    curl -b jar -c jar ORIGIN/admin/        # 403: alice is no admin
    curl -b jar -c jar ORIGIN/auth/me

Nothing is kept: users and sessions end with this process. Ctrl-C stops it."#;
