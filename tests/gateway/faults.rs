//! What used to go wrong quietly: at a stop, and when too much is said of a user.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::{Gateway, House};

#[test]
fn a_stop_leaves_one_file_of_the_store() {
    let mut gateway = Gateway::start("");
    gateway.login("alice");
    gateway.stop();
    let left: Vec<String> = fs::read_dir(gateway.folder().join("data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("portcullis.db"))
        .collect();
    assert_eq!(left, ["portcullis.db"]);
}

#[test]
fn a_user_has_no_more_roles_than_a_token_can_tell() {
    let roles: Vec<String> = (0..150).map(|n| format!("role-of-a-very-long-name-{n:03}")).collect();
    let gateway = Gateway::start(&format!(
        "[rate_limits]\nadmin_per_user = \"1000/minute\"\n[auth]\nroles = {:?}",
        [&["admin".into()], &roles[..], &["user".into()]].concat()
    ));
    let bearer = format!("Bearer {}", gateway.login("admin").access);
    let put = |roles: &[String]| {
        let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
        let body = json!({ "roles": roles }).to_string();
        gateway.ask("PUT /auth/admin/users/alice/roles", &headers, &body)
    };
    let refused = put(&roles).expect(400);
    assert!(refused.text().contains("so many roles do not fit"), "{}", refused.text());
    // As many as go: whoever has them can sign in, by cookie too.
    let most = (1..=roles.len()).rev().find(|most| put(&roles[..*most]).status == 200).unwrap();
    assert!((40..roles.len()).contains(&most), "{most}");
    gateway.login_by_cookie("alice");
}

#[test]
fn names_and_addresses_are_bounded_whoever_sets_them() {
    let house = House::new("");
    let long = "x".repeat(201);
    for text in [&*long, "a\nb", "a\u{85}b"] {
        for key in ["--name", "--email"] {
            let arguments = ["user", "add", "bob", "--role", "user", key, text, "--generate"];
            let said = house.run(&arguments);
            assert_eq!(said.code, Some(1), "{key} {text:?}: {said:?}");
            said.tells(&["is one line of at most 200 characters"]);
        }
    }
    let hash = house.run_typing(&["hash"], "quite another passphrase\n").expect(0).out;
    fs::write(
        house.path("users.csv"),
        format!("username,hash,name\nbob,\"{}\",{long}\n", hash.trim()),
    )
    .unwrap();
    let said = house.run(&["user", "import", &house.path("users.csv").display().to_string()]);
    assert_eq!(said.code, Some(1), "{said:?}");
    said.tells(&["a full name is one line of at most 200 characters"]);
    house.run(&["user", "show", "bob"]).expect(1);
}

#[test]
fn a_data_folder_that_others_may_use_is_told_of_and_left_alone() {
    let house = House::new("");
    let folder = house.path("data");
    fs::create_dir(&folder).unwrap();
    house.give_away(&folder);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
    let gateway = house.start();
    let said = gateway.said();
    assert!(said.contains("others than its owner may use the data folder"), "{said}");
    assert!(said.contains("mode 0750"), "{said}");
    let mode = fs::metadata(&folder).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o750);
    gateway.stop();
}
