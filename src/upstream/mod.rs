//! Carries a [`Permitted`](crate::policy::Permitted) request to its upstream and the answer back.
//!
//! Nothing here takes any other request: forwarding without authorising does not compile. An
//! exchange drives its upstream connection itself, within the task of the client's connection:
//! what drops the exchange drops both. A connection is used again only after a clean end.

mod answer;
mod body;
mod clean;
mod exchange;
mod headers;
mod link;
mod outbound;
mod pool;
mod resolve;
mod sent;
mod values;

pub use body::AnswerBody;
pub use clean::clean_answer;
pub use headers::HeaderRules;
pub use outbound::{Facts, Outbound, Profile, Unforwardable};
pub use pool::{Failure, Pools};

#[cfg(test)]
pub(crate) mod tests;
