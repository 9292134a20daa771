//! The cookies of one browser, shared by its tabs: what arrives last wins.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Millis;
use crate::support::Answer;

#[derive(Debug, Clone, Default)]
pub struct Jar(BTreeMap<String, (String, Option<Millis>)>);

impl Jar {
    /// Keeps what an answer sets, for as long as it says.
    pub fn take(&mut self, answer: &Answer, now: Millis) {
        for line in answer.all("set-cookie") {
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            let life = parts.find_map(|part| part.strip_prefix("Max-Age="));
            let end = life.map(|seconds| now + seconds.parse::<Millis>().unwrap() * 1000);
            self.0.insert(name.to_owned(), (value.to_owned(), end));
        }
    }

    /// The value of `Cookie` at this moment.
    pub fn header(&self, now: Millis) -> String {
        let live = self.0.iter().filter(|(_, (_, end))| end.is_none_or(|end| end > now));
        let pairs: Vec<_> = live.map(|(name, (value, _))| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    pub fn value(&self, part: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name.contains(part)).map(|(_, (value, _))| value.as_str())
    }

    /// When the access token in here ends, as everybody can read in it.
    pub fn access_end(&self) -> Option<Millis> {
        let payload = self.value("pc_at")?.split('.').nth(1)?;
        let claims: serde_json::Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
        Some(claims["exp"].as_u64()? * 1000)
    }

    /// The same without its access token: whoever sends this is known by the refresh token alone.
    pub fn without_access(&self) -> Self {
        let kept = self.0.iter().filter(|(name, _)| !name.contains("pc_at"));
        Self(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}
