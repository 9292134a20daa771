//! The judge of what gateways tell must find what it looks for: see `support::hush`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::support::{Gateway, Upstream};

/// What the judge says of a gateway, at its end.
fn verdict(gateway: Gateway) -> String {
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(gateway)));
    dropped.map_or_else(
        |why| why.downcast_ref::<String>().cloned().unwrap_or_default(),
        |()| "nothing".into(),
    )
}

/// A gateway that logs paths, where a client may put anything.
fn house() -> Gateway {
    Gateway::before(&Upstream::hello().url())
}

#[test]
fn a_secret_in_a_log_is_found_by_the_judge() {
    let gateway = house();
    gateway.login("alice");
    gateway.get("/public/x", &[]).expect(200);
    assert_eq!(verdict(gateway), "nothing");

    let told = |secret: &dyn Fn(&Gateway) -> String, what: &str| {
        let gateway = house();
        let secret = secret(&gateway);
        gateway.get(&format!("/public/{secret}"), &[]).expect(200);
        let said = verdict(gateway);
        assert!(said.contains(what) && said.contains("is told"), "{secret}: {said}");
    };
    let part = "a part of a secret";
    told(&|gateway| gateway.login("alice").access, part);
    told(&|gateway| gateway.login("alice").refresh, part);
    told(&|gateway| gateway.login_by_cookie("alice").cookie("pc_rt").unwrap(), part);
    told(&|gateway| gateway.login_by_cookie("alice").cookie("pc_dev").unwrap(), part);
    told(&|gateway| gateway.login("alice").refresh[40..75].to_owned(), part);
    told(
        &|gateway| {
            gateway.try_password("alice", "mistyped-passphrase").expect(401);
            "mistyped-passphrase".into()
        },
        "the password",
    );
    told(
        &|gateway| {
            let body = "current_password=former-passphrase&new_password=x";
            let headers = [("Content-Type", "application/x-www-form-urlencoded")];
            gateway.ask("POST /auth/password", &headers, body);
            "former-passphrase".into()
        },
        "the password",
    );
    told(
        &|gateway| {
            let bearer = format!("Bearer {}", gateway.login("admin").access);
            let path = "/auth/admin/users/alice/invite";
            let link = gateway.post_json(path, &[("Authorization", &bearer)], "").expect(200);
            link.member("url").split_once("?t=").unwrap().1.to_owned()
        },
        part,
    );
}
