//! Questions that are asked of a world as a whole, made of many probes.

mod alike;
pub mod diff;
mod machines;
pub mod matrix;
mod told;
