//! What a running gateway cannot take over from another configuration.

use super::model::Config;

/// A key whose new value needs a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frozen {
    /// The key, with its table: `server.listen`.
    pub key: &'static str,
    /// Why it cannot follow.
    pub why: &'static str,
}

/// The keys in which two configurations differ and that only a restart can change.
pub fn frozen(before: &Config, after: &Config) -> Vec<Frozen> {
    let differ = ALL.iter().filter(|(_, differs)| differs(before, after));
    let tls = (before.server.tls.is_empty() != after.server.tls.is_empty()).then_some(TLS);
    differ.map(|(frozen, _)| *frozen).chain(tls).collect()
}

/// Certificates follow; whether there are any does not.
const TLS: Frozen =
    Frozen { key: "server.tls", why: "clients that are there speak with TLS or without it" };

type Differs = fn(&Config, &Config) -> bool;

pub(super) const ALL: [(Frozen, Differs); 9] = [
    (Frozen { key: "server.listen", why: "the sockets are open" }, |before, after| {
        before.server.listen != after.server.listen
    }),
    (Frozen { key: "server.http_redirect", why: "the socket is open" }, |before, after| {
        before.server.http_redirect != after.server.http_redirect
    }),
    (
        Frozen { key: "server.data_dir", why: "the store and the keys in it are in use" },
        |before, after| before.server.data_dir != after.server.data_dir,
    ),
    (Frozen { key: "server.admin", why: "the socket is open" }, |before, after| {
        before.server.admin != after.server.admin
    }),
    (Frozen { key: "server.workers", why: "the threads run" }, |before, after| {
        before.server.workers != after.server.workers
    }),
    (Frozen { key: "store.url", why: "the store is open" }, |before, after| {
        before.store != after.store
    }),
    (
        Frozen { key: "tokens.algorithm", why: "tokens are signed by the keys of the other" },
        |before, after| before.tokens.algorithm != after.tokens.algorithm,
    ),
    (Frozen { key: "tokens.key_dir", why: "the keys in it are in use" }, |before, after| {
        before.tokens.key_dir != after.tokens.key_dir
    }),
    (Frozen { key: "sessions.master_keys", why: "the store is bound to them" }, |before, after| {
        before.sessions.master_keys != after.sessions.master_keys
    }),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::keys;
    use crate::config::tests::fine;

    /// The keys of a cell.
    fn cell(text: &str) -> BTreeSet<String> {
        let keys = text.split(',').map(|key| key.trim().trim_matches(['`', '–']));
        keys.filter(|key| !key.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn the_reference_says_of_every_key_what_a_reload_does_with_it() {
        let page = include_str!("../../docs/reference/reload.md");
        for table in keys::ALL {
            let head = format!("| `{}` | ", table.table);
            let row = page.lines().find_map(|line| line.strip_prefix(&head));
            let row = row.unwrap_or_else(|| panic!("no row for {}", table.table));
            let (live, restart) = row.trim_end_matches('|').split_once('|').unwrap();
            let (live, restart) = (cell(live), cell(restart));
            let built: BTreeSet<String> = table.built.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(&live | &restart, built, "{}: every key", table.table);
            assert!(live.is_disjoint(&restart), "{}: each key once", table.table);
            let name = table.table.trim_matches(['[', ']']);
            let is_frozen = |key: &&String| {
                let whole = format!("{name}.{key}");
                ALL.iter().any(|(frozen, _)| frozen.key == whole || frozen.key == name)
            };
            let expected: BTreeSet<String> = built.iter().filter(is_frozen).cloned().collect();
            assert_eq!(restart, expected, "{}", table.table);
        }
    }

    #[test]
    fn a_change_of_each_frozen_key_is_noticed_and_nothing_else() {
        let before = fine("");
        for (text, key) in [
            ("[server]\nlisten = \"127.0.0.1:1\"", "server.listen"),
            (
                "[server]\nlisten = [\"127.0.0.1:8080\", \"systemd\"]\npublic_url = \"http://localhost:8080\"",
                "server.listen",
            ),
            (
                "[server]\nlisten = [\"127.0.0.1:8080\", \"unix:/run/gate.sock\"]\ntrusted_proxies = \"unix\"\npublic_url = \"http://localhost:8080\"",
                "server.listen",
            ),
            (
                "[server]\npublic_url = \"https://a.example\"\nhttp_redirect = { listen = \"127.0.0.1:80\" }",
                "server.http_redirect",
            ),
            ("[server]\nadmin = \"off\"", "server.admin"),
            ("[server]\nworkers = 9", "server.workers"),
            ("[store]\nurl = \"sqlite:other\"", "store.url"),
            ("[tokens]\nalgorithm = \"ES256\"", "tokens.algorithm"),
            ("[tokens]\nkey_dir = \"other\"", "tokens.key_dir"),
            ("[sessions]\nmaster_keys = [{ id = 2, file = \"x\" }]", "sessions.master_keys"),
        ] {
            let found: Vec<_> = frozen(&before, &fine(text)).iter().map(|f| f.key).collect();
            assert_eq!(found, [key], "{text}");
        }
        let moved = frozen(&before, &fine("[server]\ndata_dir = \"x\""));
        assert!(moved.iter().any(|frozen| frozen.key == "server.data_dir"), "{moved:?}");
        let others = "[server]\nmax_connections = 9\ntrusted_proxies = \"10.0.0.0/8\"\nclient_ip = \"x-real-ip\"\n[cookies]\nsame_site = \"strict\"";
        assert_eq!(frozen(&before, &fine(others)), []);
    }
}
