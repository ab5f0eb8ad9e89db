//! The program `flashsale`.

use std::process::ExitCode;

// The C library's allocator cost a seventh of the service's CPU per order (see Architecture in the README).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    flashsale::cli::run()
}
