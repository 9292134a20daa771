//! Matching against a scan over all routes, written from the rules of the configuration.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

#[derive(Clone, Debug)]
struct Written {
    hosts: Vec<&'static str>,
    path: String,
    methods: Vec<&'static str>,
}

/// How specific one part of a pattern is: less is more so.
fn rank(part: &str) -> u8 {
    match part {
        "*" => 2,
        _ if part.starts_with('{') => 1,
        _ => 0,
    }
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').skip(1).collect()
}

fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (parts(pattern), parts(path));
    let (fixed, rest) = match pattern.split_last() {
        Some((&"*", fixed)) => (fixed, true),
        _ => (&pattern[..], false),
    };
    let long_enough = if rest { path.len() >= fixed.len() } else { path.len() == fixed.len() };
    let fits = |(part, segment): (&&str, &&str)| match rank(part) {
        0 => part == segment,
        _ => !segment.is_empty(),
    };
    long_enough && fixed.iter().zip(&path).all(fits)
}

fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => false,
        Some(suffix) => {
            host.strip_suffix(suffix).is_some_and(|l| !l.is_empty() && !l.contains('.'))
        }
        None => pattern == host,
    }
}

/// The index of the route, or the status.
fn scan(routes: &[Written], method: &str, host: &str, path: &str) -> Result<usize, u16> {
    let all = || routes.iter().enumerate();
    let patterns: Vec<_> = routes.iter().flat_map(|route| &route.hosts).copied().collect();
    let exact = patterns.iter().find(|p| !p.starts_with('*') && host_matches(p, host));
    let own = exact.or_else(|| patterns.iter().find(|pattern| host_matches(pattern, host)));
    let of_host: Vec<_> =
        all().filter(|(_, r)| own.is_some_and(|own| r.hosts.contains(own))).collect();
    let of_all: Vec<_> =
        all().filter(|(_, r)| r.hosts.is_empty() || r.hosts.contains(&"*")).collect();
    let tagged = of_host.iter().map(|r| (0, r)).chain(of_all.iter().map(|r| (1, r)));
    // A literal, a named segment, the end of `/*`; where a pattern ends it beats one that goes on.
    let order = |path: &str| parts(path).into_iter().map(rank).collect::<Vec<_>>();
    let best = tagged
        .filter(|(_, (_, r))| matches(&r.path, path))
        .min_by_key(|(tag, (_, r))| (order(&r.path), *tag));
    let Some((tag, (_, best))) = best else {
        return Err(404);
    };
    let group = if tag == 0 { &of_host } else { &of_all };
    let group: Vec<_> = group.iter().filter(|(_, r)| shape(&r.path) == shape(&best.path)).collect();
    let naming = |method: &str| group.iter().find(|(_, r)| r.methods.contains(&method));
    let standard = ["GET", "HEAD", "POST", "PUT", "OPTIONS"].contains(&method);
    naming(method)
        .or_else(|| if method == "HEAD" { naming("GET") } else { None })
        .or_else(|| group.iter().find(|(_, r)| r.methods.is_empty() && standard))
        .map(|(index, _)| *index)
        .ok_or(405)
}

fn shape(path: &str) -> Vec<&str> {
    parts(path).into_iter().map(|part| if part.starts_with('{') { "{}" } else { part }).collect()
}

fn compiled(routes: &[Written]) -> (Vec<Written>, Table) {
    let mut routes = routes.to_vec();
    loop {
        let real: Vec<_> = routes
            .iter()
            .enumerate()
            .map(|(index, written)| {
                let mut route = route(&written.path, signed_in());
                route.name = index.to_string().into();
                route.hosts = hosts(&written.hosts);
                route.methods =
                    if written.methods.is_empty() { None } else { methods(&written.methods) };
                route
            })
            .collect();
        let Err(conflicts) = Table::compile(&real, "/auth") else {
            return (routes, table(&real));
        };
        match conflicts[0] {
            Conflict::Tie { second: gone, .. } | Conflict::Lenient { route: gone, .. } => {
                routes.remove(gone)
            }
            Conflict::MixedHosts { .. } | Conflict::OnAuthPath { .. } | Conflict::BadAuthPath => {
                panic!("{conflicts:?}")
            }
        };
    }
}

fn written(hosted: bool) -> impl Strategy<Value = Written> {
    let names = vec!["a.example.com", "*.wild.example.com", "e.wild.example.com", "*"];
    let hosts = if hosted { subsequence(names, 1..3).boxed() } else { Just(vec![]).boxed() };
    let part = select(vec!["a", "b", "c", "{}"]);
    let end = select(vec!["", "/*", "/", "/a"]);
    let methods = subsequence(vec!["GET", "HEAD", "POST", "PURGE"], 0..3);
    (hosts, prop::collection::vec(part, 0..3), end, methods).prop_map(
        |(hosts, parts, end, methods)| {
            let named = |(at, part): (usize, &&str)| {
                if *part == "{}" { format!("/{{p{at}}}") } else { format!("/{part}") }
            };
            let path: String =
                parts.iter().enumerate().map(named).chain([end.to_owned()]).collect();
            Written { hosts, path: if path.is_empty() { "/".into() } else { path }, methods }
        },
    )
}

fn asked() -> impl Strategy<Value = (&'static str, &'static str, String)> {
    let hosts =
        vec![HOST, "a.example.com", "b.example.com", "e.wild.example.com", "x.wild.example.com"];
    let method = select(vec!["GET", "HEAD", "POST", "PUT", "PURGE", "OPTIONS"]);
    let path = prop::collection::vec(select(vec!["a", "b", "c", "d", ""]), 1..5);
    (method, select(hosts), path.prop_map(|parts| format!("/{}", parts.join("/"))))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn the_table_finds_what_a_scan_finds(
        routes in any::<bool>().prop_flat_map(|hosted| prop::collection::vec(written(hosted), 0..12)),
        asked in prop::collection::vec(asked(), 16),
    ) {
        let (routes, table) = compiled(&routes);
        for (method, host, path) in asked {
            let expected = scan(&routes, method, host, &path).map(|index| index.to_string());
            let got = found(&table, request(method, host, &path, &[]).unwrap());
            prop_assert_eq!(got, expected, "{} {}{} of {:?}", method, host, path, routes);
        }
    }
}
