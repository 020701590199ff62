//! The program people type.

use std::process::ExitCode;

fn main() -> ExitCode {
    seatrial::seatrial()
}
