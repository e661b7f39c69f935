//! Memory that a forked child finds wiped, so that no child takes itself for its parent.
//!
//! `fork(2)` copies a process without its threads: the copy of a node in the child is renewed by
//! nobody, and its locks may be held by threads that are not there. Terms are therefore kept in
//! pages that Linux hands to a child empty (`madvise(2)`, `MADV_WIPEONFORK`, since 4.14): in the
//! child every deadline is gone, at the instant of the fork, and whoever looks pays nothing for
//! that. Where there are no such pages, the process id is compared instead, by a system call.
//!
//! Pages are cut into cache lines and never given back; lines are used again.

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
/// The word that is set in the process that took the line, and zero in its forked children.
const INTACT: usize = WORDS - 1;

/// A cache line of atomic words: zero at first, and again in a forked child. The last of them is
/// not for the owner's use.
#[derive(Debug)]
pub(crate) struct Line {
    words: &'static Words,
    /// The process that took it, where memory is not wiped.
    process: Option<u32>,
}

impl Line {
    /// Whether this process is a forked child of the one that took the line. No system call where
    /// memory is wiped.
    #[inline]
    pub(crate) fn is_inherited(&self) -> bool {
        let moved = |process| process != process::id();
        self.words[INTACT].load(Ordering::Relaxed) == 0 || self.process.is_some_and(moved)
    }
}

#[cfg(all(feature = "capi", unix, not(leasehold_loom)))]
impl Line {
    /// Where the line is, for [`look_again`](Self::look_again).
    pub(crate) fn place(&self) -> (*mut u64, u32) {
        let process = self.process.unwrap_or(0);
        (std::ptr::from_ref(self.words).cast_mut().cast(), process)
    }

    /// The line at a place, whoever uses it by now. Lines are never unmapped, so that looking is
    /// always sound; whether it is still the line that was meant is for the caller to find out.
    ///
    /// # Safety
    /// The place is one that [`place`](Self::place) returned in this process or in one that it was
    /// forked from.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn look_again(words: *mut u64, process: u32) -> ManuallyDrop<Self> {
        // SAFETY: by the caller's word it is the address of a line; those live as long as the
        // process, and are only ever accessed as atomics.
        let words = unsafe { &*words.cast::<Words>() };
        ManuallyDrop::new(Self { words, process: (process != 0).then_some(process) })
    }
}

impl Default for Line {
    fn default() -> Self {
        let (words, wiped) = memory::take();
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
        // In a child the pool's lock may be held by a thread that is not there.
        if !self.is_inherited() {
            for word in self.words {
                word.store(0, Ordering::SeqCst);
            }
            memory::give_back(self.words, self.process.is_none());
        }
    }
}

/// The lines that nobody uses.
#[cfg(not(all(test, leasehold_loom)))]
mod memory {
    use std::sync::{Mutex, PoisonError};

    use crate::sys::Words;

    /// With each line, whether it is wiped.
    static FREE: Mutex<Vec<(&'static Words, bool)>> = Mutex::new(Vec::new());

    const PAGE_BYTES: usize = 4096;
    const LINES: usize = PAGE_BYTES / size_of::<Words>();

    pub(super) fn take() -> (&'static Words, bool) {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if free.is_empty() {
            let wiped = wiped_page();
            let marked = wiped.is_some();
            let page = wiped.unwrap_or_else(ordinary_page);
            free.extend(page.iter().map(|line| (line, marked)));
        }
        free.pop().expect("invariant: a page has lines")
    }

    pub(super) fn give_back(line: &'static Words, wiped: bool) {
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
        // SAFETY: a mapping of its own at an address of the kernel's choice touches no memory that
        // is in use.
        let page = unsafe { mmap_anonymous(nowhere, PAGE_BYTES, access, MapFlags::PRIVATE) };
        let page = page.ok()?;
        // SAFETY: nothing refers to the page yet, and the advice changes only what a child is
        // given.
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
        fn lines_are_zero_apart_and_used_again_as_zero() {
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

        /// On systems without wiped pages.
        #[test]
        fn a_line_of_another_process_is_inherited_wherever_it_lies() {
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

/// As a model checker sees it: lines of words whose every reordering is tried.
#[cfg(all(test, leasehold_loom))]
mod modelled {
    use crate::sys::{AtomicU64, Words};

    pub(super) fn take() -> (&'static Words, bool) {
        (Box::leak(Box::new(std::array::from_fn(|_| AtomicU64::new(0)))), true)
    }

    pub(super) fn give_back(_: &'static Words, _: bool) {}
}
