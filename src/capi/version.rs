//! Which version this is.

use std::ffi::c_char;

/// Raised when a program that was compiled for an earlier number must be compiled anew; the
/// library's soname ends with it.
pub const LEASEHOLD_ABI: u32 = 1;

/// The library's version, `MAJOR.MINOR.PATCH`: a text that is never freed. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// `LEASEHOLD_ABI` as it was when the library was built. Never fails.
#[unsafe(no_mangle)]
pub extern "C" fn leasehold_abi() -> u32 {
    LEASEHOLD_ABI
}
