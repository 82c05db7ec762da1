//! The command line's way out.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::run()
}
