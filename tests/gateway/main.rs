//! Everything about a gateway that needs no foreign program, over real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::as_conversions,
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::map_err_ignore,
    clippy::needless_pass_by_value,
    clippy::disallowed_methods,
    clippy::await_holding_lock,
    unreachable_pub,
    missing_docs,
    reason = "a test that fails shall say so at once; this is no product code"
)]

mod admin;
mod command_line;
mod cors;
mod explaining;
mod headers;
mod keys;
mod kill;
mod layers;
mod lexer;
mod licences;
mod openapi;
mod origin;
mod pages;
mod passwords;
mod people;
mod proxying;
mod reading;
mod readings;
mod renewal;
mod secrets;
mod sessions;
mod simulator;
mod sizes;
mod starting;
mod stopping;
mod storm;
mod support;
mod threats;
mod throttling;
mod tokens;
