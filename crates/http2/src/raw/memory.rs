//! nghttp2's memory from the program's own allocator, which is faster than C's for many small and short-lived blocks.
//!
//! C frees without a size and Rust's allocator wants one, so each block begins with a header that holds it.

use std::alloc::{self, Layout};
use std::ffi::c_void;
use std::ptr;

use libnghttp2_sys as ffi;

/// Room for the size, and the alignment of a block: nghttp2 keeps nothing that needs more than a pointer does.
const HEADER_BYTES: usize = 8;
const _: () = assert!(HEADER_BYTES == align_of::<*mut c_void>() && HEADER_BYTES == size_of::<usize>());

/// The functions for a new session, which copies them.
pub(super) fn functions() -> ffi::nghttp2_mem {
    ffi::nghttp2_mem {
        mem_user_data: ptr::null_mut(),
        malloc: Some(malloc),
        free: Some(free),
        calloc: Some(calloc),
        realloc: Some(realloc),
    }
}

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(HEADER_BYTES)?, HEADER_BYTES).ok()
}

/// # Safety
/// `block` is null or a block of `size` bytes behind a header.
unsafe fn with_header(block: *mut u8, size: usize) -> *mut c_void {
    if block.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the block has room for the header and is aligned for it.
    unsafe {
        block.cast::<usize>().write(size);
        block.add(HEADER_BYTES).cast()
    }
}

/// # Safety
/// `memory` came from `with_header` and was not freed.
unsafe fn block_of(memory: *mut c_void) -> (*mut u8, Layout) {
    // SAFETY: a header is before it, written by `with_header`.
    unsafe {
        let block = memory.cast::<u8>().sub(HEADER_BYTES);
        let size = block.cast::<usize>().read();
        (block, layout(size).expect("it had a layout when it was allocated"))
    }
}

unsafe extern "C" fn malloc(size: usize, _: *mut c_void) -> *mut c_void {
    let Some(layout) = layout(size) else { return ptr::null_mut() };
    // SAFETY: the layout's size is not 0.
    unsafe { with_header(alloc::alloc(layout), size) }
}

unsafe extern "C" fn calloc(count: usize, size: usize, _: *mut c_void) -> *mut c_void {
    let Some(size) = count.checked_mul(size) else { return ptr::null_mut() };
    let Some(layout) = layout(size) else { return ptr::null_mut() };
    // SAFETY: the layout's size is not 0.
    unsafe { with_header(alloc::alloc_zeroed(layout), size) }
}

unsafe extern "C" fn free(memory: *mut c_void, _: *mut c_void) {
    if memory.is_null() {
        return;
    }
    // SAFETY: nghttp2 frees only what it got from these functions, once.
    unsafe {
        let (block, layout) = block_of(memory);
        alloc::dealloc(block, layout);
    }
}

unsafe extern "C" fn realloc(memory: *mut c_void, size: usize, user_data: *mut c_void) -> *mut c_void {
    if memory.is_null() {
        // SAFETY: as `malloc`.
        return unsafe { malloc(size, user_data) };
    }
    let Some(new) = layout(size) else { return ptr::null_mut() };
    // SAFETY: nghttp2 passes only what it got from these functions; on failure the old block stays as it is.
    unsafe {
        let (block, old) = block_of(memory);
        with_header(alloc::realloc(block, old, new.size()), size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_and_keep_their_content() {
        let none = ptr::null_mut();
        // SAFETY: the blocks are used within their sizes and freed once.
        unsafe {
            let memory = calloc(10, 10, none).cast::<u8>();
            assert!((0..100).all(|i| memory.add(i).read() == 0));
            memory.write_bytes(7, 100);
            let memory = realloc(memory.cast(), 10_000, none).cast::<u8>();
            assert!(
                memory.addr().is_multiple_of(HEADER_BYTES) && (0..100).all(|i| memory.add(i).read() == 7)
            );
            free(memory.cast(), none);
            free(none, none);
            assert!(malloc(usize::MAX, none).is_null() && calloc(usize::MAX, 2, none).is_null());
            let memory = realloc(none, 1, none);
            assert!(!memory.is_null());
            free(memory, none);
        }
    }
}
