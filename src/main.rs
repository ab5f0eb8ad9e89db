//! The program `flashsale`.

use std::process::ExitCode;

fn main() -> ExitCode {
    flashsale::cli::run()
}
