//! The description of the endpoints, held to the endpoints and to their answers.
//!
//! A new endpoint needs three things: its operation in `openapi.json`, and a line or two in
//! [`ask_everything`] that make it answer with each of its own statuses. Statuses that every
//! endpoint shares (408, 413, 415, 429, 500, 503) need no line.

use std::collections::BTreeSet;

use portcullis::policy::Endpoint;
use serde_json::{Value, json};

use crate::passwords::invite;
use crate::support::{Answer, Gateway, Tokens};

/// The description, as the gateway gives it.
struct Description(Value);

impl Description {
    fn of(gateway: &Gateway) -> Self {
        Self(gateway.get("/auth/openapi.json", &[]).expect(200).json())
    }

    /// Method and path of every operation.
    fn operations(&self) -> BTreeSet<String> {
        let paths = self.0["paths"].as_object().unwrap();
        let all = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        });
        all.collect()
    }

    fn operation(&self, name: &str) -> &Value {
        let (method, path) = name.split_once(' ').unwrap();
        &self.0["paths"][path][method.to_lowercase()]
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(to) => self.0.pointer(&to[1..]).unwrap_or_else(|| panic!("nothing is at {to}")),
            None => value,
        }
    }

    /// What is wrong with an answer.
    fn objections(&self, operation: &str, answer: &Answer) -> Vec<String> {
        let declared = &self.operation(operation)["responses"][answer.status.to_string()];
        if declared.is_null() {
            return vec![format!("{operation}: {} is not described", answer.status)];
        }
        let declared = self.resolve(declared);
        let mut found = self.missing_headers(declared, answer);
        match (declared["content"].as_object(), answer.header("content-type")) {
            (None, None) if answer.body.is_empty() => {}
            (Some(content), Some(kind)) if content.contains_key(kind) => {
                let body = answer.json_or_text();
                self.check(&content[kind]["schema"], ("$", &body), &mut found);
            }
            (content, kind) => found.push(format!("content is {kind:?}, not {content:?}")),
        }
        let name = format!("{operation} {}", answer.status);
        found.into_iter().map(|what| format!("{name}: {what}")).collect()
    }

    fn missing_headers(&self, declared: &Value, answer: &Answer) -> Vec<String> {
        let headers = declared["headers"].as_object().into_iter().flatten();
        let needed = headers.filter(|(_, header)| header["required"] == true);
        let missing = needed.filter(|(name, _)| answer.header(name).is_none());
        missing.map(|(name, _)| format!("without {name}")).collect()
    }

    /// As much of JSON Schema as the description uses; but what is not described is wrong.
    fn check(&self, schema: &Value, (at, value): (&str, &Value), found: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = |choice: &&Value| {
                let mut objections = Vec::new();
                self.check(choice, (at, value), &mut objections);
                objections.is_empty()
            };
            if choices.iter().filter(fits).count() != 1 {
                found.push(format!("{at}: {value} is none, or several, of {choices:?}"));
            }
            return;
        }
        if let Some(constant) = schema.get("const")
            && constant != value
        {
            found.push(format!("{at}: {value} is not {constant}"));
        }
        if !has_type(&schema["type"], value) {
            found.push(format!("{at}: {value} is no {}", schema["type"]));
        }
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.check(&schema["items"], (&format!("{at}[{index}]"), item), found);
        }
        if let (Some(members), Some(properties)) =
            (value.as_object(), schema["properties"].as_object())
        {
            for name in schema["required"].as_array().into_iter().flatten() {
                if !members.contains_key(name.as_str().unwrap()) {
                    found.push(format!("{at}: {name} is missing"));
                }
            }
            for (name, member) in members {
                match properties.get(name) {
                    Some(property) => {
                        self.check(property, (&format!("{at}.{name}"), member), found)
                    }
                    None => found.push(format!("{at}.{name} is not described")),
                }
            }
        }
    }
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("a type that nobody checks: {other}"),
    };
    match wanted {
        Value::Null => true,
        Value::Array(any) => any.iter().any(is),
        one => is(one),
    }
}

impl Answer {
    fn json_or_text(&self) -> Value {
        let is_json = self.header("content-type").is_some_and(|kind| kind.contains("json"));
        if is_json { self.json() } else { json!(self.text()) }
    }
}

#[test]
fn the_description_names_every_endpoint_and_no_other() {
    let described = Description::of(&Gateway::start("")).operations();
    let live: BTreeSet<_> = Endpoint::ALL
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.method(), endpoint.path()))
        .collect();
    assert_eq!(described, live);
}

#[test]
fn the_description_is_of_the_path_that_is_configured() {
    let gateway = Gateway::start("[auth]\nroles = [\"admin\", \"user\"]\npath = \"/gate\"\n");
    let answer = gateway.get("/gate/openapi.json", &[]).expect(200);
    assert_eq!(answer.json()["servers"][0]["url"], "/gate");
    assert_eq!(Description::of(&Gateway::start("")).0["servers"][0]["url"], "/auth");
}

#[test]
fn every_reference_and_parameter_and_scheme_of_the_description_is_there() {
    let description = Description::of(&Gateway::start(""));
    fn references(value: &Value, found: &mut Vec<Value>) {
        if value["$ref"].is_string() {
            found.push(value.clone());
        }
        match value {
            Value::Object(members) => members.values().for_each(|v| references(v, found)),
            Value::Array(items) => items.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&description.0, &mut found);
    assert!(found.len() > 50, "{}", found.len());
    for reference in &found {
        description.resolve(reference);
    }

    let mut ids = BTreeSet::new();
    for name in description.operations() {
        let operation = description.operation(&name);
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{name}");
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let declared: BTreeSet<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
            .map(|parameter| format!("{{{}}}", parameter["name"].as_str().unwrap()))
            .collect();
        let in_path: BTreeSet<_> =
            name.split('/').filter(|s| s.starts_with('{')).map(str::to_owned).collect();
        assert_eq!(declared, in_path, "{name}");
        for scheme in operation["security"].as_array().unwrap() {
            for scheme in scheme.as_object().unwrap().keys() {
                assert!(description.0["components"]["securitySchemes"][scheme].is_object());
            }
        }
    }
}

#[test]
fn answers_are_as_the_description_says() {
    let gateway = Gateway::start("");
    let description = Description::of(&gateway);
    let mut seen = BTreeSet::new();
    let mut objections = Vec::new();
    ask_everything(&gateway, &mut |operation: &str, answer: Answer| {
        objections.extend(description.objections(operation, &answer));
        seen.insert(format!("{operation} {}", answer.status));
    });
    assert!(objections.is_empty(), "{objections:#?}");

    let shared = ["408", "413", "415", "429", "500", "503"];
    let unseen: Vec<_> = description
        .operations()
        .iter()
        .flat_map(|name| {
            let responses = description.operation(name)["responses"].as_object().unwrap();
            responses.keys().map(move |status| (status.clone(), format!("{name} {status}")))
        })
        .filter(|(status, name)| !shared.contains(&status.as_str()) && !seen.contains(name))
        .map(|(_, name)| name)
        .collect();
    assert_eq!(unseen, [] as [String; 0], "described, and asked for by no line of this test");
}

#[test]
fn shared_refusals_are_as_the_description_says() {
    let gateway = Gateway::start(
        "[rate_limits]\nauth_per_ip = { burst = 70, every = \"1h\" }\nlogin_per_ip = { burst = 1, every = \"1h\" }\n",
    );
    let description = Description::of(&gateway);
    let mut objections = Vec::new();
    let mut check = |operation: &str, answer: Answer, status: u16| {
        objections.extend(description.objections(operation, &answer.expect(status)));
    };
    let long = format!(r#"{{"x":"{}"}}"#, "x".repeat(9_000));
    let mut bodies = 0;
    for operation in description.operations() {
        if description.operation(&operation)["requestBody"].is_null() {
            continue;
        }
        bodies += 1;
        // A logout ends it.
        let tokens = gateway.login("admin");
        let bearer = format!("Bearer {}", tokens.access);
        let session = format!("/sessions/{}", tokens.session);
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace("{name}", "alice").replace("/sessions/{id}", &session);
        let line = format!("{method} /auth{path}");
        let of_another_type = if operation == "POST /logout" { 200 } else { 415 };
        for (kind, body, status) in
            [("application/json", long.as_str(), 413), ("text/plain", "x", of_another_type)]
        {
            let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
            check(&operation, gateway.ask(&line, &headers, body), status);
        }
    }
    assert!(bodies >= 7, "{bodies}");
    let wrong = r#"{"username":"alice","password":"x"}"#;
    gateway.post_json("/auth/login", &[], wrong).expect(401);
    check("POST /login", gateway.post_json("/auth/login", &[], wrong), 429);
    while gateway.get("/auth/jwks.json", &[]).status == 200 {}
    for operation in description.operations().iter().filter(|name| *name != "GET /ping") {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace("{name}", "alice").replace("{id}", "x");
        check(operation, gateway.ask(&format!("{method} /auth{path}"), &[], ""), 429);
    }
    assert!(objections.is_empty(), "{objections:#?}");
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let description = Description::of(&Gateway::start(""));
    let answer = |status, kind: &str, body: &str| Answer {
        status,
        headers: vec![("content-type".to_owned(), kind.to_owned())],
        body: body.as_bytes().to_vec(),
    };
    let json = "application/json";
    for (operation, wrong) in [
        ("POST /logout", answer(200, json, r#"{"ok":true,"more":1}"#)),
        ("POST /logout", answer(200, json, r#"{"ok":false}"#)),
        ("POST /logout", answer(200, json, "{}")),
        ("POST /logout", answer(200, json, "[]")),
        ("POST /logout", answer(200, "text/html", r#"{"ok":true}"#)),
        ("POST /logout", answer(302, json, r#"{"ok":true}"#)),
        ("GET /sessions", answer(200, json, r#"{"sessions":[{"id":"x"}]}"#)),
        ("GET /me", answer(200, json, r#"{"sub":7}"#)),
        ("POST /login", answer(200, json, r#"{"ok":true,"access_token":"x"}"#)),
        ("POST /login", answer(503, "application/problem+json", "{}")),
        ("DELETE /sessions/{id}", answer(204, json, "{}")),
    ] {
        let found = description.objections(operation, &wrong);
        assert!(!found.is_empty(), "{operation}: {wrong:?}");
    }
}

/// Makes every endpoint answer with each status that is its own.
fn ask_everything(gateway: &Gateway, told: &mut impl FnMut(&str, Answer)) {
    for (path, name) in [("/jwks.json", "GET /jwks.json"), ("/ping", "GET /ping")] {
        told(name, gateway.get(&format!("/auth{path}"), &[]));
    }
    told("GET /openapi.json", gateway.get("/auth/openapi.json", &[]));
    ask_sessions(gateway, told);
    ask_pages(gateway, told);
    ask_passwords(gateway, told);
    ask_administration(gateway, told);
}

const FOREIGN: (&str, &str) = ("Origin", "https://evil.example");
const JSON: (&str, &str) = ("Content-Type", "application/json");
/// With these, a browser's.
const HTML: (&str, &str) = ("Accept", "text/html");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn ask_sessions(gateway: &Gateway, told: &mut impl FnMut(&str, Answer)) {
    let login = |how: &str| gateway.login_with("alice", how);
    for how in [r#","transport":"body""#, r#","transport":"cookie""#, "", r#","transport":"x""#] {
        told("POST /login", login(how));
    }
    let wrong = r#"{"username":"alice","password":"wrong"}"#;
    told("POST /login", gateway.post_json("/auth/login", &[], wrong));
    told("POST /login", gateway.post_json("/auth/login", &[FOREIGN], wrong));

    let tokens = gateway.login("alice");
    let browser = gateway.login_by_cookie("alice");
    let cookies = browser.cookie_header();
    let cookie = ("Cookie", cookies.as_str());
    told("POST /refresh", gateway.refresh_by_cookie(&cookies));
    let newer = gateway.refresh(&tokens.refresh);
    let tokens = Tokens::of(&newer);
    told("POST /refresh", newer);
    told("POST /refresh", gateway.refresh("x"));
    told("POST /refresh", gateway.post_json("/auth/refresh", &[], "["));
    told("POST /refresh", gateway.ask("POST /auth/refresh", &[cookie, FOREIGN], ""));

    let bearer = format!("Bearer {}", tokens.access);
    let known = ("Authorization", bearer.as_str());
    for path in ["/me", "/sessions"] {
        told(&format!("GET {path}"), gateway.get(&format!("/auth{path}"), &[known]));
        told(&format!("GET {path}"), gateway.get(&format!("/auth{path}"), &[]));
    }
    let own = format!("/auth/sessions/{}", tokens.session);
    for (method, name) in [("PATCH", "PATCH /sessions/{id}"), ("DELETE", "DELETE /sessions/{id}")] {
        let body = r#"{"device_name":"kitchen"}"#;
        let unknown = format!("{method} /auth/sessions/x");
        told(name, gateway.ask(&unknown, &[known, JSON], body));
        told(name, gateway.ask(&unknown, &[JSON], body));
        told(name, gateway.ask(&unknown, &[cookie, FOREIGN, JSON], body));
        if method == "PATCH" {
            told(name, gateway.ask(&format!("PATCH {own}"), &[known, JSON], "{}"));
        }
        told(name, gateway.ask(&format!("{method} {own}"), &[known, JSON], body));
    }
    told("POST /logout", gateway.ask("POST /auth/logout", &[cookie, FOREIGN], ""));
    let another = format!(r#"{{"refresh_token":"{}"}}"#, tokens.refresh);
    told("POST /logout", gateway.post_json("/auth/logout", &[cookie], &another));
    told("POST /logout", gateway.ask("POST /auth/logout", &[cookie], ""));

    let tokens = gateway.login("alice");
    let bearer = format!("Bearer {}", tokens.access);
    let all =
        |headers: &[(&str, &str)], body: &str| gateway.post_json("/auth/logout-all", headers, body);
    told("POST /logout-all", all(&[], ""));
    told("POST /logout-all", all(&[FOREIGN], ""));
    told("POST /logout-all", all(&[("Authorization", &bearer)], "["));
    told("POST /logout-all", all(&[("Authorization", &bearer)], ""));
}

/// What browsers open, and what their forms do.
fn ask_pages(gateway: &Gateway, told: &mut impl FnMut(&str, Answer)) {
    let login = "username=alice&password=a+long+passphrase";
    let sign_in = || gateway.ask("POST /auth/login", &[HTML, FORM], login);
    told("POST /login", sign_in());
    told("POST /login", gateway.ask("POST /auth/login", &[HTML, FORM], "username=alice&password="));
    told("POST /login", gateway.ask("POST /auth/login", &[HTML, FORM], "x"));
    let cookies = sign_in().cookie_header();
    let cookie = ("Cookie", cookies.as_str());
    for path in ["/login", "/done", "/logout", "/account"] {
        for headers in [&[HTML][..], &[HTML, cookie], &[cookie], &[]] {
            told(&format!("GET {path}"), gateway.get(&format!("/auth{path}"), headers));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("logo.svg"), "<svg/>").unwrap();
    let page = "[auth]\nroles = [\"admin\", \"user\"]\npage = { logo = \"logo.svg\" }\n";
    told("GET /logo", Gateway::start_in(folder, page).get("/auth/logo", &[]));
    told("GET /logo", gateway.get("/auth/logo", &[]));

    let name = "POST /sessions/{id}/end";
    let end = |id: &str, headers: &[(&str, &str)], body: &str| {
        gateway.ask(&format!("POST /auth/sessions/{id}/end"), headers, body)
    };
    let other = gateway.login("alice").session;
    told(name, end(&other, &[FORM], ""));
    told(name, end(&other, &[FORM, cookie, FOREIGN], ""));
    told(name, end(&other, &[FORM, cookie], "a=1&a=2"));
    told(name, end("x", &[FORM, cookie], ""));
    told(name, end("x", &[HTML, FORM, cookie], ""));
    told(name, end(&other, &[HTML, FORM, cookie], ""));
    let own = gateway.get("/auth/me", &[cookie]).expect(200).member("sid");
    told(name, end(&own, &[FORM, cookie], ""));

    for (name, kept) in [("POST /logout", ""), ("POST /logout-all", "keep_current=true")] {
        let cookies = sign_in().cookie_header();
        let line = name.replace(" /", " /auth/");
        told(name, gateway.ask(&line, &[HTML, FORM, ("Cookie", &cookies)], kept));
    }
}

/// How passwords are set, by programs and by forms.
fn ask_passwords(gateway: &Gateway, told: &mut impl FnMut(&str, Answer)) {
    let browser = gateway.login_by_cookie("alice").cookie_header();
    let cookie = ("Cookie", browser.as_str());
    let old = "a long passphrase";
    let change = |headers: &[(&str, &str)], current: &str, new: &str| {
        let json = format!(r#"{{"current_password":"{current}","new_password":"{new}"}}"#);
        gateway.post_json("/auth/password", headers, &json)
    };
    let name = "POST /password";
    told(name, change(&[], old, "x"));
    told(name, change(&[cookie, FOREIGN], old, "x"));
    told(name, gateway.post_json("/auth/password", &[cookie], "["));
    told(name, change(&[cookie], "wrong", "quite another passphrase"));
    told(name, change(&[cookie], old, "weak"));
    let changed = change(&[cookie], old, "quite another passphrase");
    let browser = changed.cookie_header();
    told(name, changed);
    let body = "current_password=quite+another+passphrase&new_password=a+third+long+passphrase";
    let headers = [HTML, FORM, ("Cookie", browser.as_str())];
    told(name, gateway.ask("POST /auth/password", &headers, body));

    let link =
        |password: &str| format!("t={}&password={password}", invite(gateway, "alice", &[], 1));
    let set_up = |headers: &[(&str, &str)], body: &str| {
        gateway.ask("POST /auth/setup", &[&[FORM], headers].concat(), body)
    };
    let name = "POST /setup";
    let good = format!("/auth/setup?{}", link(""));
    told("GET /setup", gateway.get(&good, &[]));
    told("GET /setup", gateway.get("/auth/setup", &[]));
    for headers in [&[][..], &[HTML]] {
        told(name, set_up(headers, "t=x"));
        told(name, set_up(headers, "t=x&password=x"));
        told(name, set_up(headers, &link("weak")));
        told(name, set_up(headers, &link("quite+another+passphrase")));
        let elsewhere = [headers, &[("Sec-Fetch-Site", "cross-site")]].concat();
        told(name, set_up(&elsewhere, "t=x&password=x"));
    }
    // What comes after signs in with it.
    told(name, set_up(&[], &link(&old.replace(' ', "+"))));
}

/// Of the administration: operation, path, body that would do, body that would not.
const CALLS: [(&str, &str, &str, &str); 11] = [
    ("GET /admin/users", "/admin/users", "", ""),
    ("DELETE /admin/sessions/{id}", "/admin/sessions/SESSION", "", ""),
    ("POST /admin/users", "/admin/users", r#"{"username":"bob","name":"Bob"}"#, "{}"),
    ("GET /admin/users/{name}", "/admin/users/alice", "", ""),
    ("PUT /admin/users/{name}/roles", "/admin/users/alice/roles", r#"{"roles":["user"]}"#, "{}"),
    (
        "POST /admin/users/{name}/invite",
        "/admin/users/alice/invite",
        r#"{"ttl_seconds":3600}"#,
        r#"{"ttl_seconds":1}"#,
    ),
    ("POST /admin/users/{name}/disable", "/admin/users/alice/disable", "", ""),
    // Of one who is disabled.
    ("POST /admin/users/{name}/invite", "/admin/users/alice/invite", "", ""),
    ("POST /admin/users/{name}/enable", "/admin/users/alice/enable", "", ""),
    ("GET /admin/sessions", "/admin/sessions", "", ""),
    ("DELETE /admin/users/{name}", "/admin/users/alice", "", ""),
];

fn ask_administration(gateway: &Gateway, told: &mut impl FnMut(&str, Answer)) {
    let admin = format!("Bearer {}", gateway.login("admin").access);
    let user = gateway.login("alice");
    let other = format!("Bearer {}", gateway.login("alice").access);
    for (name, path, good, _) in CALLS {
        let line = format!("{} /auth{path}", name.split_once(' ').unwrap().0);
        told(name, gateway.ask(&line, &[("Authorization", &other), JSON], good));
    }
    for (name, path, good, bad) in CALLS {
        let method = name.split_once(' ').unwrap().0;
        let path = path.replace("SESSION", &user.session);
        let mut ask = |path: &str, by: &str, body: &str| {
            let line = format!("{method} /auth{path}");
            let headers = [("Authorization", by), JSON];
            told(name, gateway.ask(&line, &headers, body));
        };
        ask(&path, "", good);
        if !bad.is_empty() {
            ask(&path, &admin, bad);
        }
        ask(&path, &admin, good);
        ask(&path.replace("alice", "nobody").replace(&user.session, "x"), &admin, good);
        ask(&path.replace("alice", "admin"), &admin, r#"{"roles":["user"]}"#);
    }
    let sessions = |query: &str| {
        gateway.get(&format!("/auth/admin/sessions{query}"), &[("Authorization", &admin)])
    };
    told("GET /admin/sessions", sessions("?user=a%20b"));
    told("GET /admin/sessions", sessions("?user=nobody"));
    let again = r#"{"username":"bob"}"#;
    let headers = [("Authorization", admin.as_str()), JSON];
    told("POST /admin/users", gateway.ask("POST /auth/admin/users", &headers, again));
    let off = Gateway::start("[auth]\nroles = [\"admin\", \"user\"]\nadmin_role = \"\"\n");
    for path in ["/admin/users", "/admin/sessions"] {
        told(&format!("GET {path}"), off.get(&format!("/auth{path}"), &[]));
    }
    told("POST /admin/users", off.post_json("/auth/admin/users", &[], "{}"));
}
