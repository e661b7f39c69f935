//! Texts and structs that cross the border, copied.

use std::ffi::{CStr, c_char};
use std::time::Duration;

use serde_json::Value;

use super::code::leasehold_code::{
    LEASEHOLD_E_BUFFER, LEASEHOLD_E_NULL, LEASEHOLD_E_SIZE, LEASEHOLD_E_TEXT,
};
use super::code::{Failure, Result};
use crate::config::parse_json;
use crate::text::truncated;

/// A text of the caller's.
///
/// # Safety
/// It is null, or ends with a zero byte and is not changed during the call.
pub(super) unsafe fn text_in<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    if text.is_null() {
        return Err(Failure::new(LEASEHOLD_E_NULL, format!("{name} is null")));
    }
    // SAFETY: it is not null; the rest is the caller's word.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::new(LEASEHOLD_E_TEXT, format!("{name} is not UTF-8")))
}

/// A value of the caller's, as JSON.
///
/// # Safety
/// As for [`text_in`].
pub(super) unsafe fn json_in(value: *const c_char, name: &str) -> Result<Value> {
    // SAFETY: the caller's word.
    let text = unsafe { text_in(value, name) }?;
    parse_json(text).map_err(|error| Failure::new(LEASEHOLD_E_TEXT, format!("{name}: {error}")))
}

/// Stores a result.
///
/// # Safety
/// `place` is null, or valid for a write.
pub(super) unsafe fn store<T>(place: *mut T, value: T, name: &str) -> Result<()> {
    if place.is_null() {
        return Err(Failure::new(LEASEHOLD_E_NULL, format!("{name} is null")));
    }
    // SAFETY: it is not null; the rest is the caller's word, who may have packed his structs.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// Checks a place before something is made that would have to be put there.
pub(super) fn not_null<T>(place: *const T, name: &str) -> Result<()> {
    if place.is_null() {
        return Err(Failure::new(LEASEHOLD_E_NULL, format!("{name} is null")));
    }
    Ok(())
}

/// Copies a text with its final zero byte into a buffer of the caller's, and its length without
/// that to `length`, which may be null.
///
/// # Safety
/// `buffer` is null or has room for `size` bytes; `length` is null or valid for a write.
pub(super) unsafe fn text_out(
    text: &str,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> Result<()> {
    if !length.is_null() {
        // SAFETY: it is not null; the rest is the caller's word.
        unsafe { length.write_unaligned(text.len()) };
    }
    if text.len() >= size || buffer.is_null() {
        let message = format!("{} bytes are needed, the buffer has {size}", text.len() + 1);
        return Err(Failure::new(LEASEHOLD_E_BUFFER, message));
    }
    // SAFETY: the buffer has room for one byte more than the text has.
    unsafe {
        buffer.copy_from_nonoverlapping(text.as_ptr().cast(), text.len());
        buffer.add(text.len()).write(0);
    }
    Ok(())
}

/// The field of a struct: what fits of the text, and a zero byte.
pub(super) fn cut<const SIZE: usize>(text: &str) -> [c_char; SIZE] {
    let mut field = [0; SIZE];
    for (to, from) in field.iter_mut().zip(truncated(text, SIZE - 1).bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
    field
}

/// A struct with its size in its first field, by which later versions may add fields at the end.
///
/// # Safety
/// It is `repr(C)`, begins with a `u32` that is its size, and holds for all zeros.
pub(super) unsafe trait Sized32: Copy {
    /// The size that it had at first; no caller's can be less.
    const FIRST: usize;
    const NAME: &'static str;
}

/// The size that the caller gave a struct.
///
/// # Safety
/// `place` is null, or points to a struct whose first field is its size.
pub(super) unsafe fn size_of_callers<T: Sized32>(place: *const T) -> Result<usize> {
    not_null(place, T::NAME)?;
    // SAFETY: it is not null, and by the caller's word begins with the size.
    let size = unsafe { place.cast::<u32>().read_unaligned() } as usize;
    if size < T::FIRST || size > T::FIRST.max(size_of::<T>()) * 16 {
        let message = format!("{}.size is {size}: set it to sizeof", T::NAME);
        return Err(Failure::new(LEASEHOLD_E_SIZE, message));
    }
    Ok(size)
}

/// Fills a struct of the caller's: no more than it has room for, and zeros where it has more.
///
/// # Safety
/// `place` points to a struct that is as large as its first field says.
pub(super) unsafe fn fill<T: Sized32>(place: *mut T, value: T) -> Result<()> {
    // SAFETY: by the caller's word.
    let size = unsafe { size_of_callers(place) }?;
    let known = size.min(size_of::<T>());
    let from = std::ptr::from_ref(&value).cast::<u8>();
    // SAFETY: `value` has that many bytes, and the caller's struct by its own word.
    unsafe {
        place.cast::<u8>().copy_from_nonoverlapping(from, known);
        place.cast::<u8>().add(known).write_bytes(0, size - known);
        place.cast::<u32>().write_unaligned(u32::try_from(size).unwrap_or(u32::MAX));
    }
    Ok(())
}

/// Negative: without a bound.
pub(super) fn timeout(ms: i64) -> Duration {
    u64::try_from(ms).map_or(Duration::MAX, Duration::from_millis)
}

/// Whole milliseconds.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
