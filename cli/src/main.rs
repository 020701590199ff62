//! seatrial
fn main() {}
