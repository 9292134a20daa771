//! How a session begins, whatever proved who its user is.

use super::{Client, Parts, Predecessor, Tokens, device, lifetimes};
use crate::identity::SessionId;
use crate::secret;
use crate::session::{EndReason, Row, Transport};
use crate::store::{NewSession, User};
use crate::token::{KeyError, RefreshToken};

/// A session as it is wished for.
pub(super) struct Wish<'a> {
    pub(super) transport: Transport,
    pub(super) remember: bool,
    pub(super) device_name: Option<String>,
    pub(super) replaces: Option<SessionId>,
    pub(super) client: &'a Client,
}

impl Parts {
    /// A new session for a user, as the user stands, and its first token. Its access token is
    /// tried before anything is written: a login that cannot have one leaves nothing behind.
    pub(super) fn new_session(
        &self,
        user: &User,
        wish: Wish<'_>,
    ) -> Result<(NewSession, RefreshToken), KeyError> {
        self.try_token(user)?;
        let token = self.masters.first(SessionId::from_bytes(secret::random()));
        let (idle, absolute) = lifetimes(&self.sessions, wish.remember);
        let session = NewSession {
            session: token.session,
            user: user.id,
            password_epoch: user.password_epoch,
            transport: wish.transport,
            first: token.hash(),
            key: self.masters.active(),
            idle,
            absolute,
            remember: wish.remember,
            user_agent: wish.client.agent_kept(),
            agent_hash: wish.client.agent_hash(),
            network: wish.client.network(),
            device_name: wish.device_name.or_else(|| guess(wish.transport, wish.client)),
            replaces: wish.replaces,
            max_per_user: self.sessions.max_per_user,
        };
        Ok((session, token))
    }

    /// Who signed in before on the device that sends this cookie; to be asked before the epoch of
    /// the user's password moves.
    pub(super) fn predecessor(&self, device: Option<&str>, user: &User) -> Predecessor {
        let now = self.clock.now();
        match device {
            Some(cookie) if !device::is_of(&self.masters, cookie, Some(user), now) => {
                Predecessor::Another
            }
            Some(_) | None => Predecessor::SameOrNobody,
        }
    }

    /// The tokens of a session that began, with the password at this epoch; what had to end for it
    /// has ended for every worker too.
    pub(super) fn began(
        &self,
        (row, ended): (&Row, Vec<(SessionId, EndReason)>),
        token: &RefreshToken,
        epoch: u32,
    ) -> Result<Box<Tokens>, KeyError> {
        self.ended(ended);
        let mut tokens = self.tokens(row, token)?;
        if row.transport != Transport::Body {
            let user = (row.identity.user, epoch);
            tokens.device = Some(device::cookie(&self.masters, user, self.clock.now()));
        }
        Ok(Box::new(tokens))
    }
}

/// Of cookie sessions only: a name that repeats ends a never refreshed session of the other kinds,
/// and two programs could be taken for one.
fn guess(transport: Transport, client: &Client) -> Option<String> {
    let agent = client.agent.as_deref().filter(|_| transport == Transport::Cookie)?;
    device::device_name(agent, "on")
}
