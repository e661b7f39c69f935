//! The table behind the handles.
//!
//! A handle names a slot and the slot's tag at that time; each object gets a tag of its own. Slots
//! live as long as the process and are used again.
//!
//! Whether a node leads is asked often and from many threads, so it is answered without a lock: a
//! slot also says where its object's term is kept, which is memory that is never unmapped. The tag
//! is looked at before and after; when it is the same, the slot was the object's all the while, for
//! no tag comes twice.
//!
//! Where pointers have 32 bits that is so among any 32,768 objects made one after another, and a
//! handle that was freed so many objects ago may be taken for one of now.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::code::leasehold_code::{LEASEHOLD_E_HANDLE, LEASEHOLD_E_NULL, LEASEHOLD_E_SYSTEM};
use super::code::{Failure, Result};
use super::config::Draft;
use super::node::Member;
use crate::clock::Clock;
use crate::leadership::{Leadership, TermCell};
use crate::sys::Line;

/// A configuration in the making. Freed with `leasehold_config_free`.
#[derive(Debug)]
pub struct leasehold_config(());

/// A started node. Freed with `leasehold_free`.
#[derive(Debug)]
pub struct leasehold_node(());

/// The right to act as leader of one term. Freed with `leasehold_token_free`.
#[derive(Debug)]
pub struct leasehold_token(());

/// What a handle stands for.
#[derive(Clone)]
pub(super) enum Object {
    Config(Arc<Draft>),
    Node(Arc<Member>),
    Token(Leadership),
}

impl Object {
    fn kind(&self) -> usize {
        match self {
            Self::Config(_) => leasehold_config::KIND,
            Self::Node(_) => leasehold_node::KIND,
            Self::Token(_) => leasehold_token::KIND,
        }
    }

    fn term(&self) -> Option<(&TermCell, u64)> {
        match self {
            Self::Config(_) => None,
            Self::Node(member) => Some((member.cell(), ANY_EPOCH)),
            Self::Token(token) => Some((token.cell(), token.epoch().as_u64())),
        }
    }
}

/// A type that C has pointers to.
pub(super) trait Kind: Sized {
    const KIND: usize;
    const NAME: &'static str;
    type Object;

    fn of(object: Object) -> Option<Self::Object>;
}

macro_rules! kind {
    ($c:ident, $number:literal, $name:literal, $variant:ident, $object:ty) => {
        impl Kind for $c {
            const KIND: usize = $number;
            const NAME: &'static str = $name;
            type Object = $object;

            fn of(object: Object) -> Option<$object> {
                match object {
                    Object::$variant(object) => Some(object),
                    _ => None,
                }
            }
        }
    };
}

kind!(leasehold_config, 1, "configuration", Config, Arc<Draft>);
kind!(leasehold_node, 2, "node", Node, Arc<Member>);
kind!(leasehold_token, 3, "token", Token, Leadership);

/// A handle's bits, from the lowest: an odd mark, which no pointer to anything has; the kind; the
/// slot; the number of the object.
const KIND_SHIFT: u32 = 1;
const SLOT_SHIFT: u32 = 3;
const SLOT_BITS: u32 = 14;
const NUMBER_SHIFT: u32 = SLOT_SHIFT + SLOT_BITS;
const SLOTS: usize = 1 << SLOT_BITS;
/// Slots are made so many at a time.
const CHUNK: usize = 256;

const FREE: usize = 0;
const ANY_EPOCH: u64 = 0;

/// Cache lines of their own, so that the busy handles of two threads do not disturb each other.
#[derive(Default)]
#[repr(align(128))]
struct Slot {
    /// The handle of the object that is here, or [`FREE`].
    tag: AtomicUsize,
    words: AtomicPtr<u64>,
    process: AtomicU32,
    /// The term's epoch, for a token.
    epoch: AtomicU64,
    object: Mutex<Option<Object>>,
}

struct Table {
    chunks: [OnceLock<Box<[Slot]>>; SLOTS / CHUNK],
    unused: Mutex<Unused>,
    home: Line,
}

#[derive(Default)]
struct Unused {
    freed: Vec<usize>,
    /// Slots that were ever used.
    used: usize,
    /// Objects that there ever were.
    objects: usize,
}

static TABLE: OnceLock<Table> = OnceLock::new();

fn table() -> &'static Table {
    TABLE.get_or_init(|| Table {
        chunks: [const { OnceLock::new() }; SLOTS / CHUNK],
        unused: Mutex::default(),
        home: Line::default(),
    })
}

/// Whether the library was used by a process that this one was forked from. Takes no lock.
pub(super) fn is_inherited() -> bool {
    TABLE.get().is_some_and(|table| table.home.is_inherited())
}

fn slot(index: usize) -> Option<&'static Slot> {
    TABLE.get()?.chunks.get(index / CHUNK)?.get()?.get(index % CHUNK)
}

/// The slot that a handle names, while it is the handle's.
fn slot_of<T: Kind>(handle: *const T) -> Option<&'static Slot> {
    let bits = handle.addr();
    let of_kind = bits & 1 == 1 && (bits >> KIND_SHIFT) & 3 == T::KIND;
    let slot = slot((bits >> SLOT_SHIFT) & (SLOTS - 1)).filter(|_| of_kind)?;
    (slot.tag.load(Ordering::SeqCst) == bits).then_some(slot)
}

/// Gives an object a handle.
pub(super) fn insert<T: Kind>(object: Object) -> Result<*mut T> {
    let table = table();
    let mut unused = table.unused.lock();
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
    let bits = number | index << SLOT_SHIFT | object.kind() << KIND_SHIFT | 1;
    let chunk =
        table.chunks[index / CHUNK].get_or_init(|| (0..CHUNK).map(|_| Slot::default()).collect());
    chunk[index % CHUNK].fill(object, bits);
    Ok(std::ptr::without_provenance_mut(bits))
}

impl Slot {
    fn fill(&self, object: Object, bits: usize) {
        let (words, process, epoch) = match object.term() {
            Some((cell, epoch)) => {
                let (words, process) = cell.place();
                (words, process, epoch)
            }
            None => (null_mut(), 0, ANY_EPOCH),
        };
        *self.object.lock() = Some(object);
        self.words.store(words, Ordering::SeqCst);
        self.process.store(process, Ordering::SeqCst);
        self.epoch.store(epoch, Ordering::SeqCst);
        self.tag.store(bits, Ordering::SeqCst);
    }

    /// Whether the term that the object is about is in force now.
    fn is_in_force(&self) -> bool {
        let words = self.words.load(Ordering::SeqCst);
        let process = self.process.load(Ordering::SeqCst);
        let epoch = self.epoch.load(Ordering::SeqCst);
        if words.is_null() {
            return false;
        }
        // SAFETY: the only other value that is ever stored there came from `TermCell::place`.
        let line = unsafe { Line::look_again(words, process) };
        let found = TermCell::borrowed(line).in_force(&Clock::boot());
        found.is_some_and(|(found, _)| epoch == ANY_EPOCH || found == epoch)
    }
}

/// What a handle stands for.
pub(super) fn get<T: Kind>(handle: *const T) -> Result<T::Object> {
    let Some(slot) = slot_of(handle) else { return Err(unknown(handle)) };
    let object = slot.object.lock();
    // It may have been freed, and the slot used again, before the lock was had.
    let same = slot.tag.load(Ordering::SeqCst) == handle.addr();
    object.clone().filter(|_| same).and_then(T::of).ok_or_else(|| unknown(handle))
}

/// Takes an object out; its handle is void from now on.
pub(super) fn remove<T: Kind>(handle: *const T) -> Result<T::Object> {
    let Some(slot) = slot_of(handle) else { return Err(unknown(handle)) };
    let mut object = slot.object.lock();
    let bits = handle.addr();
    if slot.tag.compare_exchange(bits, FREE, Ordering::SeqCst, Ordering::SeqCst).is_err() {
        return Err(unknown(handle));
    }
    let taken = object.take();
    drop(object);
    table().unused.lock().freed.push((bits >> SLOT_SHIFT) & (SLOTS - 1));
    taken.and_then(T::of).ok_or_else(|| unknown(handle))
}

/// Whether the term that a node or a token is about is in force now; false for a void handle, and
/// in a forked child. Takes no lock and makes no system call.
#[inline]
pub(super) fn is_in_force<T: Kind>(handle: *const T) -> bool {
    let Some(slot) = slot_of(handle) else { return false };
    slot.is_in_force() && slot.tag.load(Ordering::SeqCst) == handle.addr()
}

fn unknown<T: Kind>(handle: *const T) -> Failure {
    if handle.is_null() {
        return Failure::new(LEASEHOLD_E_NULL, format!("the {} is null", T::NAME));
    }
    Failure::new(LEASEHOLD_E_HANDLE, format!("not a {}, or one that was freed", T::NAME))
}
