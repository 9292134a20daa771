//! A gateway in this process, an upstream that records bytes, and a client that sends them.

mod client;
mod gateway;
mod upstream;

pub use client::{Answer, Client, request};
pub use gateway::{Gateway, Tokens, routes};
pub use upstream::{Seen, Then, Upstream};
