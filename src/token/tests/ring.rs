use std::fs;
use std::path::Path;

use super::keys::{files, folder, mode};
use super::*;
use crate::secret::Secret;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

fn open(dir: &Path, now: Timestamp) -> KeyRing {
    KeyRing::open(dir, Algorithm::EdDsa, now).unwrap()
}

fn mint_at(ring: &KeyRing, now: Timestamp) -> String {
    ring.mint(&claims(&alice()), &rules(), now).unwrap().0
}

fn kid_at(ring: &KeyRing, now: Timestamp) -> String {
    parts(&mint_at(ring, now)).0["kid"].as_str().unwrap().to_owned()
}

fn states(ring: &KeyRing, now: Timestamp) -> Vec<KeyState> {
    ring.list(now).iter().map(|key| key.state).collect()
}

fn knows(ring: &KeyRing, token: &str, now: Timestamp) -> bool {
    !matches!(ring.verify(token, &rules(), now), Err(BadToken::Invalid))
}

#[test]
fn a_key_is_published_then_signs_then_verifies_then_is_gone() {
    let (_home, dir) = folder();
    let ring = open(&dir, NOW);
    let first = kid_at(&ring, NOW);
    assert_eq!(states(&ring, NOW), [KeyState::Active]);

    let begun = NOW.plus(DAY);
    let next = ring.rotate(OldKeys::Overlap, begun).unwrap().key().clone();
    let signs = next.from.unwrap();
    assert!(begun.until(signs) >= 15 * MINUTE, "{next:?}");
    assert!(ring.jwks().contains(&next.kid), "{}", ring.jwks());
    for now in [begun, signs.minus(Duration::from_secs(1))] {
        assert_eq!(states(&ring, now), [KeyState::Active, KeyState::Next]);
        assert_eq!(kid_at(&ring, now), first);
    }
    let last = mint_at(&ring, signs.minus(Duration::from_secs(1)));
    assert_eq!(kid_at(&ring, signs), next.kid);
    assert_eq!(states(&ring, signs), [KeyState::Retired, KeyState::Active]);
    let long_after = signs.plus(61 * MINUTE);
    assert!(knows(&ring, &last, long_after), "an hour's token would still count");
    assert_eq!(ring.keep_house(90 * DAY, long_after).unwrap(), Upkeep::default());
    let gone = signs.plus(62 * MINUTE);
    assert!(!knows(&ring, &last, gone), "whether or not anybody kept house");
    let upkeep = ring.keep_house(90 * DAY, gone).unwrap();
    assert_eq!((upkeep.made, upkeep.removed), (None, vec![first.clone()]));
    assert!(!ring.jwks().contains(&first), "{}", ring.jwks());
    assert_eq!(files(&dir).len(), 1, "{:?}", files(&dir));
}

#[test]
fn what_was_rotated_is_found_again_by_another_opening() {
    let (_home, dir) = folder();
    let ring = open(&dir, NOW);
    let next = ring.rotate(OldKeys::Overlap, NOW).unwrap().key().clone();
    for now in [NOW, next.from.unwrap(), next.from.unwrap().plus(62 * MINUTE)] {
        let again = open(&dir, now);
        assert_eq!(again.list(now), ring.list(now));
        assert_eq!(again.jwks(), ring.jwks());
    }
    for file in files(&dir) {
        assert_eq!(mode(&file), 0o600, "{file:?}");
    }
}

#[test]
fn with_a_key_on_its_way_a_rotation_brings_no_other() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    let next = ring.rotate(OldKeys::Overlap, NOW).unwrap().key().clone();
    assert_eq!(ring.rotate(OldKeys::Overlap, NOW.plus(MINUTE)).unwrap(), Rotated::OnItsWay(next));
    assert_eq!(ring.list(NOW).len(), 2);
}

#[test]
fn revoking_leaves_the_new_key_alone() {
    let (_home, dir) = folder();
    let ring = open(&dir, NOW.minus(DAY));
    let old = mint(&ring);
    let waiting = ring.rotate(OldKeys::Overlap, NOW).unwrap().key().clone();
    let new = ring.rotate(OldKeys::Revoked, NOW).unwrap().key().clone();
    assert!(!knows(&ring, &old, NOW));
    assert_eq!(kid_at(&ring, NOW), new.kid);
    assert!(new.kid != waiting.kid && !ring.jwks().contains(&waiting.kid));
    assert_eq!(ring.list(NOW), [new]);
    assert_eq!(open(&dir, NOW).list(NOW), ring.list(NOW));
    assert!(ring.claims_ours(&old, &rules()), "it says that it is ours, and never goes upstream");
}

#[test]
fn a_key_that_cannot_be_removed_is_refused_all_the_same_and_told() {
    let (_home, dir) = folder();
    let ring = open(&dir, NOW.minus(DAY));
    let old = mint(&ring);
    fs::remove_file(&files(&dir)[0]).unwrap();
    let error = ring.rotate(OldKeys::Revoked, NOW).unwrap_err();
    assert!(matches!(error, KeyError::Remove { .. }), "{error}");
    assert!(!knows(&ring, &old, NOW));
}

#[test]
fn housekeeping_rotates_by_age_and_publishes_ahead() {
    let (_home, dir) = folder();
    let ring = open(&dir, NOW);
    let first = kid_at(&ring, NOW);
    let every = 90 * DAY;
    for early in [NOW, NOW.plus(every - 16 * MINUTE)] {
        assert_eq!(ring.keep_house(every, early).unwrap(), Upkeep::default());
    }
    let due = NOW.plus(every - 15 * MINUTE);
    let made = ring.keep_house(every, due).unwrap().made.unwrap();
    assert!(due.until(made.from.unwrap()) >= 15 * MINUTE, "{made:?}");
    assert_eq!(ring.keep_house(every, due.plus(MINUTE)).unwrap(), Upkeep::default());
    assert_eq!(kid_at(&ring, due), first);
    assert_eq!(kid_at(&ring, made.from.unwrap()), made.kid);

    // A gateway that did not run for a year publishes before it signs, too.
    let late = NOW.plus(400 * DAY);
    let made = ring.keep_house(every, late).unwrap().made.unwrap();
    assert!(late.until(made.from.unwrap()) >= 15 * MINUTE, "{made:?}");
}

#[test]
fn a_clock_that_stands_before_every_key_stops_nothing() {
    let (_home, dir) = folder();
    let ring = open(&dir, NOW.plus(DAY));
    assert!(knows(&ring, &mint(&ring), NOW));
    assert_eq!(states(&ring, NOW), [KeyState::Active]);
    assert_eq!(ring.keep_house(90 * DAY, NOW).unwrap(), Upkeep::default());
}

/// A start with the clock far ahead leaves a next key whose time does not come.
#[test]
fn a_next_key_of_a_clock_that_ran_ahead_holds_no_rotation_up() {
    let (_home, dir) = folder();
    let ring = open(&dir, NOW);
    let (first, every) = (kid_at(&ring, NOW), 90 * DAY);
    let strayed = ring.keep_house(every, NOW.plus(800 * DAY)).unwrap().made.unwrap();
    assert_eq!(ring.keep_house(every, NOW.plus(DAY)).unwrap(), Upkeep::default());

    let due = NOW.plus(every);
    let made = ring.keep_house(every, due).unwrap().made.unwrap();
    assert!(due.until(made.from.unwrap()) >= 15 * MINUTE, "{made:?}");
    assert_eq!(kid_at(&ring, due), first);
    assert_eq!(kid_at(&ring, made.from.unwrap()), made.kid);
    let upkeep = ring.keep_house(every, made.from.unwrap().plus(62 * MINUTE)).unwrap();
    assert_eq!((upkeep.made, upkeep.removed), (None, vec![first]));

    let asked = due.plus(10 * DAY);
    let rotated = ring.rotate(OldKeys::Overlap, asked).unwrap();
    assert!(matches!(&rotated, Rotated::Made(key) if key.kid != strayed.kid), "{rotated:?}");
    let kids: Vec<_> = ring.list(asked).into_iter().map(|key| key.kid).collect();
    assert_eq!(kids, [made.kid, rotated.key().kid.clone(), strayed.kid]);
}

#[test]
fn shared_secrets_are_rotated_in_the_configuration() {
    let secrets = [Secret::new([1; 32]), Secret::new([2; 40])];
    let ring = KeyRing::shared(&secrets).unwrap();
    for old in [OldKeys::Overlap, OldKeys::Revoked] {
        let error = ring.rotate(old, NOW).unwrap_err();
        assert!(error.to_string().contains("tokens.secret = [NEW, OLD]"), "{error}");
    }
    assert_eq!(ring.keep_house(DAY, NOW.plus(900 * DAY)).unwrap(), Upkeep::default());
    assert_eq!(states(&ring, NOW), [KeyState::Retired, KeyState::Active]);
}

#[test]
fn a_ring_is_read_while_it_changes() {
    let ring = KeyRing::ephemeral(Algorithm::EdDsa).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..200 {
                let token = mint(&ring);
                assert_eq!(token.split('.').count(), 3);
            }
        });
        for _ in 0..20 {
            ring.rotate(OldKeys::Revoked, NOW).unwrap();
        }
        reader.join().unwrap();
    });
    assert_eq!(ring.list(NOW).len(), 1);
}

/// Name, mode and content of each file in a tar archive, its sums checked.
fn unpack(archive: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
    };
    let mut rest = archive;
    let mut found = Vec::new();
    while rest[0] != 0 {
        let (head, after) = rest.split_at(512);
        let number =
            |at: std::ops::Range<usize>| usize::from_str_radix(text(&head[at]).trim(), 8).unwrap();
        let blank = head.iter().enumerate().map(|(at, byte)| match at {
            148..156 => 32,
            _ => usize::from(*byte),
        });
        assert_eq!(number(148..156), blank.sum::<usize>());
        assert_eq!(&head[257..265], b"ustar\x0000");
        let length = number(124..136);
        found.push((text(&head[..100]), text(&head[100..108]), after[..length].to_vec()));
        rest = &after[length.next_multiple_of(512)..];
    }
    assert_eq!(rest, [0; 1024]);
    found
}

#[test]
fn an_archive_holds_every_key_and_replaces_no_file() {
    let home = tempfile::tempdir().unwrap();
    let (dir, master) = (home.path().join("keys"), home.path().join("master"));
    MasterKey::create(1, &master).unwrap();
    open(&dir, NOW).rotate(OldKeys::Overlap, NOW).unwrap();
    KeyRing::open(&dir, Algorithm::Rs256, NOW).unwrap();
    let mut all = vec![master];
    all.extend(signing_key_files(&dir).unwrap());
    let to = home.path().join("backup.tar");
    assert_eq!(archive(&to, home.path(), &all).unwrap(), 4);
    assert_eq!(mode(&to), 0o600);
    let found = unpack(&fs::read(&to).unwrap());
    assert_eq!(found.len(), 4);
    for ((name, mode, content), source) in found.iter().zip(&all) {
        assert_eq!(&home.path().join(name), source);
        assert_eq!(mode, "0000600");
        assert_eq!(content, &fs::read(source).unwrap());
    }
    let again = archive(&to, home.path(), &all);
    assert!(matches!(again, Err(KeyError::Exists { .. })), "{again:?}");
    assert_eq!(unpack(&fs::read(&to).unwrap()).len(), 4, "it is as it was");
}

#[test]
fn an_archive_without_a_place_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let to = home.path().join("missing/backup.tar");
    assert!(matches!(archive(&to, home.path(), &[]), Err(KeyError::Create { .. })));
    let long = home.path().join("x".repeat(120));
    MasterKey::create(1, &long).unwrap();
    let to = home.path().join("backup.tar");
    assert!(matches!(archive(&to, home.path(), &[long]), Err(KeyError::LongName { .. })));
    assert!(!to.exists());
}
