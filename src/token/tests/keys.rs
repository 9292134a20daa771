use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::secret::Secret;

/// A folder that is not there yet, for the ring to make.
pub(super) fn folder() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    (home, dir)
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(super) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

const STORED: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];

#[test]
fn a_new_folder_gets_one_key_that_a_second_opening_finds() {
    for algorithm in STORED {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("data/keys");
        let token = mint(&KeyRing::open(&dir, algorithm, NOW).unwrap());
        let made = files(&dir);
        assert_eq!(made.len(), 1, "{made:?}");
        assert_eq!((mode(&dir), mode(&made[0])), (0o700, 0o600));
        let again = KeyRing::open(&dir, algorithm, NOW).unwrap();
        assert!(again.verify(&token, &rules(), NOW).is_ok(), "{algorithm:?}");
        assert_eq!(files(&dir), made);
    }
}

#[test]
fn keys_of_another_algorithm_are_left_alone() {
    let (_home, dir) = folder();
    let first = mint(&KeyRing::open(&dir, Algorithm::EdDsa, NOW).unwrap());
    let ring = KeyRing::open(&dir, Algorithm::Es256, NOW).unwrap();
    assert_eq!(ring.verify(&first, &rules(), NOW), Err(BadToken::Invalid));
    assert_eq!(files(&dir).len(), 2);
}

#[test]
fn a_key_that_others_could_read_is_refused_with_the_remedy() {
    let (_home, dir) = folder();
    KeyRing::open(&dir, Algorithm::EdDsa, NOW).unwrap();
    let file = files(&dir).remove(0);
    for bad in [0o640, 0o604, 0o660, 0o610] {
        set_mode(&file, bad);
        let error = KeyRing::open(&dir, Algorithm::EdDsa, NOW).unwrap_err().to_string();
        let remedy = format!("run: chmod 0600 {}", file.display());
        assert!(error.ends_with(&remedy) && error.contains(&format!("{bad:04o}")), "{error}");
    }
    set_mode(&file, 0o400);
    assert!(KeyRing::open(&dir, Algorithm::EdDsa, NOW).is_ok());
    set_mode(&dir, 0o755);
    let error = KeyRing::open(&dir, Algorithm::EdDsa, NOW).unwrap_err().to_string();
    assert!(error.ends_with(&format!("run: chmod 0700 {}", dir.display())), "{error}");
}

#[test]
fn a_file_that_is_not_the_key_of_its_name_is_refused() {
    let (_home, dir) = folder();
    KeyRing::open(&dir, Algorithm::Es256, NOW).unwrap();
    let file = files(&dir).remove(0);
    let good = fs::read(&file).unwrap();
    let (_elsewhere, foreign) = folder();
    KeyRing::open(&foreign, Algorithm::Es256, NOW).unwrap();
    let other = fs::read(&files(&foreign)[0]).unwrap();
    for content in [&b""[..], b"not a key", &good[1..], &other, &[0; 100_000]] {
        fs::write(&file, content).unwrap();
        let error = KeyRing::open(&dir, Algorithm::Es256, NOW).unwrap_err();
        assert!(matches!(error, KeyError::NotAKey { .. }), "{error}");
    }
    fs::write(&file, good).unwrap();
    fs::rename(&file, dir.join("newest.ES256.pk8")).unwrap();
    let error = KeyRing::open(&dir, Algorithm::Es256, NOW).unwrap_err();
    assert!(matches!(error, KeyError::NotAKey { .. }), "{error}");
}

#[test]
fn the_jwks_holds_public_members_alone() {
    for (algorithm, kty, members) in [
        (Algorithm::EdDsa, "OKP", ["alg", "crv", "kid", "kty", "use", "x", ""]),
        (Algorithm::Es256, "EC", ["alg", "crv", "kid", "kty", "use", "x", "y"]),
        (Algorithm::Rs256, "RSA", ["alg", "e", "kid", "kty", "n", "use", ""]),
    ] {
        let ring = KeyRing::ephemeral(algorithm).unwrap();
        let jwks: serde_json::Value = serde_json::from_str(&ring.jwks()).unwrap();
        let key = jwks["keys"][0].as_object().unwrap();
        let mut names: Vec<&str> = key.keys().map(String::as_str).collect();
        names.sort_unstable();
        let expected: Vec<&str> = members.into_iter().filter(|name| !name.is_empty()).collect();
        assert_eq!((names, key["kty"].as_str()), (expected, Some(kty)), "{jwks}");
        assert_eq!(key["use"], "sig");
        assert_eq!(key["kid"], parts(&mint(&ring)).0["kid"]);
    }
    let shared = KeyRing::ephemeral(Algorithm::Hs256).unwrap();
    assert_eq!(shared.jwks(), r#"{"keys":[]}"#);
}

/// RFC 8037 appendix A.3.
#[test]
fn a_kid_begins_the_thumbprint_of_rfc_7638() {
    let home = tempfile::tempdir().unwrap();
    let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
    let mut pkcs8 = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    pkcs8.extend_from_slice(&seed);
    // Of kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k.
    let kid = "kPrK_qmxVWaYVA9w";
    set_mode(home.path(), 0o700);
    let file = home.path().join(format!("1-{kid}.EdDSA.pk8"));
    fs::write(&file, pkcs8).unwrap();
    set_mode(&file, 0o600);
    let ring = KeyRing::open(home.path(), Algorithm::EdDsa, NOW).unwrap();
    assert_eq!(parts(&mint(&ring)).0["kid"], kid);
    assert!(ring.jwks().contains("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"), "{}", ring.jwks());
}

#[test]
fn the_first_of_the_shared_secrets_signs_and_all_verify() {
    let secrets = [Secret::new([1; 32]), Secret::new([2; 40])];
    let old = KeyRing::shared(&secrets[1..]).unwrap();
    let ring = KeyRing::shared(&secrets).unwrap();
    assert!(ring.verify(&mint(&old), &rules(), NOW).is_ok());
    assert_eq!(old.verify(&mint(&ring), &rules(), NOW), Err(BadToken::Invalid));
    assert!(!format!("{ring:?}").contains("[1, 1"), "{ring:?}");
}

#[test]
fn a_short_or_missing_secret_is_refused() {
    let short = KeyRing::shared(&[Secret::new([1; 31])]);
    assert!(matches!(short, Err(KeyError::Weak)), "{short:?}");
    let none = KeyRing::shared(&[]);
    assert!(matches!(none, Err(KeyError::NoSecret)), "{none:?}");
}

#[test]
fn a_master_key_reads_back_from_its_file() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("master");
    let made = MasterKey::create(3, &path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!((text.len(), text.ends_with('\n')), (44, true));
    let read = MasterKey::read(3, &path).unwrap();
    assert!(read.key.is(made.key.expose()) && read.id == 3);
    assert_eq!(files(home.path()), [path], "nothing else is left behind");
}

#[test]
fn a_key_file_is_never_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("master");
    let made = MasterKey::create(1, &path).unwrap();
    let again = MasterKey::create(1, &path);
    assert!(matches!(again, Err(KeyError::Exists { .. })), "{again:?}");
    let nowhere = home.path().join("gone");
    symlink(&nowhere, home.path().join("link")).unwrap();
    let through = MasterKey::create(1, &home.path().join("link"));
    assert!(matches!(through, Err(KeyError::Exists { .. })), "{through:?}");
    assert!(!nowhere.exists());
    assert!(MasterKey::read(1, &path).unwrap().key.is(made.key.expose()));
    assert_eq!(files(home.path()).len(), 2, "{:?}", files(home.path()));
}

#[test]
fn a_master_key_file_that_is_wrong_in_any_way_is_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("master");
    MasterKey::create(1, &path).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let bare = good.trim_end();
    let wrong = [
        "",
        "\n",
        bare.split_at(1).1,
        &format!("{good}\n"),
        &format!(" {good}"),
        &format!("{bare}="),
        &good.repeat(500),
    ];
    for content in wrong {
        fs::write(&path, content).unwrap();
        let error = MasterKey::read(1, &path).unwrap_err();
        assert!(matches!(error, KeyError::NotAMasterKey { .. }), "{content:?}: {error}");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }
    fs::write(&path, bare).unwrap();
    assert!(MasterKey::read(1, &path).is_ok(), "the line may lack its end");
    set_mode(&path, 0o644);
    assert!(matches!(MasterKey::read(1, &path), Err(KeyError::Exposed { .. })));
    assert!(matches!(MasterKey::read(1, home.path()), Err(KeyError::NotAFile { .. })));
    let missing = MasterKey::read(1, &home.path().join("none")).unwrap_err();
    assert!(matches!(missing, KeyError::Read { .. }), "{missing}");
}

/// Opening a pipe would wait for a writer for ever.
#[test]
fn a_pipe_is_no_key_file() {
    let home = tempfile::tempdir().unwrap();
    let pipe = home.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(MasterKey::read(1, &pipe), Err(KeyError::NotAFile { .. })));
}
