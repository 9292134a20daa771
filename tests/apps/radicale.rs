//! Radicale, a calendar server of many methods, that takes the user from `X-Remote-User`.

use std::fs;

use tempfile::TempDir;

use crate::gateway::Gateway;
use crate::programs::{Program, free_port, installed};

/// A calendar server on a folder of its own.
struct Radicale {
    _program: Program,
    url: String,
    _folder: TempDir,
}

impl Radicale {
    /// `auth` is what stands in Radicale's section `[auth]`.
    #[track_caller]
    fn start(auth: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (port, path) = (free_port(), folder.path().display());
        let text = format!(
            "[server]\nhosts = 127.0.0.1:{port}\n[auth]\n{}\n[rights]\ntype = owner_only\n\
             [storage]\nfilesystem_folder = {path}/store\n",
            auth.replace("FOLDER", &path.to_string())
        );
        let file = folder.path().join("radicale.ini");
        fs::write(&file, text).expect("the file can be written");
        fs::write(folder.path().join("users"), "carol:carols own\n").expect("a file");
        let mut command = installed("python");
        let command = command.args(["-m", "radicale", "--config"]).arg(&file);
        let program = Program::start("radicale", command);
        program
            .until("that it is ready", |line| line.contains("Radicale server ready").then_some(()));
        Self { _program: program, url: format!("http://127.0.0.1:{port}"), _folder: folder }
    }

    /// It believes whoever stands in `X-Remote-User`.
    #[track_caller]
    fn believing() -> Self {
        Self::start("type = http_x_remote_user")
    }

    /// A gateway that guards it, but for `/open/*`.
    #[track_caller]
    fn guarded(&self, identity: &str) -> Gateway {
        Gateway::start(&format!(
            "[[routes]]\npath = \"/*\"\nidentity = \"{identity}\"\nupstream = \"{0}\"\n\
             [[routes]]\npath = \"/open/*\"\naccess = \"public\"\nstrip_prefix = \"/open\"\n\
             identity = \"{identity}\"\nupstream = \"{0}\"\n",
            self.url
        ))
    }
}

/// Who Radicale says is asking, as `/alice/`; None: nobody that it knows.
#[track_caller]
fn principal(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Option<String> {
    let mut all = vec![("Depth", "0"), ("Content-Type", "application/xml")];
    all.extend(headers);
    let answer = gateway.ask(&format!("PROPFIND {path}"), &all, WHO);
    if answer.status == 207 {
        let text = answer.text();
        let (_, rest) = text.split_once("<current-user-principal>")?;
        let (_, rest) = rest.split_once("<href>")?;
        return Some(rest.split('<').next()?.trim_start_matches("/open").to_owned());
    }
    assert!([401, 403].contains(&answer.status), "{} {}", answer.status, answer.text());
    None
}

#[test]
fn radicale_knows_who_is_signed_in() {
    let radicale = Radicale::believing();
    let gateway = radicale.guarded("radicale");
    let (alice, bob) = (gateway.bearer("alice"), gateway.bearer("bob"));
    let who = |bearer: &str| principal(&gateway, "/", &[("Authorization", bearer)]);
    assert_eq!(who(&alice).as_deref(), Some("/alice/"));
    assert_eq!(who(&bob).as_deref(), Some("/bob/"));
    let nobody = gateway.ask("PROPFIND /", &[("Depth", "0")], WHO).expect(401);
    assert_eq!(nobody.member("code"), "token_missing");
}

#[test]
fn a_calendar_is_made_filled_and_guarded_by_its_entity_tags() {
    let radicale = Radicale::believing();
    let gateway = radicale.guarded("radicale");
    let (alice, bob) = (gateway.bearer("alice"), gateway.bearer("bob"));
    let as_alice = [("Authorization", alice.as_str())];
    gateway.ask("MKCALENDAR /alice/home/", &as_alice, "").expect(201);

    let put = |bearer: &str, (name, value): (&str, &str)| {
        let headers = [("Authorization", bearer), ("Content-Type", "text/calendar"), (name, value)];
        gateway.ask("PUT /alice/home/tea.ics", &headers, EVENT)
    };
    let first = put(&alice, ("If-None-Match", "*")).expect(201);
    let tag = first.header("etag").expect("an entity tag").to_owned();
    assert_eq!(put(&alice, ("If-None-Match", "*")).status, 412, "it is there");
    assert_eq!(put(&alice, ("If-Match", "\"another\"")).status, 412);
    assert_eq!(put(&alice, ("If-Match", &tag)).status, 204);

    let got = gateway.ask("GET /alice/home/tea.ics", &as_alice, "").expect(200);
    assert!(got.text().contains("SUMMARY:Tea"), "{}", got.text());
    let report = [as_alice[0], ("Depth", "1"), ("Content-Type", "application/xml")];
    let found = gateway.ask("REPORT /alice/home/", &report, QUERY).expect(207);
    assert!(found.text().contains("tea.ics"), "{}", found.text());

    let as_bob = [("Authorization", bob.as_str())];
    assert_eq!(gateway.ask("GET /alice/home/tea.ics", &as_bob, "").status, 403);
    assert_eq!(put(&bob, ("If-Match", &tag)).status, 403);
    assert_eq!(gateway.ask("DELETE /alice/home/tea.ics", &as_bob, "").status, 403);
    gateway.ask("DELETE /alice/home/tea.ics", &as_alice, "").expect(200);
}

#[test]
fn no_spelling_of_its_header_makes_radicale_take_a_client_for_somebody_else() {
    let radicale = Radicale::believing();
    let gateway = radicale.guarded("radicale");
    let bob = gateway.bearer("bob");
    for name in
        ["X-Remote-User", "X_Remote_User", "x-remote_user", "X.Remote.User", "X~REMOTE-USER"]
    {
        let forged = (name, "alice");
        let signed_in = [("Authorization", bob.as_str()), forged];
        let who = principal(&gateway, "/", &signed_in);
        assert_eq!(who.as_deref(), Some("/bob/"), "{name}, signed in");
        assert_eq!(principal(&gateway, "/open/", &[forged]), None, "{name}, public");
        let nominated = [signed_in[0], ("Connection", name), forged];
        let who = principal(&gateway, "/", &nominated);
        assert_eq!(who.as_deref(), Some("/bob/"), "{name}, nominated by Connection");
    }
}

#[test]
fn radicales_own_basic_login_is_left_alone() {
    let radicale = Radicale::start(
        "type = htpasswd\nhtpasswd_filename = FOLDER/users\nhtpasswd_encryption = plain\n\
         delay = 0",
    );
    let gateway = radicale.guarded("none");
    let carol = ("Authorization", "Basic Y2Fyb2w6Y2Fyb2xzIG93bg=="); // carol:carols own
    assert_eq!(principal(&gateway, "/open/", &[carol]).as_deref(), Some("/carol/"));

    let wrong = [("Authorization", "Basic Y2Fyb2w6d3Jvbmc="), ("Depth", "0")]; // carol:wrong
    let refused = gateway.ask("PROPFIND /open/carol/", &wrong, WHO).expect(401);
    let challenge = refused.header("www-authenticate").unwrap_or_default();
    assert!(challenge.starts_with("Basic realm=\"Radicale"), "{challenge}");

    // A cookie of ours says who may pass, Basic who Radicale is to think it is.
    let cookies = gateway.login("alice").expect(200).cookie_header();
    let both = [("Cookie", cookies.as_str()), carol];
    assert_eq!(principal(&gateway, "/", &both).as_deref(), Some("/carol/"));
    gateway.ask("PROPFIND /", &[carol], WHO).expect(401);
}

const WHO: &str = r#"<?xml version="1.0"?>
<propfind xmlns="DAV:"><prop><current-user-principal/></prop></propfind>"#;

const QUERY: &str = r#"<?xml version="1.0"?>
<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">
<D:prop><D:getetag/></D:prop>
<C:filter><C:comp-filter name="VCALENDAR"><C:comp-filter name="VEVENT"/></C:comp-filter></C:filter>
</C:calendar-query>"#;

const EVENT: &str = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//tests//EN\r\nBEGIN:VEVENT\r\n\
UID:tea\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T160000Z\r\nSUMMARY:Tea\r\n\
END:VEVENT\r\nEND:VCALENDAR\r\n";
