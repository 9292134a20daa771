//! The path of a request, stage by stage.

use std::rc::Rc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;

use super::audience::{Asked, Audience};
use super::body::{Body, Content};
use super::cors::{self, Sharing};
use super::pages::{self, Look, Referrer};
use super::refusal::Refused;
use super::{Gateway, Snapshot};
use crate::auth::{DecidedBy, Renewal};
use crate::identity::{Caller, Why};
use crate::policy::{self, BearerPolicy, Matched, Permitted, Target};
use crate::request::{NormalRequest, Peer, Upload, UploadState};
use crate::telemetry::{Decision, Exchange};
use crate::upstream::{self, Facts, Outbound};

/// One request on its way: the snapshot it is pinned to, and the record of what becomes of it.
pub(super) struct Visit {
    pub(super) snapshot: Rc<Snapshot>,
    pub(super) exchange: Exchange,
    pub(super) audience: Audience,
    pub(super) asked: Asked,
    /// What a page in answer lets out of its address.
    pub(super) referrer: Referrer,
    /// Which other origins may read the answer, once the route is known.
    pub(super) sharing: Option<Sharing>,
    /// A refresh token that made the caller known, to be rotated when the answer is in hand.
    pub(super) renewal: Option<Renewal>,
}

impl Visit {
    /// How a page looks to whoever asked.
    pub(super) fn look(&self) -> Look<'_> {
        self.snapshot.pages().look(self.asked.languages(), self.referrer)
    }
}

/// A request's body as it comes from the client.
pub(super) type Arriving = Upload<Incoming>;

impl Gateway {
    /// Answers one request. What goes wrong is an answer too.
    pub async fn serve(&self, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let (head, incoming) = request.into_parts();
        let method = head.method.clone();
        let snapshot = self.pin();
        let upload = Upload::new(incoming, snapshot.upload_limits());
        let state = upload.state();
        let exchange = self.telemetry.exchange();
        let mut visit = Visit {
            snapshot,
            exchange,
            audience: Audience::Program,
            asked: Asked::default(),
            referrer: Referrer::default(),
            sharing: None,
            renewal: None,
        };
        visit.exchange.raw(&method, peer.address);
        visit.exchange.upload(state.clone());
        let mut answer = match self.answer(&mut visit, (head, peer), upload).await {
            Ok(answer) => answer,
            Err(refused) => self.refuse(&mut visit, &refused, &state),
        };
        if let Some(sharing) = &visit.sharing {
            sharing.write(answer.headers_mut());
        }
        visit.exchange.status(answer.status());
        answer.map(|content| Body::new(content, visit.exchange, &method))
    }

    async fn answer(
        &self,
        visit: &mut Visit,
        (head, peer): (Parts, Peer),
        upload: Arriving,
    ) -> Result<Response<Content>, Refused> {
        let request = NormalRequest::read(head, peer, visit.snapshot.reader())?;
        visit.exchange.request(&request);
        visit.audience = Audience::of(&request);
        visit.asked = Asked::of(&request);
        let matched = visit.snapshot.table().find(request).map_err(|(_, why)| why)?;
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
        self.renew(visit, &mut answer).await;
        Ok(answer)
    }

    async fn proxy(
        &self,
        visit: &mut Visit,
        matched: Matched,
        upload: Arriving,
    ) -> Result<Response<Content>, Refused> {
        let own_credential = self.owns_authorization(matched.request());
        let permitted = self.permit(visit, matched).await?;
        visit.exchange.decision(Decision::Permitted, "rule");
        let upload = upload.bounded(permitted.route().max_body);
        upload.check_declared()?;
        self.forward(visit, (permitted, own_credential), upload).await
    }

    /// Who asks, and whether that one may: the way from a match to the proof.
    async fn permit(&self, visit: &mut Visit, matched: Matched) -> Result<Permitted, Refused> {
        let (caller, by) = self.caller(visit, &matched).await?;
        visit.exchange.caller(&caller);
        let by_cookie = by == DecidedBy::Cookie && caller.identity().is_some();
        policy::authorise(matched, caller, by_cookie)
            .map_err(|(_, denied)| Refused::from(denied).realm(&visit.snapshot))
    }

    async fn caller(
        &self,
        visit: &mut Visit,
        matched: &Matched,
    ) -> Result<(Caller, DecidedBy), Refused> {
        if !matched.takes_identity() {
            return Ok((Caller::Anonymous(Why::NoCredential), DecidedBy::Nothing));
        }
        let found = self.authenticate(visit, matched.request()).await?;
        if found.foreign_bearer && matched.route().bearer == BearerPolicy::Ours {
            return Ok((Caller::Anonymous(Why::Invalid), DecidedBy::Bearer));
        }
        Ok((found.caller, found.by))
    }

    fn owns_authorization(&self, request: &NormalRequest) -> bool {
        let value = request.headers().get(header::AUTHORIZATION);
        value.is_some_and(|value| self.auth.owns(value.as_bytes()))
    }

    async fn forward(
        &self,
        visit: &mut Visit,
        (permitted, own_credential): (Permitted, bool),
        upload: Arriving,
    ) -> Result<Response<Content>, Refused> {
        let known = permitted.caller().identity();
        let profile = match known {
            Some(identity) if permitted.route().identity.wants_profile() => {
                Some(self.auth.profile(&self.profiles, identity.user).await?)
            }
            Some(_) | None => None,
        };
        // On a public route a reading may have made the caller known, and its tokens are renewed.
        let is_known = known.is_some() || visit.renewal.is_some();
        let facts = Facts {
            rules: visit.snapshot.header_rules(),
            profile: profile.as_deref(),
            request_id: visit.exchange.request_id().header_value(),
            own_credential,
        };
        if let Target::Upstream(upstream) = permitted.route().target
            && let Some(name) = visit.snapshot.upstream_name(upstream)
        {
            visit.exchange.upstream(name);
        }
        let state = upload.state();
        let outbound = Outbound::new(permitted, &facts)?;
        let answer = self.pools.send(outbound, upload).await;
        visit.exchange.upstream_answered();
        let mut answer = answer.map_err(|failure| Refused::upstream(&failure, &state))?;
        upstream::clean_answer(answer.headers_mut(), is_known);
        Ok(answer.map(Content::Upstream))
    }

    /// The answer of a refusal. A body that was not read to its end ends the connection.
    fn refuse(
        &self,
        visit: &mut Visit,
        refused: &Refused,
        state: &UploadState,
    ) -> Response<Content> {
        visit.exchange.decision(refused.decision(), refused.code());
        let mut answer = pages::refused(visit, refused);
        if refused.closes() || !state.is_whole() {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}
