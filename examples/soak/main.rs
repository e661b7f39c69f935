//! Five nodes through one random fault after the other, for as long as one likes, and the verdict
//! of the checker in the end. `--help` tells the options.
//!
//! The nodes are processes of their own: this program again. Servers, wires, faults and the checker
//! are those of the tests. A seed determines which faults come in which order, not to the
//! millisecond what comes of them.

#[macro_use]
#[path = "../../tests/support/mod.rs"]
mod support;
#[path = "../../tests/faults/mod.rs"]
mod faults;
#[path = "../../tests/nodes/mod.rs"]
mod nodes;
#[allow(dead_code, reason = "the simulation draws in more ways")]
#[path = "../../tests/simulation/rng.rs"]
mod rng;

mod arguments;
mod footprint;
mod report;
mod rounds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use arguments::{Arguments, USAGE};

fn main() -> ExitCode {
    // Never returns in the process of a node.
    nodes::child::run_if_child();
    let arguments = match arguments::read(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("soak: {problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    println!("{}", report::heading(&arguments));
    // Whatever is waited for in vain panics with what it was.
    if catch_unwind(AssertUnwindSafe(|| soak(&arguments))).unwrap_or(false) {
        return ExitCode::SUCCESS;
    }
    println!("FAILED; once more: {}", arguments.command());
    ExitCode::FAILURE
}

/// The whole of it; whether nothing was wrong.
fn soak(arguments: &Arguments) -> bool {
    let outcome = rounds::play(arguments);
    println!("{}", report::table(&outcome));
    outcome.is_clean()
}
