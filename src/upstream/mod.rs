//! Carries a [`Permitted`](crate::policy::Permitted) request to its upstream and the answer back.
//!
//! Nothing here takes any other request: forwarding without authorising does not compile. An
//! exchange drives its upstream connection itself, within the task of the client's connection:
//! what drops the exchange drops both. A connection is used again only after a clean end.

mod addresses;
mod answer;
mod balance;
mod body;
mod clean;
mod debt;
mod exchange;
mod group;
mod headers;
mod health;
mod link;
mod location;
mod outbound;
mod pool;
mod pools;
mod queue;
mod resolve;
mod returning;
mod sending;
mod sent;
mod socket;
mod standing;
mod stream;
mod streams;
mod terms;
mod tls;
mod trailers;
mod upgraded;
mod uploads;
mod values;

pub use body::AnswerBody;
pub use clean::{Keeper, clean_answer, keep_from_others};
pub use headers::HeaderRules;
pub use health::{Health, ServerHealth};
pub use link::chain;
pub use outbound::{Facts, Outbound, Profile, Unforwardable};
pub use pools::{Failure, Pools};
pub use returning::{Returning, edit};
pub use trailers::TrailerRules;
pub use upgraded::Upgraded;

#[cfg(test)]
pub(crate) mod tests;
