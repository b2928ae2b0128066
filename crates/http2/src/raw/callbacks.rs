//! The functions that nghttp2 calls, each of which turns C's arguments into a call of [`Hooks`].
//!
//! Each relies on what [`super::Raw`] promises: during a call into nghttp2 the user data is an exclusive pointer to `H`.

use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use libnghttp2_sys as ffi;

use super::{BlockKind, Control, Hooks, Supply, check};
use crate::field::as_nva;
use crate::{Error, ErrorCode};

const OK: c_int = 0;
/// Resets the stream at hand and goes on with the connection.
const REFUSE_STREAM: c_int = ffi::NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;

/// nghttp2's table of callbacks.
pub(super) struct Table(NonNull<ffi::nghttp2_session_callbacks>);

impl Table {
    pub fn new<H: Hooks>() -> Result<Self, Error> {
        let mut table = ptr::null_mut();
        // SAFETY: the pointer is writable; on success it holds a valid table.
        check(unsafe { ffi::nghttp2_session_callbacks_new(&mut table) })?;
        let table = Self(NonNull::new(table).ok_or(Error::OutOfMemory)?);
        let p = table.ptr();
        // SAFETY: the table is valid; the functions have the signatures that nghttp2 declares.
        unsafe {
            ffi::nghttp2_session_callbacks_set_on_begin_headers_callback(p, Some(on_begin_headers::<H>));
            ffi::nghttp2_session_callbacks_set_on_header_callback(p, Some(on_header::<H>));
            ffi::nghttp2_session_callbacks_set_on_data_chunk_recv_callback(p, Some(on_data::<H>));
            ffi::nghttp2_session_callbacks_set_on_frame_recv_callback(p, Some(on_frame::<H>));
            ffi::nghttp2_session_callbacks_set_on_frame_not_send_callback(p, Some(on_not_sent::<H>));
            ffi::nghttp2_session_callbacks_set_on_stream_close_callback(p, Some(on_close::<H>));
            ffi::nghttp2_session_callbacks_set_send_data_callback(p, Some(on_send_data::<H>));
        }
        Ok(table)
    }

    pub fn ptr(&self) -> *mut ffi::nghttp2_session_callbacks {
        self.0.as_ptr()
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: the table is valid and not used after this; sessions keep a copy of it.
        unsafe { ffi::nghttp2_session_callbacks_del(self.ptr()) };
    }
}

/// Where nghttp2 gets the data of the stream in row `slot`.
pub(super) fn provider<H: Hooks>(slot: u32) -> ffi::nghttp2_data_provider2 {
    ffi::nghttp2_data_provider2 {
        source: ffi::nghttp2_data_source { ptr: slot_to_ptr(slot) },
        read_callback: Some(on_read::<H>),
    }
}

/// A row's number as the pointer-sized number that nghttp2 keeps for a stream; null is left for "no row".
pub(super) fn slot_to_ptr(slot: u32) -> *mut c_void {
    ptr::without_provenance_mut(slot as usize + 1)
}

fn ptr_to_slot(ptr: *mut c_void) -> Option<u32> {
    ptr.addr().checked_sub(1).and_then(|slot| u32::try_from(slot).ok())
}

/// # Safety
/// `user_data` is what `Raw` lent for the call into nghttp2 that is under way, and the result is dropped before the
/// callback returns.
unsafe fn hooks<'a, H: Hooks>(user_data: *mut c_void) -> &'a mut H {
    assert!(!user_data.is_null(), "callbacks run only while the hooks are lent");
    // SAFETY: by the caller's promise the pointer is to a live `H` that nothing else refers to.
    unsafe { &mut *user_data.cast::<H>() }
}

/// # Safety
/// `session` is the session that is making the callback.
unsafe fn slot_of(session: *mut ffi::nghttp2_session, stream_id: i32) -> Option<u32> {
    // SAFETY: the session is valid; what it returns is a number that `slot_to_ptr` made, or null.
    ptr_to_slot(unsafe { ffi::nghttp2_session_get_stream_user_data(session, stream_id) })
}

/// As [`slot_of`], without a search for the stream that most calls are about.
///
/// # Safety
/// As [`slot_of`] and [`hooks`].
unsafe fn recent_slot_of<H: Hooks>(
    session: *mut ffi::nghttp2_session,
    stream_id: i32,
    user_data: *mut c_void,
) -> Option<u32> {
    // SAFETY: by the caller's promise.
    unsafe {
        match hooks::<H>(user_data).recent() {
            (id, slot) if id == stream_id => Some(slot),
            _ => slot_of(session, stream_id),
        }
    }
}

/// # Safety
/// If `len` is not 0, `data` points to that many readable bytes that outlive the callback.
unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: by the caller's promise.
    unsafe { std::slice::from_raw_parts(data, len) }
}

unsafe extern "C" fn on_begin_headers<H: Hooks>(
    session: *mut ffi::nghttp2_session,
    frame: *const ffi::nghttp2_frame,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 calls this with a HEADERS frame (or PUSH_PROMISE, which no session here allows), its own session
    // and the lent hooks.
    unsafe {
        let id = (*frame).hd.stream_id;
        let kind = match (*frame).headers.cat {
            ffi::NGHTTP2_HCAT_REQUEST => BlockKind::Request,
            ffi::NGHTTP2_HCAT_RESPONSE => BlockKind::Response,
            _ => BlockKind::Later,
        };
        // A request is the first block of its stream.
        let known = if kind == BlockKind::Request { None } else { slot_of(session, id) };
        let Some(slot) = hooks::<H>(user_data).block_begins(id, known, kind) else { return REFUSE_STREAM };
        if known.is_none() {
            ffi::nghttp2_session_set_stream_user_data(session, id, slot_to_ptr(slot));
        }
    }
    OK
}

unsafe extern "C" fn on_header<H: Hooks>(
    _session: *mut ffi::nghttp2_session,
    _frame: *const ffi::nghttp2_frame,
    name: *const u8,
    name_len: usize,
    value: *const u8,
    value_len: usize,
    _flags: u8,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives two readable runs of bytes and the lent hooks.
    let taken = unsafe { hooks::<H>(user_data).field(bytes(name, name_len), bytes(value, value_len)) };
    if taken { OK } else { REFUSE_STREAM }
}

unsafe extern "C" fn on_data<H: Hooks>(
    session: *mut ffi::nghttp2_session,
    _flags: u8,
    stream_id: i32,
    data: *const u8,
    len: usize,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives its own session, a readable run of bytes and the lent hooks. Giving credit back only queues
    // a frame; it makes no callback.
    unsafe {
        let Some(slot) = recent_slot_of::<H>(session, stream_id, user_data) else { return OK };
        let credit = hooks::<H>(user_data).data(slot, bytes(data, len));
        if credit > 0 {
            return ffi::nghttp2_session_consume_stream(session, stream_id, credit);
        }
    }
    OK
}

unsafe extern "C" fn on_frame<H: Hooks>(
    session: *mut ffi::nghttp2_session,
    frame: *const ffi::nghttp2_frame,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives a whole frame, of which the union's part that its type names is set, its own session and the
    // lent hooks.
    unsafe {
        let hd = (*frame).hd;
        let kind = u32::from(hd.type_);
        let flags = u32::from(hd.flags);
        match kind {
            ffi::NGHTTP2_HEADERS | ffi::NGHTTP2_DATA => {
                let last = flags & ffi::NGHTTP2_FLAG_END_STREAM != 0;
                let mut well_formed = kind == ffi::NGHTTP2_DATA || hooks::<H>(user_data).block_ends(last);
                if well_formed
                    && last
                    && let Some(slot) = recent_slot_of::<H>(session, hd.stream_id, user_data)
                {
                    well_formed = hooks::<H>(user_data).remote_ends(slot);
                }
                if !well_formed {
                    let code = ffi::NGHTTP2_PROTOCOL_ERROR;
                    return ffi::nghttp2_submit_rst_stream(session, 0, hd.stream_id, code);
                }
            }
            ffi::NGHTTP2_PING => {
                let bearable = hooks::<H>(user_data).ping(flags & ffi::NGHTTP2_FLAG_ACK != 0);
                return end_unless(bearable, session);
            }
            ffi::NGHTTP2_SETTINGS if flags & ffi::NGHTTP2_FLAG_ACK == 0 => {
                return end_unless(hooks::<H>(user_data).control(Control::Settings), session);
            }
            ffi::NGHTTP2_WINDOW_UPDATE => {
                return end_unless(hooks::<H>(user_data).control(Control::WindowUpdate), session);
            }
            ffi::NGHTTP2_RST_STREAM => {
                return end_unless(hooks::<H>(user_data).control(Control::Reset(hd.stream_id)), session);
            }
            ffi::NGHTTP2_GOAWAY => {
                let goaway = &(*frame).goaway;
                let debug = bytes(goaway.opaque_data, goaway.opaque_data_len);
                hooks::<H>(user_data).goaway(ErrorCode(goaway.error_code), debug);
            }
            _ => {}
        }
    }
    OK
}

/// Ends the connection of a peer that is not bearable: what else it has sent is not looked at.
///
/// # Safety
/// `session` is the session that is making the callback.
unsafe fn end_unless(bearable: bool, session: *mut ffi::nghttp2_session) -> c_int {
    if bearable {
        return OK;
    }
    // SAFETY: the session is valid. The call only queues a frame; it makes no callback.
    unsafe { ffi::nghttp2_session_terminate_session(session, ErrorCode::ENHANCE_YOUR_CALM.0) }
}

unsafe extern "C" fn on_not_sent<H: Hooks>(
    _session: *mut ffi::nghttp2_session,
    frame: *const ffi::nghttp2_frame,
    _error: c_int,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives the frame that it dropped and the lent hooks.
    unsafe {
        let hd = (*frame).hd;
        if u32::from(hd.type_) == ffi::NGHTTP2_HEADERS && (*frame).headers.cat == ffi::NGHTTP2_HCAT_REQUEST {
            hooks::<H>(user_data).not_sent(hd.stream_id);
        }
    }
    OK
}

unsafe extern "C" fn on_close<H: Hooks>(
    session: *mut ffi::nghttp2_session,
    stream_id: i32,
    error_code: u32,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives its own session, in which the stream still is, and the lent hooks.
    unsafe {
        if let Some(slot) = slot_of(session, stream_id) {
            hooks::<H>(user_data).closed(slot, ErrorCode(error_code));
        }
    }
    OK
}

unsafe extern "C" fn on_read<H: Hooks>(
    session: *mut ffi::nghttp2_session,
    stream_id: i32,
    _buf: *mut u8,
    max: usize,
    data_flags: *mut u32,
    source: *mut ffi::nghttp2_data_source,
    user_data: *mut c_void,
) -> isize {
    // SAFETY: nghttp2 gives its own session, a writable flag word, the source that `provider` made, and the lent hooks.
    // Submitting trailers copies or keeps constant fields, and makes no callback.
    unsafe {
        let slot = ptr_to_slot((*source).ptr).expect("every provider has a slot");
        let (len, flags) = match hooks::<H>(user_data).supply(slot, max) {
            Supply::Defer => return ffi::NGHTTP2_ERR_DEFERRED as isize,
            Supply::More(len) => (len, 0),
            Supply::Last(len) => (len, ffi::NGHTTP2_DATA_FLAG_EOF),
            Supply::LastWithTrailers(len) => {
                let rv = hooks::<H>(user_data).with_trailers(slot, |fields| {
                    let (nva, len) = as_nva(fields);
                    ffi::nghttp2_submit_trailer(session, stream_id, nva, len)
                });
                if rv != 0 {
                    return rv as isize;
                }
                (len, ffi::NGHTTP2_DATA_FLAG_EOF | ffi::NGHTTP2_DATA_FLAG_NO_END_STREAM)
            }
        };
        assert!(len <= max, "no more than what was asked for");
        *data_flags = flags | ffi::NGHTTP2_DATA_FLAG_NO_COPY;
        len as isize
    }
}

unsafe extern "C" fn on_send_data<H: Hooks>(
    _session: *mut ffi::nghttp2_session,
    frame: *mut ffi::nghttp2_frame,
    frame_header: *const u8,
    len: usize,
    source: *mut ffi::nghttp2_data_source,
    user_data: *mut c_void,
) -> c_int {
    // SAFETY: nghttp2 gives a DATA frame, the nine bytes of its header, the source that `provider` made, and the lent
    // hooks.
    unsafe {
        assert_eq!((*frame).data.padlen, 0, "no session here pads");
        let slot = ptr_to_slot((*source).ptr).expect("every provider has a slot");
        let more = hooks::<H>(user_data).write_data(slot, &*frame_header.cast::<[u8; 9]>(), len);
        if more { OK } else { ffi::NGHTTP2_ERR_PAUSE }
    }
}
