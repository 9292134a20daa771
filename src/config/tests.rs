//! What concerns the whole: golden pairs, the reference, secrets, every key and every code.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

const TOP: &str = env!("CARGO_MANIFEST_DIR");
/// What the golden files hold where a secret belongs: no report may ever say it.
const HUNTER: &str = "hunter2";

fn environment() -> Environment {
    let variables = [
        ("JWT_SECRET", "R3VhcmQgdGhlIGdhdGUgd2VsbCwgc3RyYW5nZXI"),
        ("EMPTY", ""),
        ("NAME", "bob"),
        ("OUT_OF_SIGHT", "hunter2hunter2"),
    ];
    Environment::fixed(variables.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn read_text(text: &str) -> Result<Loaded, Report> {
    read(text, Path::new("gateway.toml"), &environment())
}

/// A text that is fine.
pub(super) fn fine(text: &str) -> Config {
    read_text(text).map_err(|report| report.render(Style::Plain)).unwrap().config
}

/// The problems of a text, errors and warnings alike.
fn problems(text: &str) -> Report {
    read_text(text).map_or_else(|report| report, |loaded| loaded.warnings)
}

fn goldens(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(Path::new(TOP).join("tests/config").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no golden pairs in {folder}");
    files
}

/// Compares with the file beside it, folders of this machine taken out, or with
/// `PORTCULLIS_BLESS=1` writes that file.
fn compare(path: &Path, got: &str, differences: &mut Vec<String>) {
    let got = got.replace(&format!("{}/", path.parent().unwrap().display()), "");
    if Environment::process().variable("PORTCULLIS_BLESS").is_some() {
        fs::write(path, &got).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != got {
        differences.push(format!("== {}\n-- expected\n{expected}\n-- got\n{got}", path.display()));
    }
}

/// A checkout does not keep them.
fn set_modes() {
    use std::os::unix::fs::PermissionsExt;
    for (file, mode) in [("accepted/tls/key.pem", 0o644), ("refused/tls_files/key.pem", 0o600)] {
        let path = Path::new(TOP).join("tests/config").join(file);
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn golden_pairs_hold() {
    set_modes();
    let mut differences = Vec::new();
    for path in goldens("refused") {
        match load(&path, &environment()) {
            Ok(_) => differences.push(format!("== {} was accepted", path.display())),
            Err(report) => {
                compare(
                    &path.with_extension("txt"),
                    &report.render(Style::Plain),
                    &mut differences,
                );
            }
        }
    }
    for path in goldens("accepted") {
        match load(&path, &environment()) {
            Ok(loaded) => {
                let got =
                    format!("{}\n{}", masked(&loaded.config), loaded.warnings.render(Style::Plain));
                let got = format!("{}\n", got.trim_end());
                compare(&path.with_extension("show"), &got, &mut differences);
            }
            Err(report) => {
                differences.push(format!("== {}\n{}", path.display(), report.render(Style::Plain)));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn every_code_is_explained_and_shown_by_a_golden_pair() {
    let shown: String = goldens("refused")
        .iter()
        .map(|path| path.with_extension("txt"))
        .chain(goldens("accepted").iter().map(|path| path.with_extension("show")))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let mut ids: Vec<&str> = codes::ALL.iter().map(|code| code.id).collect();
    for id in &ids {
        assert!(explain_code(id).is_some_and(|says| says.len() > 80), "{id} is not explained");
        assert!(
            shown.contains(&format!("[{id}]")) || *id == codes::UNREADABLE.id,
            "no pair shows {id}"
        );
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "a code is given twice");
    assert_eq!(explain_code("e011"), explain_code("E011"));
    assert_eq!(explain_code("E999"), None);
}

#[test]
fn no_report_and_no_show_repeats_a_secret() {
    for path in goldens("refused").into_iter().chain(goldens("accepted")) {
        let told = match load(&path, &environment()) {
            Ok(loaded) => {
                format!("{}{:?}", masked(&loaded.config), loaded.config)
                    + &all_styles(&loaded.warnings)
            }
            Err(report) => all_styles(&report),
        };
        assert!(!told.contains(HUNTER), "{}: {told}", path.display());
    }
}

fn all_styles(report: &Report) -> String {
    [Style::Colour, Style::Plain, Style::Json].map(|style| report.render(style)).concat()
}

/// A text in which one key of a table has a value; the rest of it does not matter.
fn with_key(table: &str, key: &str, value: &str) -> String {
    let entry = format!("{key} = {value}");
    match table {
        "the file" => entry,
        "server.max_body" => format!("[server]\nmax_body = {{ {entry} }}"),
        "server.limits" => format!("[server]\nlimits = {{ {entry} }}"),
        "server.timeouts" => format!("[server]\ntimeouts = {{ {entry} }}"),
        "server.tls" => format!("[server]\ntls = {{ {entry} }}"),
        "server.http_redirect" => format!("[server]\nhttp_redirect = {{ {entry} }}"),
        "sessions.retry_window" => format!("[sessions]\nretry_window = {{ {entry} }}"),
        "sessions.master_keys" => format!("[sessions]\nmaster_keys = [{{ {entry} }}]"),
        "passwords.argon2" => format!("[passwords]\nargon2 = {{ {entry} }}"),
        "auth.page" => format!("[auth]\npage = {{ {entry} }}"),
        "a rate" => format!("[rate_limits]\nlogin_per_ip = {{ {entry} }}"),
        "identity.NAME.roles" => format!("[identity.x]\nroles = {{ {entry} }}"),
        "identity.NAME.proof" => format!("[identity.x]\nproof = {{ {entry} }}"),
        "upstreams.NAME.timeouts" => format!("[upstreams.x]\ntimeouts = {{ {entry} }}"),
        "upstreams.NAME.health" => format!("[upstreams.x]\nhealth = {{ {entry} }}"),
        "upstreams.NAME.tls" => format!("[upstreams.x]\ntls = {{ {entry} }}"),
        "upstreams.NAME.eject" => format!("[upstreams.x]\neject = {{ {entry} }}"),
        "routes.timeouts" => format!("[[routes]]\ntimeouts = {{ {entry} }}"),
        "routes.headers" => format!("[[routes]]\nheaders = {{ {entry} }}"),
        "routes.respond" => format!("[[routes]]\nrespond = {{ {entry} }}"),
        "tests.as" => format!("[[tests]]\nas = {{ {entry} }}"),
        "tests.expect" => format!("[[tests]]\nexpect = {{ {entry} }}"),
        header => format!("{header}\n{entry}"),
    }
}

#[test]
fn every_key_is_read_so_that_none_is_ignored() {
    for table in keys::ALL {
        for key in table.built {
            let report = problems(&with_key(table.table, key, "1979-05-27"));
            let told = report.problems().iter().any(|problem| {
                problem.message().starts_with(&format!("`{key}` must be "))
                    && problem.code().starts_with('E')
            });
            assert!(told, "{} {key}: {}", table.table, report.render(Style::Plain));
        }
    }
}

#[test]
fn every_promised_key_is_refused_as_not_supported_yet() {
    for table in keys::ALL {
        for key in table.later {
            let report = problems(&with_key(table.table, key, "1979-05-27"));
            let told = report.problems().iter().any(|problem| {
                problem.code() == codes::NOT_YET.id
                    && problem.message().starts_with(&format!("`{key}` "))
            });
            assert!(told, "{} {key}: {}", table.table, report.render(Style::Plain));
        }
    }
}

#[test]
fn the_reference_names_exactly_the_keys_that_are_read() {
    let reference = fs::read_to_string(Path::new(TOP).join("docs/reference/config.md")).unwrap();
    let mut documented: Vec<(String, String)> = Vec::new();
    let mut table = String::new();
    for line in reference.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            table = heading.trim_matches('`').to_owned();
        } else if let Some((key, rest)) =
            line.strip_prefix("| `").and_then(|row| row.split_once("` |"))
        {
            assert_eq!(rest.matches('|').count(), 3, "type, default, meaning: {line}");
            documented.push((table.clone(), key.to_owned()));
        }
    }
    let mut real: Vec<(String, String)> = keys::ALL
        .iter()
        .flat_map(|table| table.built.iter().map(|key| (table.table.to_owned(), (*key).to_owned())))
        .collect();
    documented.sort();
    real.sort();
    assert_eq!(documented, real);
}

#[test]
fn the_default_file_can_be_used_and_changes_nothing() {
    let path = Path::new(TOP).join("gateway.toml");
    let loaded = load(&path, &environment()).map_err(|report| report.render(Style::Plain)).unwrap();
    assert_eq!(loaded.warnings.render(Style::Plain), "");
    let smallest = "[upstreams.app]\nservers = [\"http://127.0.0.1:3000\"]\n[[routes]]\npath = \"/*\"\nupstream = \"app\"";
    let tests = "\n[[tests]]\nrequest = \"GET /\"\nexpect = 401\n[[tests]]\nrequest = \"GET /\"\nas = { roles = [\"user\"] }\nexpect = { route = \"/*\", upstream = \"app\" }";
    let defaults = read_text(&format!("{smallest}{tests}")).unwrap();
    assert_eq!(masked(&loaded.config), masked(&defaults.config));
}

#[test]
fn the_default_file_shows_every_key() {
    let text = fs::read_to_string(Path::new(TOP).join("gateway.toml")).unwrap();
    for table in keys::ALL.iter().filter(|table| !["the file", "a rate"].contains(&table.table)) {
        for key in table.built {
            let at_a_line =
                |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} "));
            let within = [format!("{{ {key} = "), format!(", {key} = "), format!(" {key} = ")];
            let shown = text.lines().any(|line| {
                line.contains('=')
                    && (at_a_line(line) || within.iter().any(|part| line.contains(part)))
            });
            assert!(shown || *key == "secret_file", "{} {key}", table.table);
        }
    }
}

#[test]
fn what_show_prints_is_a_file_that_means_the_same() {
    const SECRET: &str = "a stand-in of more than thirty-two bytes";
    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";
    for path in goldens("accepted") {
        let shown = masked(&load(&path, &environment()).unwrap().config);
        let mut filled = shown.replace("hash = \"********\"", &format!("hash = \"{HASH}\""));
        // Each another one, for a list takes none twice.
        let all: Vec<String> = (10..)
            .take(filled.matches("********").count())
            .map(|at| format!("{SECRET} {at}"))
            .collect();
        for stand_in in &all {
            filled = filled.replacen("********", stand_in, 1);
        }
        let again = read_text(&filled).map_err(|report| report.render(Style::Plain)).unwrap();
        let again = all.iter().fold(masked(&again.config), |shown, stand_in| {
            shown.replace(stand_in.as_str(), "********")
        });
        assert_eq!(again, shown, "{}", path.display());
    }
}

#[test]
fn the_order_of_the_file_never_matters() {
    let text =
        fs::read_to_string(Path::new(TOP).join("tests/config/accepted/dangers.toml")).unwrap();
    let mut blocks: Vec<String> =
        text.split("\n[").skip(1).map(|block| format!("[{block}\n")).collect();
    let in_order = read_text(&blocks.concat()).unwrap();
    blocks.reverse();
    let reversed = read_text(&blocks.concat()).unwrap();
    let lines = |loaded: &Loaded| {
        let mut lines: Vec<String> = masked(&loaded.config).lines().map(str::to_owned).collect();
        lines.extend(loaded.warnings.problems().iter().map(|problem| problem.message().to_owned()));
        lines.sort();
        lines
    };
    assert_eq!(lines(&in_order), lines(&reversed));
}

#[test]
fn a_file_that_cannot_be_read_is_no_verdict_on_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let latin = folder.path().join("latin.toml");
    fs::write(&latin, b"# caf\xe9\n").unwrap();
    for (path, remedy) in [
        (folder.path().join("none.toml"), "name another file with `-c FILE`"),
        (folder.path().to_owned(), "name the file in it"),
        (latin, "save it as UTF-8"),
    ] {
        let report = load(&path, &environment()).unwrap_err();
        assert!(report.render(Style::Plain).contains(remedy), "{}", report.render(Style::Plain));
        assert!(report.is_unreadable(), "{}", path.display());
        assert!(report.render(Style::Plain).contains("E001"), "{}", report.render(Style::Plain));
    }
    assert!(!read_text("[server]\nx = 1").unwrap_err().is_unreadable());
}

#[test]
fn no_depth_makes_the_reader_fall() {
    for text in [
        format!("x = {}", "[".repeat(50_000)),
        format!("x = {}", "{ a = ".repeat(50_000)),
        "[a.".repeat(50_000),
    ] {
        assert!(problems(&text).count(Severity::Error) > 0);
    }
}

#[test]
fn machines_get_line_and_column() {
    let report = read_text("[server]\n  lisen = \"é\"\n").unwrap_err();
    let json: serde_json::Value = serde_json::from_str(&report.render(Style::Json)).unwrap();
    assert_eq!(json["errors"], 1);
    let problem = &json["problems"][0];
    assert_eq!((&problem["code"], &problem["severity"]), (&"E011".into(), &"error".into()));
    assert_eq!(
        problem["place"],
        serde_json::json!({ "file": "gateway.toml", "line": 2, "column": 3 })
    );
}

/// Every key that names a file, each with a text in which it names `FILE`.
const NAMING_FILES: [(&str, &str); 9] = [
    ("include", "include = \"FILE\""),
    ("include by pattern", "include = \"FILE*\""),
    ("cert", "[server]\ntls = { cert = \"FILE\", key = \"FILE\" }"),
    ("secret_file", "[tokens]\nalgorithm = \"HS256\"\nsecret_file = \"FILE\""),
    ("blocklist_file", "[passwords]\nblocklist_file = \"FILE\""),
    ("password_file", "[[bootstrap]]\nname = \"a\"\npassword_file = \"FILE\""),
    ("logo", "[auth]\npage = { logo = \"FILE\" }"),
    ("ca", "[upstreams.x]\nservers = \"https://a\"\ntls = { ca = \"FILE\" }"),
    ("value_file", "[identity.x]\nproof = { header = \"X-Proof\", value_file = \"FILE\" }"),
];

/// What a text is told that names this file of the folder.
fn told_of(folder: &Path, text: &str, file: &str) -> String {
    let read = read(&text.replace("FILE", file), &folder.join("gateway.toml"), &environment());
    read.map_or_else(|report| report, |loaded| loaded.warnings).render(Style::Plain)
}

#[test]
fn a_pipe_a_folder_or_a_device_in_the_place_of_a_named_file_is_told_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero")).unwrap();
    for (key, text) in NAMING_FILES {
        for file in ["pipe", "folder", "zero"] {
            let told = told_of(folder.path(), text, file);
            assert!(told.contains("error[E003]"), "{key} {file}: {told}");
            assert!(told.contains("not a regular file"), "{key} {file}: {told}");
        }
    }
}

#[test]
fn a_named_file_is_read_up_to_its_bound_and_refused_beyond() {
    let folder = tempfile::tempdir().unwrap();
    fs::File::create(folder.path().join("large")).unwrap().set_len(1 << 30).unwrap();
    for (key, text) in NAMING_FILES {
        let told = told_of(folder.path(), text, "large");
        assert!(told.contains("error[E003]"), "{key}: {told}");
        assert!(told.contains("larger than "), "{key}: {told}");
    }
}

#[test]
fn the_main_file_may_come_through_a_pipe_and_never_without_end() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"[server]\ndata_dir = \"piped\"").unwrap();
    drop(writer);
    let piped = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
    let loaded = load(&piped, &environment()).map_err(|report| report.render(Style::Plain));
    assert_eq!(loaded.unwrap().config.server.data_dir, Path::new("piped"));
    let endless = load(Path::new("/dev/zero"), &environment()).unwrap_err();
    assert!(endless.is_unreadable());
    assert!(endless.render(Style::Plain).contains("larger than "));
}

#[test]
fn a_secret_of_a_file_loses_one_line_end_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for (written, expected) in [
        ("correct horse battery", "correct horse battery"),
        ("correct horse battery\n", "correct horse battery"),
        ("correct horse battery\r\n", "correct horse battery"),
        (" correct horse battery \n", " correct horse battery "),
    ] {
        fs::write(folder.path().join("secret"), written).unwrap();
        let text = "[[bootstrap]]\nname = \"a\"\npassword_file = \"secret\"";
        let loaded = read(text, &folder.path().join("gateway.toml"), &environment()).unwrap();
        let BootstrapPassword::Plain(secret) = &loaded.config.bootstrap[0].password else {
            panic!()
        };
        assert_eq!(secret.expose_str(), Some(expected), "{written:?}");
    }
}

#[test]
fn the_data_folder_is_that_of_systemd_unless_one_is_named() {
    let of = |text: &str, state: &[(&str, &str)]| {
        let environment =
            Environment::fixed(state.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        read(text, Path::new("gateway.toml"), &environment).unwrap().config
    };
    assert_eq!(of("", &[]).server.data_dir, Path::new("./portcullis-data"));
    let state = [("STATE_DIRECTORY", "/var/lib/portcullis:/var/lib/other")];
    assert_eq!(of("", &state).server.data_dir, Path::new("/var/lib/portcullis"));
    assert_eq!(of("", &state).store, StoreUrl::Sqlite("/var/lib/portcullis/portcullis.db".into()));
    assert_eq!(of("[server]\ndata_dir = \"x\"", &state).tokens.key_dir, Path::new("x/keys"));
}

#[test]
fn a_certificate_for_nobody_is_told_where_the_hosts_are_known() {
    let path = Path::new(TOP).join("tests/config/accepted/tls.toml");
    let text = fs::read_to_string(&path).unwrap();
    let any = text.replace("path = \"/*\"", "path = \"/*\"\nhost = \"*\"");
    for (text, told) in [(&text, true), (&any, false)] {
        let warnings = read(text, &path, &environment()).unwrap().warnings.render(Style::Plain);
        assert_eq!(warnings.contains("W016"), told, "{warnings}");
    }
}

#[test]
fn equal_urls_are_one_upstream_and_routes_know_their_lines() {
    let text = "[[routes]]\npath = \"/a\"\nupstream = \"http://APP\"\n\n[[routes]]\npath = \"/b\"\naccess = \"public\"\nupstream = \"http://app:80/\"\n";
    let config = read_text(text).unwrap().config;
    let names: Vec<&str> = config.upstreams.iter().map(|upstream| &*upstream.name).collect();
    assert_eq!(names, ["http://app"]);
    assert_eq!(config.routes[0].target, config.routes[1].target);
    assert_eq!(config.route_lines.iter().map(|line| line.line).collect::<Vec<_>>(), [1, 5]);
    assert_eq!((config.routes[0].max_body, config.routes[1].max_body), (None, Some(64 << 20)));
}

#[test]
fn a_pattern_does_not_include_the_main_file_itself() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("gateway.toml");
    fs::write(&main, "include = [\"*.toml\"]\n[server]\ndata_dir = \"x\"").unwrap();
    fs::write(folder.path().join("one.toml"), "[[routes]]\npath = \"/\"\nupstream = \"http://a\"")
        .unwrap();
    fs::write(folder.path().join(".hidden.toml"), "not TOML").unwrap();
    fs::write(folder.path().join("one.toml.bak"), "not TOML").unwrap();
    let loaded = load(&main, &environment()).map_err(|report| report.render(Style::Plain)).unwrap();
    assert_eq!(loaded.config.routes.len(), 1);
    assert_eq!(loaded.config.route_lines[0].file, folder.path().join("one.toml"));
}

fn sample() -> String {
    fs::read_to_string(Path::new(TOP).join("tests/config/accepted/everything.toml")).unwrap()
        + "\n[[bootstrap]]\nname = \"dora\"\npassword = \"hunter2 hunter2\"\n"
        + "[tokens.more]\nsecret = [\n  \"hunter2 hunter2\",\n]\n[x]\nurl = \"http://a:hunter2@b\"\n"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn no_text_makes_the_reader_fall(text in "(?s).{0,200}") {
        let report = problems(&text);
        prop_assert!(report.render(Style::Plain).len() < 1 << 20);
    }

    #[test]
    fn a_slip_of_the_hand_is_told_and_shows_no_secret(at in 0_usize..6_000, insert in "[\"'=\\[\\]{}#,\n x]?", cut in 0_usize..3) {
        let mut text: Vec<char> = sample().chars().collect();
        let at = at % text.len();
        let end = (at + cut).min(text.len());
        text.splice(at..end, insert.chars());
        let text: String = text.into_iter().collect();
        let report = problems(&text);
        let told = all_styles(&report);
        // A slip into the secret itself, or one that leaves no word of its key, is beyond recognition.
        let as_often = |word: &str| text.matches(word).count() == sample().matches(word).count();
        let key = ["password", "secret", "Token"].into_iter().all(as_often) || matches!(insert.as_str(), "" | "x");
        let intact = as_often(HUNTER) && key;
        prop_assert!(!intact || !told.contains(HUNTER), "{text}\n{told}");
    }
}

#[test]
fn a_prefix_that_both_routes_cut_off_leads_past_neither() {
    let warned = |strict: &str| {
        let open = "[[routes]]\npath = \"/app/*\"\nstrip_prefix = \"/app\"\naccess = \"public\"\nupstream = \"http://127.0.0.1:1\"\n";
        let text = format!(
            "{open}[[routes]]\nupstream = \"http://127.0.0.1:1\"\nroles = [\"admin\"]\n{strict}"
        );
        problems(&text).problems().iter().any(|problem| problem.code() == "W006")
    };
    assert!(!warned("path = \"/app/inner/*\"\nstrip_prefix = \"/app\""));
    assert!(warned("path = \"/app/inner/*\"\nstrip_prefix = \"/app\"\nhost = \"other.example\""));
    assert!(warned("path = \"/other/inner/*\"\nstrip_prefix = \"/other\""));
    assert!(warned("path = \"/inner/*\""));
}
