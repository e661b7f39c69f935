//! Texts and structs that are copied from and to C.

use std::ffi::{CStr, c_char};
use std::time::Duration;

use serde_json::Value;

use super::code::leasehold_code::{
    LEASEHOLD_E_BUFFER, LEASEHOLD_E_NULL, LEASEHOLD_E_SIZE, LEASEHOLD_E_TEXT,
};
use super::code::{Failure, Result};
use crate::config::parse_json;
use crate::text::truncated;

/// A text from C.
///
/// # Safety
/// `text` is null, or ends with a zero byte and does not change during the call.
pub(super) unsafe fn text_in<'a>(text: *const c_char, name: &str) -> Result<&'a str> {
    not_null(text, name)?;
    // SAFETY: not null, and valid by the contract.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map_err(|_| Failure::new(LEASEHOLD_E_TEXT, format!("{name} is not UTF-8")))
}

/// A JSON value from C.
///
/// # Safety
/// As for [`text_in`].
pub(super) unsafe fn json_in(value: *const c_char, name: &str) -> Result<Value> {
    // SAFETY: by the function's contract.
    let text = unsafe { text_in(value, name) }?;
    parse_json(text).map_err(|error| Failure::new(LEASEHOLD_E_TEXT, format!("{name}: {error}")))
}

/// Stores a result for C.
///
/// # Safety
/// `place` is null, or valid for a write.
pub(super) unsafe fn store<T>(place: *mut T, value: T, name: &str) -> Result<()> {
    not_null(place, name)?;
    // SAFETY: not null, and valid by the contract; unaligned, as C may pack its structs.
    unsafe { place.write_unaligned(value) };
    Ok(())
}

/// Checks a pointer.
pub(super) fn not_null<T>(place: *const T, name: &str) -> Result<()> {
    if place.is_null() {
        return Err(Failure::new(LEASEHOLD_E_NULL, format!("{name} is null")));
    }
    Ok(())
}

/// Copies a text and a zero byte into a buffer, and the text's length to `length` unless that is
/// null.
///
/// # Safety
/// `buffer` is null or has `size` bytes; `length` is null or valid for a write.
pub(super) unsafe fn text_out(
    text: &str,
    buffer: *mut c_char,
    size: usize,
    length: *mut usize,
) -> Result<()> {
    if !length.is_null() {
        // SAFETY: not null, and valid by the contract.
        unsafe { length.write_unaligned(text.len()) };
    }
    if text.len() >= size || buffer.is_null() {
        let message = format!("{} bytes are needed, and the buffer has {size}", text.len() + 1);
        return Err(Failure::new(LEASEHOLD_E_BUFFER, message));
    }
    // SAFETY: the buffer is larger than the text.
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

/// A struct with its size in its first field, so that later versions can add fields at the end.
///
/// # Safety
/// The type is `repr(C)`, begins with a `u32` that is its size, and all zeros are a valid value.
pub(super) unsafe trait Sized32: Copy {
    /// The size in the first version: no caller has a smaller struct.
    const FIRST: usize;
    const NAME: &'static str;
}

/// The size in the first field of a struct from C.
///
/// # Safety
/// `place` is null, or points to a struct whose first field is its size.
pub(super) unsafe fn size_of_callers<T: Sized32>(place: *const T) -> Result<usize> {
    not_null(place, T::NAME)?;
    // SAFETY: not null, and begins with the size by the contract.
    let size = unsafe { place.cast::<u32>().read_unaligned() } as usize;
    if size < T::FIRST || size > T::FIRST.max(size_of::<T>()) * 16 {
        let message = format!("{}.size is {size}: set it to sizeof", T::NAME);
        return Err(Failure::new(LEASEHOLD_E_SIZE, message));
    }
    Ok(size)
}

/// Fills a struct from C: no more than its size, and zeros after the known fields.
///
/// # Safety
/// `place` points to a struct whose size is in its first field.
pub(super) unsafe fn fill<T: Sized32>(place: *mut T, value: T) -> Result<()> {
    // SAFETY: by the contract.
    let size = unsafe { size_of_callers(place) }?;
    let known = size.min(size_of::<T>());
    let from = std::ptr::from_ref(&value).cast::<u8>();
    // SAFETY: `value` has that many bytes, and the struct of C by the contract.
    unsafe {
        place.cast::<u8>().copy_from_nonoverlapping(from, known);
        place.cast::<u8>().add(known).write_bytes(0, size - known);
        place.cast::<u32>().write_unaligned(u32::try_from(size).unwrap_or(u32::MAX));
    }
    Ok(())
}

/// A negative number is no limit.
pub(super) fn timeout(ms: i64) -> Duration {
    u64::try_from(ms).map_or(Duration::MAX, Duration::from_millis)
}
