//! The `portcullis` binary: all of it is in the library.

use std::process::ExitCode;

// Blocks of one size lie in pages of their own, so that a page whose buffers are all gone goes back
// to the system: the system's allocator keeps it for the sake of one small block beside them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    portcullis::cli::main()
}
