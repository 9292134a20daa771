//! A gateway in this process or in one of its own, an upstream that records bytes, and a client that
//! sends them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

mod client;
mod door;
pub mod frames;
mod gateway;
mod hush;
mod process;
mod secure;
mod upstream;

pub use client::{Answer, Client, request};
pub use door::{Door, Tokens};
pub use gateway::{Gateway, routes};
pub use process::{Account, House, Process, Said, allow_descriptors, eventually, free_port};
pub use secure::{Authority, Secure};
pub use upstream::{Seen, Then, Upstream, read_request};
