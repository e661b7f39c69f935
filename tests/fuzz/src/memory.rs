//! An allocator that counts what this thread holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[derive(Clone, Copy)]
struct Held {
    now: usize,
    peak: usize,
}

thread_local! {
    static HELD: Cell<Held> = const { Cell::new(Held { now: 0, peak: 0 }) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn add(bytes: usize) {
    // Not there while the thread ends; nobody measures then.
    let _ = HELD.try_with(|held| {
        let Held { now, peak } = held.get();
        let now = now.wrapping_add(bytes);
        held.set(Held { now, peak: peak.max(now) });
    });
}

fn remove(bytes: usize) {
    let _ = HELD.try_with(|held| {
        let Held { now, peak } = held.get();
        // What another thread allocated may be freed here.
        held.set(Held { now: now.saturating_sub(bytes), peak });
    });
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // While it moves, both are held.
        add(size);
        remove(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Calls `read`; panics when it ever held more than `factor` times `input` bytes and `beside`.
pub fn measured<T>(input: usize, factor: usize, beside: usize, read: impl FnOnce() -> T) -> T {
    let before = HELD.get().now;
    HELD.set(Held { now: before, peak: before });
    let result = read();
    let held = HELD.get().peak - before;
    assert!(held <= factor * input + beside, "{held} bytes held for {input} bytes read");
    result
}
