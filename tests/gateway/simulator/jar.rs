//! The cookies of one browser, shared by its tabs: what arrives last wins.

use std::rc::Rc;

use super::Millis;

/// Both tokens, as one answer sets them.
#[derive(Debug, Clone)]
pub struct Pair {
    pub refresh: Rc<str>,
    pub access: Rc<str>,
    /// When the access token ends, as everybody can read in it.
    pub access_end: Millis,
}

#[derive(Debug, Clone, Default)]
pub struct Jar {
    pub refresh: Option<Rc<str>>,
    pub access: Option<Rc<str>>,
    pub access_end: Option<Millis>,
}

impl Jar {
    /// Keeps what an answer sets.
    pub fn take(&mut self, pair: Option<Pair>) {
        if let Some(Pair { refresh, access, access_end }) = pair {
            (self.refresh, self.access) = (Some(refresh), Some(access));
            self.access_end = Some(access_end);
        }
    }

    /// The same without its access token: whoever sends this is known by the refresh token alone.
    pub fn without_access(&self) -> Self {
        Self { refresh: self.refresh.clone(), ..Self::default() }
    }
}
