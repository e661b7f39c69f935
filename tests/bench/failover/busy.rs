//! Endless loops beside, so that everything has to wait for a processor.

use std::process::Child;

use crate::support::process::{bound_command, spawn_bound};

/// Processes that do nothing else; ended when dropped, and by the kernel when this process ends.
pub(crate) struct Busy(Vec<Child>);

impl Busy {
    pub(crate) fn start(loops: usize) -> Self {
        let one = || {
            let mut command = bound_command("sh");
            command.args(["-c", "while :; do :; done"]);
            spawn_bound(command)
        };
        Self((0..loops).map(|_| one()).collect())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
