//! Questions that are asked of a world as a whole, made of many probes.

pub mod matrix;
