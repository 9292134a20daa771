# Shortcuts; each is one line of what CONTRIBUTING.md says.

# Lists these recipes.
default:
    @just --list

# Gateway and sample application on http://localhost:8080.
demo:
    cargo run --release -- demo

# All tests; `just test slow`, `just test apps`, `just test docker`.
test what="all":
    ./test {{what}}

# What must pass before a change lands.
ci:
    .ci/run

# Formats and lints.
tidy:
    cargo fmt
    cargo clippy --locked --all-targets -- -D warnings

# Bans, licences and sources of dependencies; needs cargo-deny.
deny:
    cargo deny check bans licenses sources

# The binary that ships.
dist:
    cargo build --locked --profile dist
