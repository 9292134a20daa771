//! Thieves: each has a copy of all cookies of one browser, and its own idea of how not to be seen.

use super::Millis;
use super::gate::{Ask, Reply, Seat};
use super::jar::Jar;
use super::world::{HOUR, MINUTE, SECOND, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Uses the refresh cookie once, some time, and what it gives for a while.
    Replays,
    /// Lets the owner go first: refreshes a while after the access token has ended.
    Follows,
    /// Refreshes whenever the access token is about to end, as the owner's browser does.
    KeepsStep,
    /// The same at even steps, an average life long: knows how lives are drawn, and lies low between,
    /// so that the owner's browser looks as if the network lost its replies.
    Paces,
    /// The same, always just before the owner's browser could.
    Hurries,
    /// Looks at the list of sessions for a sign that the owner has refreshed, and does so at once;
    /// without a sign keeps step.
    Watches,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Replays, Self::Follows, Self::KeepsStep, Self::Paces, Self::Hurries, Self::Watches];
}

#[derive(Debug)]
pub struct Thief {
    pub victim: usize,
    pub kind: Kind,
    pub seat: Seat,
    pub caught_after: Option<Millis>,
    /// A single use so shortly before or after the owner's that it looks like a retry of it.
    pub inside_window: bool,
    pub signs: u32,
    jar: Option<Jar>,
    stolen: Millis,
    /// When the cookie was used last.
    used: Option<Millis>,
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
            used: None,
            due: 0,
            list: None,
            done: false,
        }
    }
}

impl World {
    /// Whether a session that was ended for reuse had a thief, who is caught by that.
    pub fn catch(&mut self, victim: usize) -> bool {
        let now = self.gate.now();
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

    /// The owner's browser renews: a thief who came once, a moment ago, stays unseen.
    pub fn owner_renews(&mut self, victim: usize) {
        let now = self.gate.now();
        let once = |thief: &&mut Thief| thief.victim == victim && thief.kind == Kind::Replays;
        if let Some(thief) = self.thieves.iter_mut().find(once) {
            thief.inside_window |= thief.used.is_some_and(|used| now - used < WINDOW);
        }
    }

    /// What a thief does when its time has come.
    pub fn thieve(&mut self, n: usize) {
        let now = self.gate.now();
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
        let access = thief.jar.as_ref().and_then(|jar| jar.access.clone()).expect("it was stolen");
        let answer = self.ask(&thief.seat.clone(), Ask::List(access));
        if answer.status != 200 {
            self.refused_thief(n, &answer);
            return false;
        }
        let thief = &mut self.thieves[n];
        let before = thief.list.replace(answer.text);
        if before.is_some() && before != thief.list {
            thief.signs += 1;
            return true;
        }
        let wait = (thief.due - self.gate.now()).clamp(1, 20 * SECOND);
        self.thief_after(wait, n);
        false
    }

    fn use_refresh_cookie(&mut self, n: usize) {
        let inside = self.gate.state(&self.browsers[self.thieves[n].victim].session).fresh < WINDOW;
        let thief = &mut self.thieves[n];
        thief.used = Some(self.gate.now());
        let (seat, jar) = (thief.seat.clone(), thief.jar.clone().unwrap_or_default());
        let answer = self.ask(&seat, Ask::Page(jar.without_access()));
        if answer.status != 200 {
            return self.refused_thief(n, &answer);
        }
        if answer.pair.is_none() {
            // A busy machine, or a rotation between the two steps: nothing was taken yet.
            return self.thief_after(SECOND, n);
        }
        let thief = &mut self.thieves[n];
        let mut jar = jar;
        jar.take(answer.pair);
        thief.list = None;
        thief.jar = Some(jar.clone());
        if thief.kind == Kind::Replays {
            (thief.inside_window, thief.done) = (inside, true);
            let answer = self.ask(&seat, Ask::Page(jar));
            assert_eq!(answer.status, 200, "{}", answer.text);
            return;
        }
        self.plan(n);
    }

    fn ask(&mut self, seat: &Seat, ask: Ask) -> Reply {
        self.gate.ask_all(seat, &[ask]).remove(0)
    }

    fn plan(&mut self, n: usize) {
        let now = self.gate.now();
        let end = self.thieves[n].jar.as_ref().and_then(|jar| jar.access_end);
        let wait = end.unwrap_or(now).saturating_sub(now);
        let wait = match self.thieves[n].kind {
            Kind::Replays => self.dice.between(MINUTE, 4 * HOUR),
            Kind::Follows => wait + self.dice.between(5 * SECOND, 3 * MINUTE),
            Kind::Paces => self.life.access * 9 / 10,
            Kind::Hurries => self.life.access * 8 / 10 - 20 * SECOND,
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

    fn refused_thief(&mut self, n: usize, answer: &Reply) {
        let victim = self.thieves[n].victim;
        let end = self.gate.state(&self.browsers[victim].session);
        assert_eq!((answer.status, &*end.reason), (401, "reuse"), "{}", answer.text);
        self.catch(victim);
        self.browsers[victim].gone = true;
        self.sign_out(victim);
    }
}

const WINDOW: Millis = 30 * SECOND;
