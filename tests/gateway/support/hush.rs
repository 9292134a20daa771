//! Watches every gateway of the test run: no log, metric, page or problem of one repeats a
//! password that was sent to it, a token or a link that it gave, or a key that it keeps.
//!
//! [`Client`](super::Client) notes what goes over its sockets, by the gateway's address; a gateway
//! is judged when it is dropped.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::Answer;

/// What was said to and by one gateway.
#[derive(Debug, Default)]
pub struct Heard {
    /// Parts of tokens: each is found in any longer piece of one.
    parts: HashSet<[u8; PART]>,
    /// Passwords, as typed.
    words: HashSet<String>,
    /// Secrets of links, which their own page repeats.
    links: HashSet<[u8; PART]>,
    /// Pages and problems of the gateway's own.
    told: Vec<String>,
}

/// Notes what a client sends: passwords.
pub fn sent(to: Option<SocketAddr>, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if !text.contains("password") {
        return;
    }
    let (Some(to), Some((_, body))) = (to, text.split_once("\r\n\r\n")) else { return };
    let secret = |name: &str| matches!(name, "password" | "current_password" | "new_password");
    let words: Vec<String> = match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(members)) => members
            .iter()
            .filter(|(name, _)| secret(name))
            .filter_map(|(_, value)| value.as_str().map(str::to_owned))
            .collect(),
        _ => form_urlencoded::parse(body.as_bytes())
            .filter(|(name, _)| secret(name))
            .map(|(_, value)| value.into_owned())
            .collect(),
    };
    let long = words.into_iter().filter(|word| word.chars().count() >= SHORTEST_WORD);
    lock().entry(to).or_default().words.extend(long);
}

/// Notes an answer: tokens that it gives, and what it tells if the gateway itself does.
pub fn answered(by: Option<SocketAddr>, answer: &Answer) {
    let Some(by) = by else { return };
    let mut all = lock();
    let heard = all.entry(by).or_default();
    for (name, value) in answer.cookies() {
        if name.contains("pc_") {
            heard.parts.extend(parts(&value));
        }
    }
    let kind = answer.header("content-type").unwrap_or_default();
    if kind == "application/json" && answer.header("cache-control") == Some("no-store") {
        let json = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
        for name in ["access_token", "refresh_token"] {
            heard.parts.extend(json[name].as_str().into_iter().flat_map(parts));
        }
        let link = json["url"].as_str().and_then(|url| url.split_once("?t="));
        heard.links.extend(link.into_iter().flat_map(|(_, secret)| parts(secret)));
    }
    let policy = answer.header("content-security-policy").unwrap_or_default();
    if kind == "application/problem+json" || policy.starts_with("default-src 'none'; style-src") {
        heard.told.push(answer.text());
    }
}

/// Judges the gateways of these addresses by their logs and metrics; forgets what was heard.
#[track_caller]
pub fn judge(addresses: &[SocketAddr], logs: &[String], keys: &Path) {
    let mut heard = Heard::default();
    for address in addresses {
        let of_one = lock().remove(address).unwrap_or_default();
        heard.parts.extend(of_one.parts);
        heard.words.extend(of_one.words);
        heard.links.extend(of_one.links);
        heard.told.extend(of_one.told);
    }
    for entry in fs::read_dir(keys).into_iter().flatten().flatten() {
        let pem = fs::read_to_string(entry.path()).unwrap_or_default();
        let secret = pem.lines().filter(|line| !line.starts_with("-----"));
        heard.parts.extend(secret.flat_map(parts));
    }
    for text in &heard.told {
        refuse(text, &heard.parts, &heard.words);
    }
    heard.parts.extend(&heard.links);
    for text in logs {
        refuse(text, &heard.parts, &heard.words);
    }
}

#[track_caller]
fn refuse(text: &str, parts: &HashSet<[u8; PART]>, words: &HashSet<String>) {
    for line in text.lines() {
        let word = words.iter().find(|word| line.contains(*word));
        assert!(word.is_none(), "the password {word:?} is told: {line}");
        let part = runs(line.as_bytes())
            .flat_map(|run| run.windows(PART))
            .find(|window| parts.contains(*window));
        let part = part.map(String::from_utf8_lossy);
        assert!(part.is_none(), "a part of a secret, {part:?}, is told: {line}");
    }
}

/// Runs of the characters that tokens are made of.
fn runs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| !is_of_token(*byte)).filter(|run| run.len() >= PART)
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'/')
}

/// Pieces of a token, of a JWT those of its signature: all else of it is no secret.
fn parts(token: &str) -> impl Iterator<Item = [u8; PART]> {
    let secret = token.rsplit('.').next().unwrap_or_default().trim_start_matches("pcr_");
    secret.as_bytes().as_chunks::<PART>().0.iter().copied()
}

fn lock() -> MutexGuard<'static, HashMap<SocketAddr, Heard>> {
    static HEARD: LazyLock<Mutex<HashMap<SocketAddr, Heard>>> = LazyLock::new(Mutex::default);
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of a part: none comes by chance.
const PART: usize = 16;

/// Shorter passwords of tests are words that logs hold anyway.
const SHORTEST_WORD: usize = 10;
