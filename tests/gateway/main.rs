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

mod activation;
mod addresses;
mod admin;
mod allowing;
mod answers;
mod app_cookies;
mod app_logout;
mod assertions;
mod caching;
mod client_address;
mod command_line;
mod connect;
mod cors;
mod cutting;
mod deeds;
mod destination;
mod explaining;
mod faults;
mod fuzzed;
mod groups;
mod headers;
mod http2;
mod hushed;
mod identities;
mod inviting;
mod keys;
mod kill;
mod last_seen;
mod layers;
mod lexer;
mod licences;
mod measured;
mod memory;
mod openapi;
mod origin;
mod pages;
mod passwords;
mod peers;
mod people;
mod proxy_protocol;
mod proxying;
mod reading;
mod readings;
mod redirect;
mod reload_keys;
mod reloaded_addresses;
mod reloading;
mod renewal;
mod rows;
mod secrets;
mod sessions;
mod shared_device;
mod simulator;
mod sizes;
mod slow_readers;
mod soak;
mod starting;
mod stopping;
mod storm;
mod streams;
mod support;
mod telling;
mod threats;
mod throttling;
mod tls;
mod tokens;
mod troubles;
mod unix_socket;
mod upgrades;
mod upstream_tls;
