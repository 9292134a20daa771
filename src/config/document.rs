//! The whole file: opens each section once, reads them in the order in which they need each other,
//! then looks at what they mean together.

use std::path::Path;

use super::cors::Policies;
use super::identities::Identities;
use super::keys::{self, Keys};
use super::listen;
use super::model::{Config, Cookies, Line, PolicyTest, Server};
use super::people::{self, Roles};
use super::policy_tests::{self, Known};
use super::problem::Place;
use super::report::{Source, position};
use super::routes::{self, Draft, World};
use super::section::{Context, Section};
use super::tree::Tree;
use super::upstreams::Upstreams;
use super::{conflicts, dangers, origins, server, tls, tokens};

/// The top of one file.
pub(super) fn top<'a>(context: &'a Context<'a>, tree: &'a Tree<'a>, file: usize) -> Section<'a> {
    let keys = if file == 0 { &keys::ROOT } else { &keys::INCLUDED };
    Section::open(context, tree.table.get_ref(), Place { file, start: 0, end: 0 }, keys)
}

/// The main file, all files (it first), and what was read into them.
pub(super) struct Document<'a> {
    pub(super) main: Section<'a>,
    pub(super) tops: Vec<Section<'a>>,
    pub(super) sources: &'a [&'a Source],
}

/// What comes of the rules.
struct Policy {
    drafts: Vec<Draft>,
    upstreams: Upstreams,
    identities: Identities,
    tests: Vec<PolicyTest>,
}

impl<'a> Document<'a> {
    /// Reads it all. With errors told, the result stands for nothing.
    pub(super) fn read(&self, file: &Path) -> Config {
        let open = |key, keys| self.main.section(key, keys);
        let (server_table, token_table) =
            (open("server", &keys::SERVER), open("tokens", &keys::TOKENS));
        let cookie_table = open("cookies", &keys::COOKIES);
        let server = server::read(server_table);
        let data_dir = server.data_dir.as_path();
        let tokens = tokens::read(token_table, data_dir);
        let ttl = token_table.place_of("access_ttl");
        let sessions =
            tokens::read_sessions(open("sessions", &keys::SESSIONS), &tokens, ttl, data_dir);
        let cookies = tokens::read_cookies(cookie_table);
        let passwords = people::read_passwords(open("passwords", &keys::PASSWORDS));
        let cors = Policies::read(&self.tops);
        let (auth, roles) = people::read_auth(open("auth", &keys::AUTH), &cors);
        let users = self.main.sections("bootstrap", &keys::BOOTSTRAP);
        let policy = self.policy(&server, &tokens.audience, (&roles, &cors));

        conflicts::check(self.main.context, &policy.drafts, &auth.path);
        cors.check_sites(&server, &policy.drafts);
        dangers::of_routes(self.main.context, &policy.drafts);
        check_server(server_table, &server, cookie_table, (&cookies, &policy.drafts));
        let store = server::read_store(open("store", &keys::STORE), data_dir);
        server::check_data_dir(&server_table, &server, &store);

        Config {
            file: file.to_owned(),
            log: server::read_log(open("log", &keys::LOG)),
            store,
            server,
            tokens,
            sessions,
            cookies,
            bootstrap: people::read_bootstrap(users, &roles, &passwords),
            passwords,
            rate_limits: people::read_rate_limits(open("rate_limits", &keys::RATE_LIMITS)),
            auth,
            upstreams: policy.upstreams.into_all(),
            cors: cors.into_known(),
            identities: policy.identities.into_known(),
            route_lines: policy.drafts.iter().map(|draft| self.line(draft.place)).collect(),
            routes: policy.drafts.into_iter().map(|draft| draft.route).collect(),
            tests: policy.tests,
        }
    }

    fn policy(
        &self,
        server: &Server,
        audience: &str,
        (roles, cors): (&Roles, &Policies<'_>),
    ) -> Policy {
        let identities = Identities::read(&self.tops);
        let mut upstreams = Upstreams::read(&self.tops, audience, server.workers);
        let tables = self.tables("routes", &keys::ROUTE);
        let mut world =
            World { server, roles, cors, identities: &identities, upstreams: &mut upstreams };
        let drafts = routes::read(&tables, &mut world);
        let whole = drafts.len() == tables.len();
        upstreams.check_loops(self.main.context, server);
        let known = Known { roles, routes: &drafts, upstreams: &upstreams, whole };
        let tests = self.tables("tests", &keys::TEST);
        let tests = policy_tests::read(&tests, &known, |place| self.line(place));
        Policy { drafts, upstreams, identities, tests }
    }

    /// An array of tables, gathered from all files.
    fn tables(&self, key: &'a str, keys: &'static Keys) -> Vec<Section<'a>> {
        self.tops.iter().flat_map(|top| top.sections(key, keys)).collect()
    }

    fn line(&self, place: Place) -> Line {
        let source = self.sources.get(place.file);
        Line {
            file: source.map(|source| source.path.clone()).unwrap_or_default(),
            line: source.map_or(0, |source| position(&source.text, place.start).0),
        }
    }
}

/// What listeners, origins and cookies mean together.
fn check_server(
    section: Section<'_>,
    server: &Server,
    cookie_section: Section<'_>,
    (cookies, drafts): (&Cookies, &[Draft]),
) {
    origins::check(&section, server, (cookies, cookie_section.place_of("insecure")), drafts);
    listen::check_trust(&section, server);
    listen::check_overlaps(&section, server);
    tls::check_names(&section, server, drafts);
    dangers::of_server(&section, server);
    dangers::of_cookies(&cookie_section, cookies);
}
