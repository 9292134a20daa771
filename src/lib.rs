//! Portcullis puts login, sessions and role rules in front of applications that have none.
//!
//! This file is the plan of the house. The groups of modules below are its layers, lowest first:
//! **a module may name only modules of the groups above its own**, and a test holds every
//! `crate::` path to it. Where a request goes, stage by stage, reads in [`gateway`].

// Where "now" comes from; the only code that asks the machine.
pub mod clock;
// Who someone is, each name and id valid by construction.
pub mod identity;
// Values that must not be seen, and the one source of randomness.
pub mod secret;

// Hashes and checks passwords in bounded memory and even time.
pub mod password;
// Turns what a client sent into a `NormalRequest`, or refuses it.
pub mod request;
// The set of ended sessions, asked on every request.
pub mod revocation;
// Access tokens, refresh tokens and the keys that make them.
pub mod token;

// The operator's law as data, and the proof that a request keeps it.
pub mod policy;
// A session's row and what follows from presenting a refresh token to it.
pub mod session;

// Reads `gateway.toml` into checked values, every problem with its place and remedy.
pub mod config;

// Access lines, audit lines and metrics, with their names.
pub mod telemetry;

// Says whether another attempt may be made now and, if not, when.
pub mod limit;
// Keeps users, sessions and revocations.
pub mod store;
// Carries a permitted request to its upstream and the answer back.
pub mod upstream;

// The use cases, free of HTTP: login, refresh, logout, authenticate.
pub mod auth;

// Takes one HTTP request to one HTTP response.
pub mod gateway;

// Sockets: accept, connections, limits, time-outs, drain.
pub mod server;

// Builds everything from a `Config`, runs it and stops it in order.
pub mod app;

// Reads arguments and prints answers.
pub mod cli;
