//! Whether this process was forked from the one that uses the library.

use std::sync::OnceLock;

use crate::sys::Line;

static OWNER: OnceLock<Line> = OnceLock::new();

/// Makes this process the one that uses the library, unless there is one.
pub(super) fn claim() {
    OWNER.get_or_init(Line::default);
}

/// Takes no lock.
pub(super) fn is_forked_child() -> bool {
    OWNER.get().is_some_and(Line::is_inherited)
}
