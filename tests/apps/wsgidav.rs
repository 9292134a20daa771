//! WsgiDAV, a share of files by WebDAV: two paths in a request, locks, ranges.

use std::fs;

use tempfile::TempDir;

use crate::client::Answer;
use crate::gateway::Gateway;
use crate::programs::{Program, free_port, installed};

/// A share that everybody may write who gets there.
struct Share {
    _program: Program,
    url: String,
    folder: TempDir,
}

impl Share {
    #[track_caller]
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        fs::create_dir(folder.path().join("files")).expect("a folder");
        let port = free_port();
        let text = format!(
            "host: 127.0.0.1\nport: {port}\nserver: cheroot\nprovider_mapping:\n  '/': '{}'\n\
             simple_dc:\n  user_mapping:\n    '*': true\nlock_storage: true\nproperty_manager: true\nverbose: 3\n",
            folder.path().join("files").display()
        );
        let file = folder.path().join("wsgidav.yaml");
        fs::write(&file, text).expect("the file can be written");
        let mut command = installed("wsgidav");
        let program = Program::start("wsgidav", command.arg("--config").arg(&file));
        program.listens(port);
        Self { _program: program, url: format!("http://127.0.0.1:{port}"), folder }
    }

    fn routes(&self) -> String {
        format!("[[routes]]\npath = \"/*\"\nupstream = \"{}\"\n", self.url)
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join("files").join(name)).ok()
    }
}

/// Alice at her share.
struct Desk<'a> {
    gateway: &'a Gateway,
    bearer: String,
}

impl<'a> Desk<'a> {
    #[track_caller]
    fn new(gateway: &'a Gateway) -> Self {
        Self { gateway, bearer: gateway.bearer("alice") }
    }

    #[track_caller]
    fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("Authorization", self.bearer.as_str())];
        all.extend(headers);
        self.gateway.ask(line, &all, body)
    }
}

#[test]
fn a_file_moves_to_where_the_public_address_says() {
    let share = Share::start();
    let plain = Gateway::start(&share.routes());
    let behind_tls = Gateway::start_as("https://files.example.com", &share.routes());
    for (gateway, scheme) in [(&plain, "http"), (&behind_tls, "https")] {
        let desk = Desk::new(gateway);
        desk.ask("PUT /tea.txt", &[], "tea").expect(201);
        let to = gateway.url(scheme, "/green%20tea.txt");
        desk.ask("COPY /tea.txt", &[("Destination", &to)], "").expect(201);
        let to = gateway.url(scheme, "/black.txt");
        desk.ask("MOVE /tea.txt", &[("Destination", &to)], "").expect(201);
        assert_eq!(share.read("tea.txt"), None);
        assert_eq!(share.read("black.txt").as_deref(), Some("tea"));
        assert_eq!(share.read("green tea.txt").as_deref(), Some("tea"));

        let kept = [("Destination", to.as_str()), ("Overwrite", "F")];
        desk.ask("COPY /green%20tea.txt", &kept, "").expect(412);
        let elsewhere = ("Destination", "https://elsewhere.example/black.txt");
        desk.ask("MOVE /black.txt", &[elsewhere], "").expect(502);
        desk.ask("DELETE /black.txt", &[], "").expect(204);
        desk.ask("DELETE /green%20tea.txt", &[], "").expect(204);
    }
}

#[test]
fn a_file_moves_within_a_prefix_that_the_share_knows_nothing_of() {
    let share = Share::start();
    let gateway = Gateway::start(&format!(
        "[[routes]]\npath = \"/dav/*\"\nstrip_prefix = \"/dav\"\nupstream = \"{0}\"\n\
         [[routes]]\npath = \"/other/*\"\nupstream = \"{0}\"\n",
        share.url
    ));
    let desk = Desk::new(&gateway);
    desk.ask("PUT /dav/tea.txt", &[], "tea").expect(201);
    let to = gateway.url("http", "/dav/green%20tea.txt");
    desk.ask("COPY /dav/tea.txt", &[("Destination", &to)], "").expect(201);
    desk.ask("MOVE /dav/tea.txt", &[("Destination", "/dav/black.txt")], "").expect(201);
    assert_eq!(share.read("tea.txt"), None);
    assert_eq!(share.read("black.txt").as_deref(), Some("tea"));
    assert_eq!(share.read("green tea.txt").as_deref(), Some("tea"));
    // Outside of the prefix there is nothing that the share could mean.
    for outside in ["/black.txt", "/other/black.txt", "/davos/black.txt"] {
        let refused = desk.ask("MOVE /dav/black.txt", &[("Destination", outside)], "");
        assert!((400..500).contains(&refused.status), "{outside}: {}", refused.status);
    }
    assert_eq!(share.read("black.txt").as_deref(), Some("tea"));
}

#[test]
fn a_lock_keeps_others_out_until_it_is_given_back() {
    let share = Share::start();
    let gateway = Gateway::start(&share.routes());
    let desk = Desk::new(&gateway);
    desk.ask("PUT /tea.txt", &[], "tea").expect(201);

    let locked = desk.ask("LOCK /tea.txt", &[XML, ("Timeout", "Second-600")], LOCK).expect(200);
    let token = locked.header("lock-token").expect("a token").to_owned();
    assert!(locked.text().contains("lockdiscovery"), "{}", locked.text());
    desk.ask("PUT /tea.txt", &[], "cold").expect(423);
    let held = format!("({token})");
    desk.ask("PUT /tea.txt", &[("If", &held)], "hot").expect(204);
    assert_eq!(share.read("tea.txt").as_deref(), Some("hot"));

    desk.ask("UNLOCK /tea.txt", &[("Lock-Token", &token)], "").expect(204);
    desk.ask("PUT /tea.txt", &[], "cool").expect(204);
}

#[test]
fn a_folder_is_made_listed_and_described() {
    let share = Share::start();
    let gateway = Gateway::start(&share.routes());
    let desk = Desk::new(&gateway);
    desk.ask("MKCOL /leaves", &[], "").expect(201);
    desk.ask("MKCOL /leaves", &[], "").expect(405);
    desk.ask("PUT /leaves/oolong.txt", &[], "oolong").expect(201);

    let described = desk.ask("PROPPATCH /leaves/oolong.txt", &[XML], DESCRIBE).expect(207);
    assert!(described.text().contains("200 OK"), "{}", described.text());
    let listed = desk.ask("PROPFIND /leaves/", &[XML, ("Depth", "1")], "").expect(207);
    for part in ["/leaves/oolong.txt", "Formosa", "getcontentlength>6<"] {
        assert!(listed.text().contains(part), "no {part} in {}", listed.text());
    }
    let options = desk.ask("OPTIONS /leaves/", &[], "").expect(200);
    let classes = options.header("dav").unwrap_or_default();
    assert!(classes.contains('1') && classes.contains('2'), "{classes}");
}

#[test]
fn a_part_of_a_file_is_had_and_only_of_the_file_that_was_meant() {
    let share = Share::start();
    let gateway = Gateway::start(&share.routes());
    let desk = Desk::new(&gateway);
    desk.ask("PUT /alphabet", &[], "abcdefghijklmnopqrstuvwxyz").expect(201);

    let part = desk.ask("GET /alphabet", &[("Range", "bytes=10-19")], "").expect(206);
    assert_eq!(part.text(), "klmnopqrst");
    assert_eq!(part.header("content-range"), Some("bytes 10-19/26"));
    let tag = part.header("etag").expect("a tag").to_owned();
    let last = [("Range", "bytes=-3"), ("If-Range", tag.as_str())];
    assert_eq!(desk.ask("GET /alphabet", &last, "").expect(206).text(), "xyz");
    let other = [("Range", "bytes=-3"), ("If-Range", "\"another\"")];
    assert_eq!(desk.ask("GET /alphabet", &other, "").expect(200).body.len(), 26);
    desk.ask("GET /alphabet", &[("Range", "bytes=99-")], "").expect(416);
    desk.ask("GET /alphabet", &[("If-None-Match", &tag)], "").expect(304);

    let head = desk.ask("HEAD /alphabet", &[], "").expect(200);
    assert_eq!(head.header("content-length"), Some("26"));
}

const XML: (&str, &str) = ("Content-Type", "application/xml");

const LOCK: &str = r#"<?xml version="1.0"?>
<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>
<D:locktype><D:write/></D:locktype><D:owner>alice</D:owner></D:lockinfo>"#;

const DESCRIBE: &str = r#"<?xml version="1.0"?>
<D:propertyupdate xmlns:D="DAV:" xmlns:T="urn:tea"><D:set><D:prop>
<T:origin>Formosa</T:origin></D:prop></D:set></D:propertyupdate>"#;
