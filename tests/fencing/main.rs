//! Fencing of a resource that several processes write to: by a file, and by the SQL of the guide.

#[path = "../support/mod.rs"]
#[macro_use]
mod support;

mod database;
mod file_gate;
mod postgres;
mod recipes;
mod sqlite;
