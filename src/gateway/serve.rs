//! The path of a request, stage by stage.

use std::rc::Rc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;

use super::app_cookies::Owning;
use super::audience::{Asked, Audience};
use super::body::{Body, Content, tell_request_id, tell_unread, to_client};
use super::cors::{self, Sharing};
use super::fixed;
use super::open::Claim;
use super::pages::{self, Look, Referrer};
use super::refusal::{Refusal, Refused};
use super::upgrade::{self, Way};
use super::{Gateway, Snapshot};
use crate::auth::{DecidedBy, Renewal};
use crate::identity::{Caller, Why};
use crate::policy::{self, BearerPolicy, Matched, Permitted, Route, Target, Unmatched};
use crate::request::{FirstBytes, Malformed, NormalRequest, Peer, Upload, UploadState};
use crate::revocation::{Cut, Place, Standing};
use crate::telemetry::{Decision, Exchange};
use crate::upstream::{self, Facts, Keeper, Outbound, Profile, Returning};

/// One request on its way: the snapshot it is pinned to, and the record of what becomes of it.
pub(super) struct Visit {
    pub(super) snapshot: Rc<Snapshot>,
    pub(super) exchange: Box<Exchange>,
    pub(super) audience: Audience,
    pub(super) asked: Asked,
    /// What a page in answer lets out of its address.
    pub(super) referrer: Referrer,
    /// Which other origins may read the answer, once the route is known.
    pub(super) sharing: Option<Sharing>,
    /// Ends the connection, or the stream, that the request came by.
    pub(super) cut: Rc<Cut>,
    /// `sv` of what made the caller known.
    pub(super) version: u32,
    /// Among the open streams, once the request is permitted to a session.
    pub(super) place: Option<Place<Claim>>,
    /// A refresh token that made the caller known, to be rotated when the answer is in hand.
    pub(super) renewal: Option<Renewal>,
    /// The request itself ends its session, which must not cut its own answer.
    pub(super) leaving: bool,
}

impl Visit {
    /// Of a request of which nothing is known yet.
    pub(super) fn new(snapshot: Rc<Snapshot>, exchange: Box<Exchange>, cut: Rc<Cut>) -> Self {
        Self {
            snapshot,
            exchange,
            audience: Audience::Program,
            asked: Asked::default(),
            referrer: Referrer::default(),
            sharing: None,
            cut,
            version: 0,
            place: None,
            renewal: None,
            leaving: false,
        }
    }

    /// Who asks, and in which languages: known of a head that cannot be read otherwise, too.
    pub(super) fn sent_with(&mut self, head: &Parts) {
        self.audience = Audience::of(&head.method, &head.headers);
        self.asked = Asked::in_languages_of(&head.headers);
    }

    /// How a page looks to whoever asked.
    pub(super) fn look(&self) -> Look<'_> {
        self.snapshot.pages().look(self.asked.languages(), self.referrer)
    }
}

/// Who sends a request.
struct Asking {
    caller: Caller,
    by: DecidedBy,
    /// `Authorization` holds a credential of ours, valid or not.
    own_credential: bool,
}

/// A request's body as it comes from the client.
pub(super) type Arriving = Upload<Incoming>;

impl Gateway {
    /// Answers one request. What goes wrong is an answer too. The request and its answer are dropped
    /// when `cut` is made: the caller's session has ended, or what it was permitted is no more.
    pub fn serve(
        self: Rc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        cut: Rc<Cut>,
    ) -> impl Future<Output = Response<Body>> {
        // Read here, since the future would carry the head along.
        let (mut head, incoming) = request.into_parts();
        let (method, version) = (head.method.clone(), head.version);
        let snapshot = Rc::clone(&self.snapshot);
        let first = head.extensions.remove::<FirstBytes>();
        let upload = Upload::new(incoming, snapshot.upload_limits()).after(first);
        let upload = upload.with_end_told(head.version == Version::HTTP_2);
        let state = upload.state();
        let exchange = self.telemetry.exchange();
        let mut visit = Visit::new(snapshot, exchange, cut);
        let client = visit.snapshot.reader().trust.client(&head.headers, peer);
        visit.exchange.raw(&method, client);
        visit.exchange.version(version);
        visit.exchange.upload(state.clone());
        visit.sent_with(&head);
        let read = NormalRequest::read(head, peer, visit.snapshot.reader());
        async move {
            let answer = match read {
                Ok(request) => self.answer(&mut visit, (request, peer), upload).await,
                Err(malformed) => Err(malformed.into()),
            };
            let mut answer = match answer {
                Ok(answer) => answer,
                Err(refused) => self.refuse(&mut visit, &refused),
            };
            tell_unread(&mut answer, &state);
            if let Some(sharing) = &visit.sharing {
                sharing.write(answer.headers_mut());
            }
            if let Some(hsts) = visit.snapshot.hsts() {
                answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
            }
            tell_request_id(&mut answer, visit.exchange.request_id());
            visit.exchange.status(answer.status());
            to_client(answer, (visit.exchange, visit.place), &method)
        }
    }

    async fn answer(
        &self,
        visit: &mut Visit,
        (request, peer): (NormalRequest, Peer),
        upload: Arriving,
    ) -> Result<Response<Content>, Refused> {
        visit.exchange.request(&request);
        if request.is_forwarded_by_a_stranger() {
            self.telemetry.forwarded_by_a_stranger(peer.address);
        }
        visit.asked.of_request(&request);
        let is_by_connect = request.is_by_connect();
        let matched = visit.snapshot.table().find(request).map_err(|(request, why)| {
            // Not where the name of the handshake is another: browsers share connections.
            let host = request.host();
            if why == Unmatched::Misdirected && visit.snapshot.reader().served.own(host).is_none() {
                self.telemetry.asked_for_another_host(peer.address, host);
            }
            why
        })?;
        visit.exchange.route(matched.route());
        if let Some(answer) = cors::preflight(&matched) {
            visit.exchange.decision(Decision::Own, "preflight");
            return Ok(answer);
        }
        visit.sharing = Sharing::of(&matched);
        let mut answer = match matched.into_endpoint() {
            // Rare and large: in a box, so that what every request carries along stays small.
            Ok((endpoint, request)) => {
                Box::pin(self.endpoint(visit, (endpoint, request), upload)).await?
            }
            Err(matched) => {
                visit.asked.of_route(matched.route().on_denied);
                self.proxy(visit, matched, upload).await?
            }
        };
        if is_by_connect {
            upgrade::check_success(&answer)?;
        }
        self.renew(visit, &mut answer).await;
        Ok(answer)
    }

    async fn proxy(
        &self,
        visit: &mut Visit,
        matched: Matched,
        upload: Arriving,
    ) -> Result<Response<Content>, Refused> {
        let (permitted, own_credential) = self.permit(visit, matched).await?;
        visit.exchange.decision(Decision::Permitted, "rule");
        let upload = upload.bounded(permitted.route().max_body);
        upload.check_declared()?;
        match permitted.session_to_end() {
            None => self.forward(visit, (permitted, own_credential), upload).await,
            // It would outlive its session, and nothing could cut it.
            Some(_) if upgrade::wanted(&permitted, has_body(&upload))?.is_some() => {
                Err(Malformed::Bad("a request that signs out opens no tunnel").into())
            }
            Some(session) => {
                let sent = (permitted, own_credential);
                Box::pin(self.forward_logout((visit, session), sent, upload)).await
            }
        }
    }

    /// Who asks, and whether that one may: the way from a match to the proof.
    /// With it, whether the credential in `Authorization` is ours.
    async fn permit(
        &self,
        visit: &mut Visit,
        matched: Matched,
    ) -> Result<(Permitted, bool), Refused> {
        let Asking { caller, by, own_credential } = self.caller(visit, &matched).await?;
        visit.exchange.caller(&caller);
        let by_cookie = by == DecidedBy::Cookie && caller.identity().is_some();
        policy::authorise(matched, caller, by_cookie)
            .map(|permitted| (permitted, own_credential))
            .map_err(|(_, denied)| Refused::from(denied).realm(&visit.snapshot))
    }

    async fn caller(&self, visit: &mut Visit, matched: &Matched) -> Result<Asking, Refused> {
        let request = matched.request();
        if !matched.takes_identity() {
            let caller = Caller::Anonymous(Why::NoCredential);
            let own_credential = self.owns_authorization(request);
            return Ok(Asking { caller, by: DecidedBy::Nothing, own_credential });
        }
        let found = self.authenticate(visit, request).await?;
        let own_credential = found.is_by_bearer() || self.owns_authorization(request);
        if found.foreign_bearer && matched.route().bearer == BearerPolicy::Ours {
            let caller = Caller::Anonymous(Why::Invalid);
            return Ok(Asking { caller, by: DecidedBy::Bearer, own_credential });
        }
        visit.version = found.verified.as_ref().map_or(0, |verified| verified.version);
        Ok(Asking { caller: found.caller, by: found.by, own_credential })
    }

    fn owns_authorization(&self, request: &NormalRequest) -> bool {
        let value = request.headers().get(header::AUTHORIZATION);
        value.is_some_and(|value| self.auth.owns(value.as_bytes()))
    }

    pub(super) async fn forward(
        &self,
        visit: &mut Visit,
        sent: (Permitted, bool),
        upload: Arriving,
    ) -> Result<Response<Content>, Refused> {
        let ((permitted, own_credential), profile) = self.with_profile(visit, sent).await?;
        // On a public route a reading may have made the caller known, and its tokens are renewed.
        let is_known = permitted.caller().identity().is_some() || visit.renewal.is_some();
        let keeper = Keeper::of(permitted.route().cache, is_known);
        let permitted = match fixed::answer(permitted, keeper) {
            Ok(answer) => return Ok(answer),
            Err(permitted) => permitted,
        };
        name_upstream(visit, permitted.route());
        let owning = self.owning(visit, &permitted);
        let request_id = visit.exchange.request_id();
        let facts = Facts {
            rules: visit.snapshot.header_rules(),
            profile: profile.as_deref(),
            request_id: request_id.as_str(),
            trace: visit.exchange.begun_trace(),
            own_credential,
            assertion: self.assertion(visit, &permitted)?,
            withheld: owning.as_deref().map_or(&[], Owning::withheld),
        };
        let state = upload.state();
        let returning = Returning::of(&permitted);
        let upgrade = upgrade::wanted(&permitted, has_body(&upload))?;
        let way = Way::of(permitted.request());
        let (outbound, request, caller) = Outbound::split(permitted, &facts)?;
        self.open(visit, (request, caller))?;
        let protocol = upgrade.as_ref().map(|upgrade| upgrade.protocol().clone());
        let outbound = match upgrade {
            Some(upgrade) => outbound.upgrading(upgrade),
            None => outbound,
        };
        // In a box, since each stage above would carry it along, and move it.
        let answer = Box::pin(self.pools.send(outbound, upload)).await;
        visit.exchange.upstream_answered();
        let mut answer = answer.map_err(|failure| unanswered(visit, &failure, &state))?;
        let demanded = upgrade::demanded(&answer);
        upstream::clean_answer(answer.headers_mut(), keeper);
        returning.rewrite(answer.headers_mut(), visit.snapshot.header_rules(), keeper);
        if answer.headers().contains_key(header::SET_COOKIE) {
            self.note_cookies(visit, (owning, returning.route()), (answer.headers_mut(), keeper));
        }
        if let (Some(protocol), Some(tunnel)) = (protocol, answer.body_mut().take_tunnel()) {
            upgrade::tell(&mut answer, way, protocol);
            return Ok(answer.map(|_none| Content::Tunnel(tunnel)));
        }
        if let Some(protocol) = demanded {
            upgrade::tell(&mut answer, Way::Connection, protocol);
        }
        answer.body().read_by(&visit.cut, &self.telemetry);
        Ok(answer.map(Content::Upstream))
    }

    /// With the caller's profile, and by the roles of now: where these change meanwhile a cookie is
    /// asked again, since a browser is renewed within its request.
    async fn with_profile(
        &self,
        visit: &mut Visit,
        mut sent: (Permitted, bool),
    ) -> Result<((Permitted, bool), Option<Rc<Profile>>), Refused> {
        for _ in 0..MOST_CHANGES {
            let profile = self.profile(&sent.0).await?;
            if visit.leaving || !self.is_stale(visit, sent.0.caller()) {
                return Ok((sent, profile));
            }
            if !sent.0.is_by_cookie() {
                break;
            }
            let (request, ..) = sent.0.into_parts();
            let matched = visit.snapshot.table().find(request).map_err(|(_, why)| why)?;
            sent = Box::pin(self.permit(visit, matched)).await?;
        }
        Err(Refused::from(Refusal::TokenExpired).realm(&visit.snapshot))
    }

    fn is_stale(&self, visit: &Visit, caller: &Caller) -> bool {
        let standing = |session| self.auth.revocations().standing(session, visit.version);
        caller.identity().is_some_and(|known| standing(known.session) == Standing::Stale)
    }

    /// Name and e-mail of the caller, where the application is told them.
    async fn profile(&self, permitted: &Permitted) -> Result<Option<Rc<Profile>>, Refused> {
        match permitted.caller().identity() {
            Some(identity) if permitted.route().identity.wants_profile() => {
                Ok(Some(self.auth.profile(&self.profiles, identity.user).await?))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Who the caller is, signed for the application, where that is what it is told.
    fn assertion(
        &self,
        visit: &Visit,
        permitted: &Permitted,
    ) -> Result<Option<HeaderValue>, Refused> {
        let route = permitted.route();
        let (Some(identity), Target::Upstream(upstream), false) =
            (permitted.caller().identity(), &route.target, route.identity.assertion.is_empty())
        else {
            return Ok(None);
        };
        let audience = visit.snapshot.upstream_name(*upstream).ok_or(Refusal::Internal)?;
        let text = self.auth.assertion(identity, audience)?;
        let mut value = HeaderValue::try_from(text).map_err(|_raw| Refusal::Internal)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The answer of a refusal.
    pub(super) fn refuse(&self, visit: &mut Visit, refused: &Refused) -> Response<Content> {
        visit.exchange.decision(refused.decision(), refused.code());
        let mut answer = pages::refused(visit, refused);
        if refused.closes() {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// Why there is no answer, for the operator; the client is told no cause.
fn unanswered(visit: &mut Visit, failure: &upstream::Failure, state: &UploadState) -> Refused {
    // Whoever does not read on, or sends no further: it need not be the application that is slow.
    if *failure == upstream::Failure::TimedOut && !state.is_whole() {
        visit.exchange.upstream_failed("upload", "timed out while the upload went on");
    } else if let Some(kind) = failure.kind() {
        visit.exchange.upstream_failed(kind, &failure.to_string());
    }
    Refused::upstream(failure, state)
}

/// For the record of the exchange.
fn name_upstream(visit: &mut Visit, route: &Route) {
    if let Target::Upstream(upstream) = route.target
        && let Some(name) = visit.snapshot.upstream_name(upstream)
    {
        visit.exchange.upstream(name);
    }
}

/// Changes of roles that a request lives through on its way: nobody makes as many by hand.
const MOST_CHANGES: usize = 4;

fn has_body(upload: &Arriving) -> bool {
    !http_body::Body::is_end_stream(upload)
}
