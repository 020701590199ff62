//! vmtests
