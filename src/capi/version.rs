//! The version of the library.

use std::ffi::c_char;

/// The version of the binary interface, with which the library's soname ends. A program that was
/// compiled for another number must be compiled again.
pub const LEASEHOLD_ABI: u32 = 1;

/// The library's version, `MAJOR.MINOR.PATCH`. Do not free the text. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// The library's `LEASEHOLD_ABI`. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_abi() -> u32 {
    LEASEHOLD_ABI
}
