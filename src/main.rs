//! The command line's way out.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::run()
}

/// Uploads are made of buffers that one thread takes and another gives back, which glibc's allocator pays for with locks: a small file
/// costs a fifth more with it. How soon freed memory goes back to the system is in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
