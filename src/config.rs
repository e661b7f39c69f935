//! Configuration: validated when it is built, so that an invalid one cannot be had.

pub mod connection;
