//! Thieves: each has a copy of all cookies of one browser, and its own idea of how not to be seen.

use super::Millis;
use super::jar::Jar;
use super::wire::{Ask, Seat};
use super::world::{HOUR, MINUTE, SECOND, World};
use crate::support::Answer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Uses the refresh cookie once, some time, and what it gives for a while.
    Replays,
    /// Lets the owner go first: refreshes a while after the access token has ended.
    Follows,
    /// Refreshes whenever the access token is about to end, as the owner's browser does.
    KeepsStep,
    /// Looks at the list of sessions for a sign that the owner has refreshed, and does so at once;
    /// without a sign keeps step.
    Watches,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Replays, Self::Follows, Self::KeepsStep, Self::Watches];
}

#[derive(Debug)]
pub struct Thief {
    pub victim: usize,
    pub kind: Kind,
    pub seat: Seat,
    pub caught_after: Option<Millis>,
    /// A single use inside the window of a rotation, which looks like a retry of the owner's.
    pub inside_window: bool,
    pub signs: u32,
    jar: Option<Jar>,
    stolen: Millis,
    /// When to refresh.
    due: Millis,
    list: Option<String>,
    done: bool,
}

impl Thief {
    pub fn new(victim: usize, kind: Kind, seat: Seat) -> Self {
        Self {
            victim,
            kind,
            seat,
            caught_after: None,
            inside_window: false,
            signs: 0,
            jar: None,
            stolen: 0,
            due: 0,
            list: None,
            done: false,
        }
    }
}

impl World {
    /// Whether a session that was ended for reuse had a thief, who is caught by that.
    pub fn catch(&mut self, victim: usize) -> bool {
        let now = self.wire.now();
        let Some(thief) = self.thieves.iter_mut().find(|thief| thief.victim == victim) else {
            return false;
        };
        if thief.jar.is_none() {
            return false;
        }
        thief.caught_after.get_or_insert(now - thief.stolen);
        thief.done = true;
        true
    }

    /// What a thief does when its time has come.
    pub fn thieve(&mut self, n: usize) {
        let now = self.wire.now();
        let thief = &mut self.thieves[n];
        if thief.done {
            return;
        }
        if thief.jar.is_none() {
            let victim = &self.browsers[thief.victim];
            assert!(victim.signed_in, "there is something to steal");
            (thief.jar, thief.stolen) = (Some(victim.jar.clone()), now);
            return self.plan(n);
        }
        if thief.kind == Kind::Watches && now < thief.due && !self.watch(n) {
            return;
        }
        self.use_refresh_cookie(n);
    }

    /// Looks at the list; true when there is a sign.
    fn watch(&mut self, n: usize) -> bool {
        let thief = &self.thieves[n];
        let access = thief.jar.as_ref().and_then(|jar| jar.value("pc_at")).unwrap_or_default();
        let answer = self.wire.ask(&thief.seat.clone(), &Ask::list(access));
        if answer.status != 200 {
            self.refused_thief(n, &answer);
            return false;
        }
        let thief = &mut self.thieves[n];
        let before = thief.list.replace(answer.text());
        if before.is_some() && before != thief.list {
            thief.signs += 1;
            return true;
        }
        let wait = (thief.due - self.wire.now()).clamp(1, 20 * SECOND);
        self.thief_after(wait, n);
        false
    }

    fn use_refresh_cookie(&mut self, n: usize) {
        let now = self.wire.now();
        let inside = self.end_of(&self.browsers[self.thieves[n].victim].session).rotated < WINDOW;
        let thief = &mut self.thieves[n];
        let (seat, jar) = (thief.seat.clone(), thief.jar.clone().unwrap_or_default());
        let answer = self.wire.ask(&seat, &Ask::page(jar.without_access().header(now)));
        if answer.status != 200 {
            return self.refused_thief(n, &answer);
        }
        let thief = &mut self.thieves[n];
        let mut jar = jar;
        jar.take(&answer, now);
        thief.list = None;
        thief.jar = Some(jar.clone());
        if thief.kind == Kind::Replays {
            (thief.inside_window, thief.done) = (inside, true);
            let answer = self.wire.ask(&seat, &Ask::page(jar.header(now)));
            assert_eq!(answer.status, 200, "{}", answer.text());
            return;
        }
        self.plan(n);
    }

    fn plan(&mut self, n: usize) {
        let now = self.wire.now();
        let end = self.thieves[n].jar.as_ref().and_then(Jar::access_end);
        let wait = end.unwrap_or(now).saturating_sub(now);
        let wait = match self.thieves[n].kind {
            Kind::Replays => self.dice.between(MINUTE, 4 * HOUR),
            Kind::Follows => wait + self.dice.between(5 * SECOND, 3 * MINUTE),
            // A busy browser renews as soon as the gateway does it: 20 seconds before the end.
            Kind::KeepsStep | Kind::Watches => {
                wait.saturating_sub(self.dice.between(8 * SECOND, 18 * SECOND))
            }
        };
        let wait = wait.max(SECOND);
        self.thieves[n].due = now + wait;
        let watches = self.thieves[n].kind == Kind::Watches;
        self.thief_after(if watches { wait.min(20 * SECOND) } else { wait }, n);
    }

    fn refused_thief(&mut self, n: usize, answer: &Answer) {
        let victim = self.thieves[n].victim;
        let end = self.end_of(&self.browsers[victim].session);
        assert_eq!((answer.status, &*end.reason), (401, "reuse"), "{}", answer.text());
        self.catch(victim);
        self.browsers[victim].gone = true;
        self.sign_out(victim);
    }
}

const WINDOW: Millis = 30 * SECOND;
