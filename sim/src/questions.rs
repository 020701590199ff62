//! Questions that are asked of a world as a whole, made of many probes.

mod alike;
mod machines;
pub mod matrix;
mod told;
