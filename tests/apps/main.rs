//! The gateway's own program before unmodified applications, on real disks, with real curl.
//!
//! `./test` installs what these tests need and runs them. A program that is missing is named, and
//! its test fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    unreachable_pub,
    missing_docs,
    reason = "a test that fails shall say so at once; this is no product code"
)]

mod article;
mod browser;
#[allow(dead_code, reason = "the tests that need no foreign program use more of it")]
#[path = "../gateway/support/client.rs"]
mod client;
mod differential;
mod django;
#[allow(dead_code, reason = "the tests that need no foreign program use more of it")]
#[path = "../gateway/support/frames.rs"]
mod frames;
mod full_disk;
mod gateway;
mod heavy;
mod httpbin;
#[allow(dead_code, reason = "the tests that need no foreign program use more of it")]
#[path = "../gateway/support/hush.rs"]
mod hush;
mod mercurial;
mod programs;
mod radicale;
mod slow_http;
mod tls_scan;
#[allow(dead_code, reason = "the tests that need no foreign program use more of it")]
#[path = "../gateway/support/upstream.rs"]
mod upstream;
mod websocket;
mod wsgidav;

use client::Answer; // what `hush` calls its neighbour
