//! The table behind the handles.
//!
//! A handle consists of the index of a slot and a tag that the slot has only while it holds that
//! object. Slots live as long as the process and are reused.
//!
//! Many threads ask often whether a node leads, so the answer takes no lock: a slot also points to
//! the memory of its object's term, which is never unmapped. The tag is read before and after; if
//! it is the same, the slot held the object all the while, because no tag is used twice.
//!
//! Where pointers have 32 bits, a tag is reused after 32,768 more objects: a handle that was freed
//! that long ago can be taken for a current one.

use std::any::Any;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, const_mutex};

use super::code::leasehold_code::{LEASEHOLD_E_HANDLE, LEASEHOLD_E_NULL, LEASEHOLD_E_SYSTEM};
use super::code::{Failure, Result};
use super::fork;
use crate::clock::Clock;
use crate::leadership::TermCell;
use crate::sys::Line;

/// A type that C has pointers to.
pub(super) trait Handle: Sized {
    /// A number of its own, 1 to 3.
    const KIND: usize;
    /// For messages.
    const NAME: &'static str;
    type Object: Any + Send + Sync;

    /// The term that the object is about: its memory, and its epoch or [`ANY_EPOCH`].
    fn term(_: &Self::Object) -> Option<(&TermCell, u64)> {
        None
    }
}

pub(super) const ANY_EPOCH: u64 = 0;

// The bits of a handle, from the lowest: 1, as no real pointer is odd; the kind; the index of the
// slot; the number of the object.
const KIND_SHIFT: u32 = 1;
const INDEX_SHIFT: u32 = 3;
const INDEX_BITS: u32 = 14;
const NUMBER_SHIFT: u32 = INDEX_SHIFT + INDEX_BITS;
const SLOTS: usize = 1 << INDEX_BITS;
/// Slots are allocated in chunks.
const CHUNK: usize = 256;
/// The tag of an empty slot.
const FREE: usize = 0;

/// Aligned, so that two threads' handles do not share a cache line.
#[derive(Default)]
#[repr(align(128))]
struct Slot {
    /// The handle of the object in this slot, or [`FREE`].
    tag: AtomicUsize,
    words: AtomicPtr<u64>,
    process: AtomicU32,
    /// The epoch of a token's term.
    epoch: AtomicU64,
    object: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
}

static CHUNKS: [OnceLock<Box<[Slot]>>; SLOTS / CHUNK] = [const { OnceLock::new() }; SLOTS / CHUNK];
static UNUSED: Mutex<Unused> = const_mutex(Unused { freed: Vec::new(), used: 0, objects: 0 });

struct Unused {
    freed: Vec<usize>,
    /// The number of slots that were ever used.
    used: usize,
    /// The number of objects so far.
    objects: usize,
}

fn index_of(bits: usize) -> usize {
    (bits >> INDEX_SHIFT) & (SLOTS - 1)
}

/// The slot of a handle, if the handle is valid.
fn slot_of<T: Handle>(handle: *const T) -> Option<&'static Slot> {
    let bits = handle.addr();
    let of_kind = bits & 1 == 1 && (bits >> KIND_SHIFT) & 3 == T::KIND;
    let index = Some(index_of(bits)).filter(|_| of_kind)?;
    let slot = CHUNKS[index / CHUNK].get()?.get(index % CHUNK)?;
    (slot.tag.load(Ordering::SeqCst) == bits).then_some(slot)
}

/// Puts an object into the table.
pub(super) fn insert<T: Handle>(object: T::Object) -> Result<*mut T> {
    fork::claim();
    let mut unused = UNUSED.lock();
    let index = match unused.freed.pop() {
        Some(index) => index,
        None if unused.used < SLOTS => {
            unused.used += 1;
            unused.used - 1
        }
        None => {
            let message = format!("there are {SLOTS} handles: free some");
            return Err(Failure::new(LEASEHOLD_E_SYSTEM, message));
        }
    };
    unused.objects = unused.objects.wrapping_add(1);
    let number = unused.objects << NUMBER_SHIFT;
    let bits = number | index << INDEX_SHIFT | T::KIND << KIND_SHIFT | 1;
    let chunk = CHUNKS[index / CHUNK].get_or_init(|| (0..CHUNK).map(|_| Slot::default()).collect());
    chunk[index % CHUNK].fill::<T>(object, bits);
    Ok(std::ptr::without_provenance_mut(bits))
}

impl Slot {
    fn fill<T: Handle>(&self, object: T::Object, bits: usize) {
        let (words, process, epoch) = match T::term(&object) {
            Some((cell, epoch)) => {
                let (words, process) = cell.address();
                (words, process, epoch)
            }
            None => (null_mut(), 0, ANY_EPOCH),
        };
        *self.object.lock() = Some(Arc::new(object));
        self.words.store(words, Ordering::SeqCst);
        self.process.store(process, Ordering::SeqCst);
        self.epoch.store(epoch, Ordering::SeqCst);
        self.tag.store(bits, Ordering::SeqCst);
    }

    /// Whether the object's term is in force now.
    fn is_in_force(&self) -> bool {
        let words = self.words.load(Ordering::SeqCst);
        let process = self.process.load(Ordering::SeqCst);
        let epoch = self.epoch.load(Ordering::SeqCst);
        if words.is_null() {
            return false;
        }
        // SAFETY: every other value that is ever stored there came from `TermCell::place`.
        let line = unsafe { Line::at_address(words, process) };
        let found = TermCell::borrowed(line).in_force(&Clock::boot());
        found.is_some_and(|(found, _)| epoch == ANY_EPOCH || found == epoch)
    }
}

/// The object of a handle.
pub(super) fn get<T: Handle>(handle: *const T) -> Result<Arc<T::Object>> {
    let Some(slot) = slot_of(handle) else { return Err(invalid(handle)) };
    let object = slot.object.lock();
    // The handle may have been freed, and the slot reused, before the lock was taken.
    let same = slot.tag.load(Ordering::SeqCst) == handle.addr();
    let object = object.clone().filter(|_| same).and_then(|object| object.downcast().ok());
    object.ok_or_else(|| invalid(handle))
}

/// Takes an object out of the table; its handle is invalid from now on.
pub(super) fn remove<T: Handle>(handle: *const T) -> Result<Arc<T::Object>> {
    let Some(slot) = slot_of(handle) else { return Err(invalid(handle)) };
    let mut object = slot.object.lock();
    let bits = handle.addr();
    if slot.tag.compare_exchange(bits, FREE, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return Err(invalid(handle));
    }
    let taken = object.take();
    drop(object);
    UNUSED.lock().freed.push(index_of(bits));
    taken.and_then(|object| object.downcast().ok()).ok_or_else(|| invalid(handle))
}

/// Removes an object, unless the handle is null.
pub(super) fn free<T: Handle>(handle: *const T) -> Result<()> {
    if handle.is_null() { Ok(()) } else { remove(handle).map(drop) }
}

/// Whether the term of a node or a token is in force now; false for an invalid handle, and in a
/// forked child. Takes no lock and makes no system call.
#[inline]
pub(super) fn is_in_force<T: Handle>(handle: *const T) -> bool {
    let Some(slot) = slot_of(handle) else { return false };
    slot.is_in_force() && slot.tag.load(Ordering::SeqCst) == handle.addr()
}

fn invalid<T: Handle>(handle: *const T) -> Failure {
    if handle.is_null() {
        return Failure::new(LEASEHOLD_E_NULL, format!("the {} is null", T::NAME));
    }
    Failure::new(LEASEHOLD_E_HANDLE, format!("not a {}, or a freed one", T::NAME))
}
