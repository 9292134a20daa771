//! The operator's law as data: which route a request takes, what its rule asks, and the
//! [`Permitted`] that proves it was met. Never sees a socket, a clock or a database.
//!
//! A request is decided on its literal path, and must be permitted under every other reading of it
//! too: where rules differ, no spelling of a path reaches past one.

mod app_cookies;
mod auth_path;
mod authorise;
mod conflict;
mod cors;
mod destination;
mod endpoint;
mod explain;
mod leaving;
mod matching;
mod method;
mod origin;
mod paths;
mod pattern;
mod route;
#[cfg(test)]
mod tests;
mod trie;

pub use app_cookies::{BadCookiePattern, CookiePattern};
pub use authorise::{Denied, Permitted, authorise};
pub use conflict::Conflict;
pub use cors::{Cors, CorsOrigins, CorsPolicy, origin_of};
pub use endpoint::Endpoint;
pub use explain::{Candidate, Explanation, ReadingExplained, Verdict, explain};
pub use matching::{Matched, Table, Unmatched};
pub use method::is_method_override;
pub use origin::{CrossOrigin, check_fetch_site, check_origin};
pub use pattern::{BadPattern, PathPattern};
pub use route::{
    Access, Allowances, AnswerRules, BearerPolicy, CachePolicy, FixedAnswer, HeaderEdits,
    IdentityHeaders, OnDenied, Patience, RewriteLocation, Route, Rule, Target, Timeouts,
    UpstreamId,
};
