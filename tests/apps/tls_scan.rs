//! TLS as clients of others see it: neither sslscan nor testssl.sh finds anything weak, and curl
//! speaks HTTP/2, with a certificate that the command line made.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::gateway::{portcullis, run, settings};
use crate::programs::{Program, system};

#[test]
fn a_scanner_finds_nothing_weak_and_curl_speaks_http_2() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let folder = folder.path();
    let (_program, address) = serve(folder);

    let scan = said(Command::new("sslscan").args(["--no-colour", &address.to_string()]));
    let state = |protocol: &str| {
        let line = scan.lines().find(|line| line.starts_with(protocol));
        line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("not told").to_owned()
    };
    for weak in ["SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"] {
        assert_eq!(state(weak), "disabled", "{weak}: {scan}");
    }
    for good in ["TLSv1.2", "TLSv1.3"] {
        assert_eq!(state(good), "enabled", "{good}: {scan}");
    }
    let ciphers: Vec<&str> = scan
        .lines()
        .filter(|line| line.starts_with("Preferred") || line.starts_with("Accepted"))
        .filter_map(|line| line.split_whitespace().nth(4))
        .collect();
    assert!(ciphers.len() >= 5, "{scan}");
    for cipher in ciphers {
        let forward = cipher.starts_with("TLS_") || cipher.starts_with("ECDHE-");
        let authenticated = cipher.contains("GCM") || cipher.contains("CHACHA20");
        assert!(forward && authenticated, "{cipher}: {scan}");
    }
    assert!(scan.contains("Session renegotiation not supported"), "{scan}");

    let spoken = said(
        Command::new("curl")
            .args(["--silent", "--show-error", "--http2", "--write-out", " %{http_version}"])
            .arg("--cacert")
            .arg(folder.join("localhost.crt"))
            .arg(format!("https://localhost:{}/auth/ping", address.port())),
    );
    assert_eq!(spoken, "ok 2");
    assert!(fs::exists(folder.join("localhost.key")).expect("it can be looked for"));
}

/// A gateway with a certificate that nobody vouches for.
#[track_caller]
fn serve(folder: &Path) -> (Program, SocketAddr) {
    let made = portcullis()
        .args(["cert", "self-signed", "localhost", "--folder"])
        .arg(folder)
        .output()
        .expect("the command runs");
    assert!(made.status.success(), "{made:?}");
    let text = settings(&folder.join("data"))
        + "tls = { cert = \"localhost.crt\", key = \"localhost.key\" }\n\
           [[routes]]\npath = \"/*\"\nupstream = \"http://127.0.0.1:9\"\n";
    run(folder, &text, &mut portcullis())
}

#[test]
#[ignore = "slow: minutes of scanning"]
fn testssl_finds_nothing_above_low_but_that_the_certificate_is_self_signed() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let (_program, address) = serve(folder.path());
    let report = folder.path().join("report.json");
    // Protocols, ciphers, forward secrecy, preferences, certificate, vulnerabilities.
    let mut scan = system("testssl");
    scan.args([
        "--quiet",
        "--color",
        "0",
        "--warnings",
        "batch",
        "-p",
        "-s",
        "-f",
        "-P",
        "-S",
        "-U",
    ]);
    scan.arg("--jsonfile").arg(&report).arg(format!("localhost:{}", address.port()));
    let told = scan.output().expect("it runs").stdout;
    let report = fs::read_to_string(&report).expect("it reports");
    let findings: Vec<Value> = serde_json::from_str(&report).expect("JSON");
    assert!(findings.len() > 50, "{}", String::from_utf8_lossy(&told));
    let above_low = findings.iter().filter(|finding| {
        let severity = finding["severity"].as_str().unwrap_or_default();
        let id = finding["id"].as_str().unwrap_or_default();
        !matches!(severity, "OK" | "INFO" | "LOW" | "WARN") && !OF_SELF_SIGNED.contains(&id)
    });
    let above_low: Vec<_> = above_low.collect();
    assert!(above_low.is_empty(), "{above_low:#?}");
}

/// What can be found of a certificate only because no authority signed it.
const OF_SELF_SIGNED: [&str; 2] = ["cert_chain_of_trust", "cert_revocation"];

/// What a program prints that succeeds.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}
