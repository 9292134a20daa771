//! Browsers before one gateway, moment by moment: whatever happens next happens, and the clock of
//! the gateway moves to it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use super::Millis;
use super::dice::Dice;
use super::gate::{Ask, Gate, Held, Id, Reply, Seat, State};
use super::jar::Jar;
use super::thief::{Kind, Thief};

pub const SECOND: Millis = 1000;
pub const MINUTE: Millis = 60 * SECOND;
pub const HOUR: Millis = 60 * MINUTE;
pub const DAY: Millis = 24 * HOUR;

/// How the people of a world behave.
#[derive(Debug, Clone, Copy)]
pub struct Life {
    pub seed: u64,
    pub browsers: usize,
    pub length: Millis,
    /// Answers that are lost on their way, of a thousand.
    pub lost: u64,
    /// Whether the lids of the laptops are ever closed.
    pub sleeps: bool,
    /// Mean time between two pages of a reader.
    pub reads: Millis,
    /// Longest life of an access token.
    pub access: Millis,
    /// Longest way to or from the gateway.
    pub way: Millis,
    /// Whether whole networks break down for minutes: requests get out, and no reply comes in.
    pub outages: bool,
}

/// What a tab is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Pages with their files, read for minutes, sometimes reloaded in haste, sometimes slow.
    Reads,
    /// A program that asks again and again, and refreshes when it starts.
    Calls,
    /// A program that always has a question open.
    Polls,
    /// A program that asks every few seconds, so that tokens are renewed at the earliest moment.
    Ticks,
}

#[derive(Debug)]
struct Tab {
    habit: Habit,
    /// What the tab did before it was woken is of no concern to it.
    life: u32,
}

#[derive(Debug)]
pub struct Browser {
    pub seat: Seat,
    pub jar: Jar,
    pub session: String,
    pub signed_in: bool,
    /// Nobody sits there any more.
    pub gone: bool,
    remember: bool,
    awake: bool,
    /// No reply comes in until then.
    deaf_until: Millis,
    woke: Millis,
    tabs: Vec<Tab>,
    since: Millis,
    /// Counts logins: what was asked in an earlier session is of no concern to a later one.
    login: u32,
}

/// A tab, in one of its lives, in one session.
#[derive(Debug, Clone, Copy)]
struct Who {
    browser: usize,
    tab: usize,
    life: u32,
    login: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// What the tab waits for before it goes on.
    Main,
    /// The page of a program, which refreshes as soon as it runs.
    Start,
    /// The files of a page, and what a program refreshes by the way.
    Aside,
}

#[derive(Debug)]
enum Event {
    Act(Who),
    /// Requests come to the gateway, all at once.
    Arrive(Who, Purpose, Vec<Ask>),
    /// A request comes whose answer takes so long.
    ArriveSlow(Who, Jar, Millis),
    /// Somebody hits reload so many times more, and has a request open.
    Reload(Who, u32, Option<Id>),
    Release(Who, Id),
    Reply(Who, Purpose, Reply),
    Lost(Who),
    Sleep(usize),
    Wake(usize),
    Outage(usize),
    Thief(usize),
}

/// Sums over a world.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub session_millis: Millis,
    pub logins: u64,
    pub ends: u64,
    pub requests: u64,
    pub lost: u64,
    pub slow: u64,
    pub aborted: u64,
    pub sleeps: u64,
    pub renewals: u64,
    pub faults: Vec<String>,
}

pub struct World {
    pub gate: Box<dyn Gate>,
    pub dice: Dice,
    pub browsers: Vec<Browser>,
    pub thieves: Vec<Thief>,
    pub tally: Tally,
    pub life: Life,
    start: Millis,
    events: BTreeMap<(Millis, u64), Event>,
    next: u64,
}

impl World {
    pub fn new(life: Life, gate: Box<dyn Gate>) -> Self {
        let mut dice = Dice::new(life.seed);
        let start = gate.now();
        let browsers = (0..life.browsers).map(|n| Browser::new(n, &mut dice, start)).collect();
        let mut world = Self {
            gate,
            dice,
            browsers,
            thieves: Vec::new(),
            tally: Tally::default(),
            life,
            start,
            events: BTreeMap::new(),
            next: 0,
        };
        for browser in 0..life.browsers {
            world.wake(browser);
            if life.outages {
                world.outage(browser);
            }
        }
        world
    }

    /// Has the cookies of a browser stolen in its first hour, to be used as that kind of thief does.
    pub fn rob(&mut self, victim: usize, kind: Kind, seat: Seat) {
        self.thieves.push(Thief::new(victim, kind, seat));
        let wait = self.dice.between(10 * MINUTE, HOUR);
        self.after(wait, Event::Thief(self.thieves.len() - 1));
    }

    /// Leaves a browser nothing but programs, which renew as regularly as any thief.
    pub fn make_regular(&mut self, browser: usize) {
        self.browsers[browser].tabs.iter_mut().for_each(|tab| tab.habit = Habit::Ticks);
    }

    pub fn run(&mut self) {
        let end = self.start + self.life.length;
        while let Some(((moment, _), event)) = self.events.pop_first() {
            if moment >= end {
                break;
            }
            self.gate.advance_to(moment);
            self.happen(event);
        }
        self.gate.advance_to(end);
        for n in 0..self.browsers.len() {
            self.sign_out(n);
        }
        self.tally.requests = self.gate.requests();
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Act(who) if self.is_live(who) => self.act(who),
            Event::Arrive(who, purpose, asks) if self.is_of_session(who) => {
                let answers = self.gate.ask_all(&self.browsers[who.browser].seat, &asks);
                answers.into_iter().for_each(|answer| self.answered(who, purpose, answer));
            }
            Event::ArriveSlow(who, jar, takes) if self.is_of_session(who) => {
                if let Some(id) = self.hold(who, &jar) {
                    self.tally.slow += 1;
                    self.after(takes, Event::Release(who, id));
                }
            }
            Event::Reload(who, left, open) => self.reload(who, left, open),
            Event::Release(who, id) => {
                if let Some(answer) = self.gate.let_go(id)
                    && self.is_of_session(who)
                {
                    self.answered(who, Purpose::Main, answer);
                }
            }
            Event::Reply(who, purpose, answer) if self.is_live(who) => {
                self.reply(who, purpose, answer);
            }
            Event::Lost(who) if self.is_live(who) => self.act(who),
            Event::Sleep(browser) => self.sleep(browser),
            Event::Wake(browser) => self.wake(browser),
            Event::Outage(browser) => self.outage(browser),
            Event::Thief(thief) => self.thieve(thief),
            Event::Act(_)
            | Event::Arrive(..)
            | Event::ArriveSlow(..)
            | Event::Reply(..)
            | Event::Lost(_) => {}
        }
    }

    fn after(&mut self, wait: Millis, event: Event) {
        self.next += 1;
        self.events.insert((self.gate.now() + wait, self.next), event);
    }

    pub fn thief_after(&mut self, wait: Millis, thief: usize) {
        self.after(wait, Event::Thief(thief));
    }

    /// The tab still waits for what it asked.
    fn is_live(&self, who: Who) -> bool {
        let browser = &self.browsers[who.browser];
        browser.awake && browser.tabs[who.tab].life == who.life && self.is_of_session(who)
    }

    fn is_of_session(&self, who: Who) -> bool {
        let browser = &self.browsers[who.browser];
        !browser.gone && browser.login == who.login
    }

    fn who(&self, browser: usize, tab: usize) -> Who {
        let it = &self.browsers[browser];
        Who { browser, tab, life: it.tabs[tab].life, login: it.login }
    }

    // What people and programs do.

    fn act(&mut self, who: Who) {
        let habit = self.browsers[who.browser].tabs[who.tab].habit;
        match habit {
            Habit::Reads if self.dice.chance(40) => {
                let left = self.dice.between(2, 5) as u32;
                self.after(0, Event::Reload(who, left, None));
            }
            Habit::Reads | Habit::Calls if self.dice.chance(40) => {
                let longest = if self.dice.chance(150) { 40 * MINUTE } else { 3 * MINUTE };
                let takes = self.dice.between(SECOND, longest);
                self.send_slow(who, takes);
            }
            Habit::Reads | Habit::Ticks => self.send(who, Purpose::Main, vec![self.page(who)]),
            Habit::Calls if self.is_starting(who.browser) || self.dice.chance(60) => {
                self.send(who, Purpose::Start, vec![self.page(who)]);
            }
            Habit::Calls => {
                let count = self.dice.between(1, 3) as usize;
                self.send(who, Purpose::Aside, vec![self.page(who); count]);
                self.send(who, Purpose::Main, vec![self.page(who)]);
            }
            Habit::Polls => {
                let takes = self.dice.between(20 * SECOND, 5 * MINUTE);
                self.send_slow(who, takes);
            }
        }
    }

    /// What a browser has thrown out of memory begins anew when the lid opens.
    fn is_starting(&mut self, browser: usize) -> bool {
        self.has_just_woken(browser) && self.dice.chance(600)
    }

    fn has_just_woken(&self, browser: usize) -> bool {
        self.gate.now() - self.browsers[browser].woke < 5 * SECOND
    }

    fn jar(&self, who: Who) -> Jar {
        self.browsers[who.browser].jar.clone()
    }

    fn page(&self, who: Who) -> Ask {
        Ask::Page(self.jar(who))
    }

    /// Cookies are read now; the gateway gets them when the network has carried them.
    fn send(&mut self, who: Who, purpose: Purpose, asks: Vec<Ask>) {
        let way = self.way(who);
        self.after(way, Event::Arrive(who, purpose, asks));
    }

    fn send_slow(&mut self, who: Who, takes: Millis) {
        let (way, jar) = (self.way(who), self.jar(who));
        self.after(way, Event::ArriveSlow(who, jar, takes));
    }

    fn hold(&mut self, who: Who, jar: &Jar) -> Option<Id> {
        match self.gate.hold(&self.browsers[who.browser].seat, jar) {
            Held::Waiting(id) => Some(id),
            Held::Answered(answer) => {
                self.answered(who, Purpose::Main, answer);
                None
            }
        }
    }

    /// The network: mostly quick, now and then not, least of all where a lid was just opened.
    fn way(&mut self, who: Who) -> Millis {
        let slow = if self.has_just_woken(who.browser) { 250 } else { 20 };
        if self.dice.chance(slow) {
            self.dice.between(500, self.life.way)
        } else {
            self.dice.between(5, 200)
        }
    }

    fn reload(&mut self, who: Who, left: u32, open: Option<Id>) {
        if let Some(id) = open {
            self.tally.aborted += 1;
            self.gate.abort(id);
        }
        if !self.is_live(who) {
            return;
        }
        if left == 0 {
            return self.send(who, Purpose::Main, vec![self.page(who)]);
        }
        let open = self.hold(who, &self.jar(who));
        let wait = self.dice.between(80, 900);
        self.after(wait, Event::Reload(who, left - 1, open));
    }

    fn reply(&mut self, who: Who, purpose: Purpose, answer: Reply) {
        self.browsers[who.browser].jar.take(answer.pair);
        match purpose {
            Purpose::Aside => return,
            Purpose::Start => {
                let refresh = Ask::Refresh(self.jar(who));
                return self.send(who, Purpose::Main, vec![refresh]);
            }
            Purpose::Main => {}
        }
        let habit = self.browsers[who.browser].tabs[who.tab].habit;
        if habit == Habit::Reads {
            let files = self.dice.between(1, 4) as usize;
            self.send(who, Purpose::Aside, vec![self.page(who); files]);
        }
        let wait = match habit {
            Habit::Reads => self.dice.wait(self.life.reads),
            Habit::Calls => self.dice.between(self.life.reads / 8, self.life.reads * 3 / 2),
            Habit::Polls => self.dice.between(1, 50),
            Habit::Ticks => self.dice.between(5 * SECOND, 25 * SECOND),
        };
        self.after(wait + 1, Event::Act(who));
    }

    fn sleep(&mut self, browser: usize) {
        self.browsers[browser].awake = false;
        self.tally.sleeps += 1;
        let short = self.dice.chance(500);
        let nap = if short { self.dice.wait(15 * MINUTE) } else { self.dice.wait(7 * HOUR) };
        self.after(nap.min(11 * HOUR) + 5 * SECOND, Event::Wake(browser));
    }

    fn outage(&mut self, browser: usize) {
        let (now, lasts) = (self.gate.now(), self.dice.wait(5 * MINUTE));
        self.browsers[browser].deaf_until = now + lasts;
        let next = lasts + self.dice.wait(3 * HOUR);
        self.after(next, Event::Outage(browser));
    }

    /// The lid opens, or the browser starts: every tab wants everything at once.
    fn wake(&mut self, browser: usize) {
        let now = self.gate.now();
        (self.browsers[browser].awake, self.browsers[browser].woke) = (true, now);
        self.restart_tabs(browser);
        if self.life.sleeps {
            let wait = self.dice.between(10 * MINUTE, 3 * HOUR);
            self.after(wait, Event::Sleep(browser));
        }
    }

    fn restart_tabs(&mut self, browser: usize) {
        if self.browsers[browser].gone {
            return;
        }
        if !self.browsers[browser].signed_in {
            self.sign_in(browser);
        }
        for tab in 0..self.browsers[browser].tabs.len() {
            self.browsers[browser].tabs[tab].life += 1;
            let (wait, who) = (self.dice.between(0, 3 * SECOND), self.who(browser, tab));
            self.after(wait, Event::Act(who));
        }
    }

    fn sign_in(&mut self, n: usize) {
        let now = self.gate.now();
        let browser = &mut self.browsers[n];
        let (session, pair) = self.gate.log_in(&browser.seat, n, browser.remember);
        browser.jar.take(Some(pair));
        browser.session = session;
        (browser.signed_in, browser.since) = (true, now);
        browser.login += 1;
        self.tally.logins += 1;
    }

    pub fn sign_out(&mut self, n: usize) {
        let browser = &mut self.browsers[n];
        if std::mem::take(&mut browser.signed_in) {
            self.tally.session_millis += self.gate.now() - browser.since;
        }
        browser.login += 1;
    }

    // What the gateway says.

    /// Judges an answer as the gateway gave it, and sends it on its way.
    fn answered(&mut self, who: Who, purpose: Purpose, answer: Reply) {
        if !self.is_of_session(who) {
            return;
        }
        if answer.pair.is_some() {
            self.tally.renewals += 1;
            self.owner_renews(who.browser);
        }
        if answer.status != 200 {
            return self.refused(who.browser, &answer);
        }
        let is_deaf = self.gate.now() < self.browsers[who.browser].deaf_until;
        if self.dice.chance(self.life.lost) || is_deaf {
            self.tally.lost += 1;
            if purpose != Purpose::Aside {
                let soon = self.dice.chance(500);
                let longest = if soon { 20 * SECOND } else { 30 * MINUTE };
                let wait = self.dice.between(SECOND, longest);
                self.after(wait, Event::Lost(who));
            }
            return;
        }
        let way = self.way(who);
        self.after(way, Event::Reply(who, purpose, answer));
    }

    fn refused(&mut self, n: usize, answer: &Reply) {
        let end = self.gate.state(&self.browsers[n].session);
        match &*end.reason {
            "reuse" if self.catch(n) => {
                self.browsers[n].gone = true;
                return self.sign_out(n);
            }
            "" if end.passed && answer.status == 401 && self.is_old(n) => self.tally.ends += 1,
            _ => self.fault(n, answer, &end),
        }
        self.sign_out(n);
        if self.browsers[n].awake {
            self.restart_tabs(n);
        }
    }

    /// Nobody's session ends for its age alone before it is as old as the shortest idle life.
    fn is_old(&self, n: usize) -> bool {
        let browser = &self.browsers[n];
        !browser.remember && self.gate.now() - browser.since >= 12 * HOUR
    }

    fn fault(&mut self, n: usize, answer: &Reply, end: &State) {
        let hour = (self.gate.now() - self.start) as f64 / HOUR as f64;
        let fault = format!(
            "seed {}: browser {n}, signed in for {} s, at hour {hour:.3}: {} {end}: {}",
            self.life.seed,
            (self.gate.now() - self.browsers[n].since) / SECOND,
            answer.status,
            answer.text,
        );
        println!("{fault}\n{}", self.gate.trail(&self.browsers[n].session));
        self.tally.faults.push(fault);
    }
}

impl Browser {
    fn new(n: usize, dice: &mut Dice, now: Millis) -> Self {
        let mut tabs = vec![Habit::Reads, Habit::Calls];
        if n.is_multiple_of(3) {
            tabs.push(Habit::Polls);
        }
        if dice.chance(500) {
            tabs.extend([Habit::Reads, Habit::Calls]);
        }
        let [_, _, high, low] = u32::try_from(n).unwrap().to_be_bytes();
        Self {
            seat: Seat {
                address: Ipv4Addr::new(127, 1 + high, low, 1),
                agent: format!("Browser {n}"),
            },
            jar: Jar::default(),
            session: String::new(),
            signed_in: false,
            gone: false,
            remember: dice.chance(500),
            awake: false,
            deaf_until: 0,
            woke: now,
            tabs: tabs.into_iter().map(|habit| Tab { habit, life: 0 }).collect(),
            since: now,
            login: 0,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.session_millis as f64 / DAY as f64;
        writeln!(f, "  session-days      {days:>10.1}")?;
        for (name, value) in [
            ("requests", self.requests),
            ("  renewed", self.renewals),
            ("  slow or polls", self.slow),
            ("  left by client", self.aborted),
            ("replies lost", self.lost),
            ("lids closed", self.sleeps),
            ("logins", self.logins),
            ("lived to their end", self.ends),
        ] {
            writeln!(f, "  {name:<18}{value:>10}")?;
        }
        let faults = self.faults.len();
        let rate = faults as f64 * 1000.0 / days;
        write!(f, "  false logouts     {faults:>10}  ({rate:.1} per 1,000 session-days)")
    }
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.session_millis += other.session_millis;
        self.logins += other.logins;
        self.ends += other.ends;
        self.requests += other.requests;
        self.lost += other.lost;
        self.slow += other.slow;
        self.aborted += other.aborted;
        self.sleeps += other.sleeps;
        self.renewals += other.renewals;
        self.faults.extend(other.faults.iter().cloned());
    }
}
