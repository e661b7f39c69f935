//! Memory that is wiped in a forked child, so that no child believes to lead in place of its
//! parent.
//!
//! `fork(2)` copies a process without its threads. No thread renews the copy of a node in the
//! child, and its locks may be held by threads that do not exist. Terms are therefore kept in pages
//! that Linux wipes for a child (`madvise(2)`, `MADV_WIPEONFORK`, since 4.14): the child has no
//! deadline from its first instant, and reading one costs nothing extra. On systems without such
//! pages the process id is compared instead, by a system call.
//!
//! Pages are cut into cache lines. Lines are reused, and pages are never unmapped.

#[cfg(all(feature = "capi", unix, not(leasehold_loom)))]
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::process;

#[cfg(not(all(test, leasehold_loom)))]
pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(all(test, leasehold_loom))]
pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

#[cfg(all(test, leasehold_loom))]
use modelled as memory;

/// A cache line.
type Words = [AtomicU64; WORDS];

const WORDS: usize = 8;
/// The word that is set in the process that allocated the line, and zero in its forked children.
const INTACT: usize = WORDS - 1;

/// A cache line of atomic words: zero at first, and zero again in a forked child. The last word is
/// reserved.
#[derive(Debug)]
pub(crate) struct Line {
    words: &'static Words,
    /// The process that allocated the line, on systems that do not wipe memory.
    process: Option<u32>,
}

impl Line {
    /// Whether this process is a forked child of the one that allocated the line. Makes no system
    /// call on systems that wipe memory.
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        let moved = |process| process != process::id();
        self.words[INTACT].load(Ordering::Relaxed) == 0 || self.process.is_some_and(moved)
    }
}

#[cfg(all(feature = "capi", unix, not(leasehold_loom)))]
impl Line {
    /// The address of the line, for [`at_address`](Self::at_address).
    pub(crate) fn address(&self) -> (*mut u64, u32) {
        let process = self.process.unwrap_or(0);
        (std::ptr::from_ref(self.words).cast_mut().cast(), process)
    }

    /// The line at an address. Lines are never unmapped, so reading it is always sound. It may have
    /// another owner by now: the caller must check that.
    ///
    /// # Safety
    /// [`address`](Self::address) returned the address, in this process or in one that it was
    /// forked from.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn at_address(words: *mut u64, process: u32) -> ManuallyDrop<Self> {
        // SAFETY: by the contract above it is the address of a line. Lines live as long as the
        // process and are only accessed as atomics.
        let words = unsafe { &*words.cast::<Words>() };
        ManuallyDrop::new(Self { words, process: (process != 0).then_some(process) })
    }
}

impl Default for Line {
    fn default() -> Self {
        let (words, wiped) = memory::allocate();
        words[INTACT].store(1, Ordering::SeqCst);
        Self { words, process: (!wiped).then(process::id) }
    }
}

impl Deref for Line {
    type Target = Words;

    #[inline]
    fn deref(&self) -> &Words {
        self.words
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // In a child the lock of the pool may be held by a thread of the parent.
        if !self.is_inherited() {
            for word in self.words {
                word.store(0, Ordering::SeqCst);
            }
            memory::free(self.words, self.process.is_none());
        }
    }
}

/// The lines that are not in use.
#[cfg(not(all(test, leasehold_loom)))]
mod memory {
    use std::sync::{Mutex, PoisonError};

    use crate::sys::Words;

    /// Each line, and whether a fork wipes it.
    static FREE: Mutex<Vec<(&'static Words, bool)>> = Mutex::new(Vec::new());

    const PAGE_BYTES: usize = 4096;
    const LINES: usize = PAGE_BYTES / size_of::<Words>();

    #[allow(clippy::expect_used, reason = "the message names the invariant")]
    pub(super) fn allocate() -> (&'static Words, bool) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.is_empty() {
            let wiped = wiped_page();
            let marked = wiped.is_some();
            let page = wiped.unwrap_or_else(ordinary_page);
            free.extend(page.iter().map(|line| (line, marked)));
        }
        free.pop().expect("invariant: a page has lines")
    }

    pub(super) fn free(line: &'static Words, wiped: bool) {
        FREE.lock().unwrap_or_else(PoisonError::into_inner).push((line, wiped));
    }

    fn ordinary_page() -> &'static [Words] {
        Vec::leak((0..LINES).map(|_| Words::default()).collect())
    }

    #[cfg(all(target_os = "linux", not(leasehold_portable)))]
    #[allow(unsafe_code)]
    fn wiped_page() -> Option<&'static [Words]> {
        use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let nowhere = std::ptr::null_mut();
        // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
        let page = unsafe { mmap_anonymous(nowhere, PAGE_BYTES, access, MapFlags::PRIVATE) };
        let page = page.ok()?;
        // SAFETY: nothing refers to the page yet, and the advice changes only a child's memory.
        unsafe { madvise(page, PAGE_BYTES, Advice::LinuxWipeOnFork) }.ok()?;
        // SAFETY: the page is readable and writable, begins at a page's boundary, holds zeros, of
        // which every pattern of bits is a valid `AtomicU64`, has room for `LINES` lines, is never
        // unmapped, and is referred to by nothing else. A fork changes it in the child only, where
        // it reads zero from the first instant on.
        Some(unsafe { std::slice::from_raw_parts(page.cast::<Words>(), LINES) })
    }

    #[cfg(not(all(target_os = "linux", not(leasehold_portable))))]
    fn wiped_page() -> Option<&'static [Words]> {
        None
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::sys::{INTACT, Line, Ordering};

        #[test]
        fn lines_are_zero_and_separate_and_are_reused_as_zero() {
            let lines: Vec<Line> = (0..3 * LINES).map(|_| Line::default()).collect();
            for (number, line) in (1..).zip(&lines) {
                assert_eq!(line[0].swap(number, Ordering::SeqCst), 0);
            }
            for (number, line) in (1..).zip(&lines) {
                assert_eq!(line[0].load(Ordering::SeqCst), number);
                assert!(!line.is_inherited());
            }
            drop(lines);
            assert!((0..3 * LINES).all(|_| Line::default()[0].load(Ordering::SeqCst) == 0));
        }

        /// The way of systems that do not wipe memory.
        #[test]
        fn a_line_of_another_process_is_inherited() {
            let words = &ordinary_page()[0];
            words[INTACT].store(1, Ordering::SeqCst);
            let of = |process| Line { words, process: Some(process) };
            let own = of(std::process::id());
            assert!(!own.is_inherited());
            std::mem::forget(own);
            assert!(of(0).is_inherited());
        }
    }
}

#[cfg(all(test, target_os = "linux", not(leasehold_portable), not(leasehold_loom)))]
mod fork_tests;

/// Memory for the model checker, which tries every reordering.
#[cfg(all(test, leasehold_loom))]
mod modelled {
    use crate::sys::{AtomicU64, Words};

    pub(super) fn allocate() -> (&'static Words, bool) {
        (Box::leak(Box::new(std::array::from_fn(|_| AtomicU64::new(0)))), true)
    }

    pub(super) fn free(_: &'static Words, _: bool) {}
}
