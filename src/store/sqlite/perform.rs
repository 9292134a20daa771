//! Operations run, and their answers held until the commit.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{endings, lifetimes, renewal, rotation, schema, sessions, users};
use crate::clock::{Clock, Timestamp};
use crate::revocation::Revocations;
use crate::store::operation::{Op, Read, Reply, Write};
use crate::store::{Revocation, Unavailable};

/// An answer that waits to hear whether its transaction is durable.
pub(super) type Held = Box<dyn FnOnce(&Result<(), Unavailable>)>;

/// Runs operations in one transaction, commits, makes endings true, then answers: all of them, or
/// that none happened.
pub(super) fn group(
    database: &mut Connection,
    operations: Vec<Op>,
    (clock, ended): (&Clock, &Revocations),
) {
    let transaction = database
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|error| unavailable(&error));
    // Not before: the lock of another process may have been waited for.
    let now = clock.now();
    let mut group = Group { transaction, held: Vec::with_capacity(operations.len()), now };
    for operation in operations {
        match operation {
            Op::Read(read) => group.read(read),
            Op::Write(write) => group.write(write),
        }
    }
    group.finish(ended);
}

/// Runs a question and holds its answer.
pub(super) fn read(database: &Connection, read: Read, now: Timestamp) -> Held {
    match read {
        Read::User(name, reply) => hold(reply, told(users::by_name(database, &name))),
        Read::UserById(id, reply) => hold(reply, told(users::by_id(database, id))),
        Read::Applicant(name, network, reply) => {
            hold(reply, told(users::applicant(database, &name, network.as_deref(), now)))
        }
        Read::WasUser(name, reply) => hold(reply, told(users::was(database, &name))),
        Read::Taken(names, reply) => hold(reply, told(users::taken(database, names))),
        Read::Link(hash, reply) => hold(reply, told(renewal::user_of(database, &hash, now))),
        Read::Users(reply) => hold(reply, told(users::all(database))),
        Read::HasUsers(reply) => hold(reply, told(users::any(database))),
        Read::Session(session, reply) => hold(reply, told(sessions::row(database, session))),
        Read::LiveSessions(reply) => hold(reply, told(sessions::count(database, now))),
        Read::Sessions(user, reply) => hold(reply, told(sessions::live(database, user, now))),
        Read::Revocations(reply) => hold(reply, told(endings::revocations(database))),
    }
}

/// Operations that share a transaction; Err: why there is none (any more).
struct Group<'d> {
    transaction: Result<Transaction<'d>, Unavailable>,
    held: Vec<Held>,
    now: Timestamp,
}

impl Group<'_> {
    fn read(&mut self, question: Read) {
        if let Ok(transaction) = &self.transaction {
            self.held.push(read(transaction, question, self.now));
        }
    }

    fn write(&mut self, write: Write) {
        let now = self.now;
        match write {
            Write::AddUser(user, reply) => self.run(reply, |db| users::add(db, &user, now)),
            Write::AddUsers(users, reply) => {
                self.run(reply, |db| users::add_all(db, &users, now));
            }
            Write::Invite(user, link, reply) => {
                self.run(reply, |db| renewal::invite(db, &user, &link, now));
            }
            Write::AddLink(link, reply) => self.run(reply, |db| renewal::add_link(db, &link)),
            Write::Renew(ask, reply) => self.run(reply, |db| renewal::renew(db, *ask, now)),
            Write::SetPassword(user, hash, reply) => {
                self.run(reply, |db| users::set_password(db, user, &hash, now));
            }
            Write::Rehash { user, old, new, reply } => {
                self.run(reply, |db| users::rehash(db, user, &old, &new));
            }
            Write::SetRoles(user, roles, reply) => {
                self.run(reply, |db| users::set_roles(db, user, roles, now));
            }
            Write::SetProfile { user, name, email, reply } => {
                self.run(reply, |db| users::set_profile(db, user, (name, email), now));
            }
            Write::SetDisabled(user, true, reply) => {
                self.run(reply, |db| users::disable(db, user, now));
            }
            Write::SetDisabled(user, false, reply) => self.run(reply, |db| users::enable(db, user)),
            Write::DeleteUser { user, free_name, reply } => {
                self.run(reply, |db| users::delete(db, user, free_name, now));
            }
            Write::Begin(new, reply) => self.run(reply, |db| sessions::begin(db, &new, now)),
            Write::Rotate(ask, reply) => self.run(reply, |db| rotation::rotate(db, &ask, now)),
            Write::Confirm(seen, window) => {
                drop(self.attempt(|db| rotation::confirm(db, &seen, window)));
            }
            Write::Touch(seen) => drop(self.attempt(|db| lifetimes::touch(db, &seen))),
            Write::Shorten(to, reply) => self.run(reply, |db| lifetimes::shorten(db, to)),
            Write::End(session, reason, reply) => {
                self.owe(reply, |db| endings::end(db, session, reason, now));
            }
            Write::EndAll(user, but, reply) => {
                self.owe(reply, |db| endings::end_all(db, user, but, now));
            }
            Write::NameDevice(session, name, reply) => {
                self.run(reply, |db| sessions::name_device(db, session, &name));
            }
            Write::TakeStanding { user, change, keep, reply } => {
                self.run(reply, |db| users::take_standing(db, user, (change, &keep), now));
            }
            Write::Sweep(reply) => self.run(reply, |db| endings::sweep(db, now)),
            Write::Ping(reply) => self.run(reply, |_| Ok(())),
            Write::Trial(reply) => self.run(reply, schema::write_again),
        }
    }

    /// Skips what nobody waits for any more: a client that left causes no rotation.
    fn run<T: 'static>(
        &mut self,
        reply: Reply<T>,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) {
        if !reply.is_closed() {
            self.owe(reply, change);
        }
    }

    /// Runs it in any case: whoever asked for an ending gets it.
    fn owe<T: 'static>(
        &mut self,
        reply: Reply<T>,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) {
        let answer = self.attempt(change);
        self.held.push(hold(reply, answer));
    }

    fn attempt<T>(
        &mut self,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Unavailable> {
        let answer = match &mut self.transaction {
            Ok(transaction) => told(apart(transaction, change)),
            Err(lost) => Err(lost.clone()),
        };
        // A full disk or a failing one can undo the whole transaction; what came after would then
        // be committed one by one, and what came before be reported as done.
        if let (Ok(transaction), Err(cause)) = (&self.transaction, &answer)
            && transaction.is_autocommit()
        {
            self.transaction = Err(cause.clone());
        }
        answer
    }

    fn finish(self, ended: &Revocations) {
        let committed = self.transaction.and_then(|transaction| {
            let news = told(endings::recorded_at(&transaction, self.now))?;
            told(transaction.commit())?;
            for Revocation { session, below, expires } in news {
                ended.learn(session, below, expires);
            }
            Ok(())
        });
        for answer in self.held {
            answer(&committed);
        }
    }
}

/// Runs a change so that, failing, it leaves nothing of itself to the others of its group.
fn apart<T>(
    transaction: &mut Transaction<'_>,
    change: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let savepoint = transaction.savepoint()?;
    let outcome = change(&savepoint)?;
    savepoint.commit()?;
    Ok(outcome)
}

fn hold<T: 'static>(reply: Reply<T>, answer: Result<T, Unavailable>) -> Held {
    Box::new(move |committed| reply.send(committed.clone().and(answer)))
}

fn told<T>(outcome: rusqlite::Result<T>) -> Result<T, Unavailable> {
    outcome.map_err(|error| unavailable(&error))
}

fn unavailable(error: &rusqlite::Error) -> Unavailable {
    Unavailable(error.to_string())
}
