//! Trials on kernels in virtual machines, as a program of its own: `nix run .#vmtests`.

use std::process::ExitCode;

fn main() -> ExitCode {
    seatrial::vmtests()
}
