//! What came of trials, in the form that was asked for.

pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod tap;
pub(crate) mod text;
