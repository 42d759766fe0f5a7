//! What the targets share: every input also has a bound on the memory it may cost.

use std::alloc::System;

use cap::Cap;
pub use libfuzzer_sys;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Bytes that any input may cost, and how many more for each of its own: an element or an attribute of a few
/// characters becomes a value of a few hundred bytes, and the properties themselves keep copies.
const ANY: usize = 256 * 1024;
const EACH: usize = 256;

/// Runs one property on one input.
///
/// # Panics
/// When the property does not hold, or more was allocated at once than the size of the input permits.
pub fn check(property: fn(&[u8]), data: &[u8]) {
    let before = ALLOCATOR.allocated();
    ALLOCATOR
        .set_limit(before + ANY + EACH * data.len())
        .expect("above what is in use");
    property(data);
    ALLOCATOR.set_limit(usize::MAX).expect("no limit");
}

/// A fuzz target for one property.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            $crate::check(winrm_transport::fuzzing::$name, data)
        });
    };
}
