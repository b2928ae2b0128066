//! The only place that calls nghttp2: a typed, safe shell around one `nghttp2_session`.
//!
//! nghttp2 calls back while it takes bytes in or gives bytes out, and only then. The state behind the callbacks
//! ([`Hooks`]) is owned by [`Raw`], which lends nghttp2 a pointer to it for exactly the length of such a call and does not
//! touch it meanwhile. Callbacks are `extern "C"`: a panic in one ends the process instead of unwinding through C.
#![allow(unsafe_code)]

mod callbacks;
mod memory;

use std::ffi::c_void;
use std::ptr::{self, NonNull};

use libnghttp2_sys as ffi;

use crate::field::as_nva;
use crate::{Error, ErrorCode, Field, Settings};

/// RFC 9218 section 4.1.
const DEFAULT_URGENCY: u32 = 3;

/// nghttp2 counts how often it looks for a CONTINUATION's head, not how often one comes: before its first byte, and after
/// each when they come alone. A client whose bytes are in small pieces must not pass for one that floods.
const LOOKS_PER_CONTINUATION: usize = 1 + 9;

/// Which blocks of fields there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A request, at a server.
    Request,
    /// A response, at a client; it may be an informational one.
    Response,
    /// A later block on a known stream.
    Later,
}

/// What the data of a stream comes down to when nghttp2 asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// Nothing now; nghttp2 will be told with [`Raw::resume`].
    Defer,
    /// This many bytes and more to come.
    More(usize),
    /// The last bytes, and the stream ends with them.
    Last(usize),
    /// The last bytes, and trailers follow them.
    LastWithTrailers(usize),
}

/// A frame that carries nothing for the owner of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// RST_STREAM on this stream.
    Reset(i32),
    /// SETTINGS, not an acknowledgement.
    Settings,
    WindowUpdate,
}

/// What a session does with what nghttp2 tells it. `slot` is the stream's row.
pub(crate) trait Hooks {
    /// A block of fields begins on a stream, which has a row unless this is its first block. Returns its row; `None`
    /// refuses the stream.
    fn block_begins(&mut self, stream_id: i32, slot: Option<u32>, kind: BlockKind) -> Option<u32>;
    /// One field of the block that began last. False refuses the stream.
    fn field(&mut self, name: &[u8], value: &[u8]) -> bool;
    /// The block that began last is whole; with `last` it ends the stream. False if it is malformed, which resets the
    /// stream.
    fn block_ends(&mut self, last: bool) -> bool;
    /// The stream whose block began last and its row, if it is still there: the one that most calls are about.
    fn recent(&self) -> (i32, u32);
    /// Body bytes. Returns how many bytes of stream credit to give back now.
    fn data(&mut self, slot: u32, bytes: &[u8]) -> usize;
    /// The peer ended its side of the stream. False if its body is not what its head said, which resets the stream.
    fn remote_ends(&mut self, slot: u32) -> bool;
    /// The stream is gone.
    fn closed(&mut self, slot: u32, code: ErrorCode);
    /// A request could not be sent.
    fn not_sent(&mut self, stream_id: i32);
    /// A PING or its acknowledgement. False if the peer floods, which ends the connection.
    fn ping(&mut self, ack: bool) -> bool;
    /// A frame that carries nothing. False as with [`Hooks::ping`].
    fn control(&mut self, control: Control) -> bool;
    /// The peer announced the end of the connection.
    fn goaway(&mut self, code: ErrorCode, debug: &[u8]);
    /// At most `max` bytes of the stream are wanted.
    fn supply(&mut self, slot: u32, max: usize) -> Supply;
    /// Appends a DATA frame to the output: its header and the next `len` bytes of the stream. False when the output
    /// has enough for now.
    fn write_data(&mut self, slot: u32, frame_header: &[u8; 9], len: usize) -> bool;
    /// Hands out the trailers of a stream whose last data was supplied.
    fn with_trailers<R>(&self, slot: u32, submit: impl FnOnce(&[Field<'_>]) -> R) -> R;
    /// Appends any other frame to the output. False when the output has enough for now.
    fn write(&mut self, bytes: &[u8]) -> bool;
}

/// The side of the connection that this session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Server,
    Client,
}

/// One nghttp2 session and the state behind its callbacks.
pub(crate) struct Raw<H: Hooks> {
    session: NonNull<ffi::nghttp2_session>,
    /// What the callbacks work on.
    pub hooks: Box<H>,
}

// SAFETY: an nghttp2 session is plain memory without thread affinity, owned by this value alone and used only through
// `&mut self`.
unsafe impl<H: Hooks + Send> Send for Raw<H> {}

impl<H: Hooks> Raw<H> {
    pub fn new(role: Role, settings: &Settings, hooks: H) -> Result<Self, Error> {
        let callbacks = callbacks::Table::new::<H>()?;
        let options = Options::new(role, settings)?;
        let mut session = ptr::null_mut();
        let mut memory = memory::functions();
        let create = match role {
            Role::Server => ffi::nghttp2_session_server_new3,
            Role::Client => ffi::nghttp2_session_client_new3,
        };
        // SAFETY: the table, the options and the memory functions are valid for the call, which copies what it needs of
        // them; the hooks are lent later.
        let rv = unsafe {
            create(&mut session, callbacks.ptr(), ptr::null_mut(), options.0.as_ptr(), &mut memory)
        };
        check(rv)?;
        let session = NonNull::new(session).ok_or(Error::OutOfMemory)?;
        let mut raw = Self { session, hooks: Box::new(hooks) };
        raw.submit_settings(role, settings)?;
        Ok(raw)
    }

    fn submit_settings(&mut self, role: Role, settings: &Settings) -> Result<(), Error> {
        let entry = |id: ffi::nghttp2_settings_id, value| ffi::nghttp2_settings_entry {
            settings_id: id as i32,
            value,
        };
        let window = settings.stream_window_bytes.min(i32::MAX as u32);
        let entries = [
            entry(ffi::NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window),
            entry(ffi::NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.header_list_bytes_max),
            match role {
                Role::Server => entry(ffi::NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.streams_max),
                Role::Client => entry(ffi::NGHTTP2_SETTINGS_ENABLE_PUSH, 0),
            },
        ];
        // SAFETY: the session is valid; the entries are copied.
        check(unsafe { ffi::nghttp2_submit_settings(self.ptr(), 0, entries.as_ptr(), entries.len()) })?;
        let window = i32::try_from(settings.connection_window_bytes).unwrap_or(i32::MAX);
        // SAFETY: the session is valid; stream 0 is the connection.
        check(unsafe { ffi::nghttp2_session_set_local_window_size(self.ptr(), 0, 0, window) })
    }

    /// Takes in bytes from the peer.
    pub fn recv(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.lend_hooks();
        // SAFETY: the session is valid, `bytes` is readable for its length, and the hooks pointer that was just lent is
        // used by nothing but the callbacks until the call returns.
        let taken = unsafe { ffi::nghttp2_session_mem_recv2(self.ptr(), bytes.as_ptr(), bytes.len()) };
        if taken < 0 {
            return check(i32::try_from(taken).unwrap_or(ffi::NGHTTP2_ERR_FATAL));
        }
        assert_eq!(taken.unsigned_abs(), bytes.len(), "no callback pauses, so all input is taken");
        Ok(())
    }

    /// Writes pending output to the hooks until there is none or they have enough.
    pub fn send(&mut self) -> Result<(), Error> {
        let hooks = self.lend_hooks();
        loop {
            let mut data = ptr::null();
            // SAFETY: as in `recv`.
            let len = unsafe { ffi::nghttp2_session_mem_send2(self.ptr(), &mut data) };
            if len <= 0 {
                return check(i32::try_from(len).unwrap_or(ffi::NGHTTP2_ERR_FATAL));
            }
            // SAFETY: nghttp2 gives `len` readable bytes that stay valid until its next call. The call has returned, so
            // no callback uses the hooks now, and this reference to them ends before the next.
            let more = unsafe { (*hooks).write(std::slice::from_raw_parts(data, len.unsigned_abs())) };
            if !more {
                return Ok(());
            }
        }
    }

    /// Answers a request. Without a body the stream ends with the headers.
    pub fn submit_response(
        &mut self,
        stream_id: i32,
        slot: u32,
        head: &[Field<'_>],
        body: bool,
    ) -> Result<(), Error> {
        let provider = callbacks::provider::<H>(slot);
        let provider = if body { &raw const provider } else { ptr::null() };
        let (nva, len) = as_nva(head);
        // SAFETY: the session is valid; the fields are valid for the call and copied but for constant ones, which live
        // for ever; the provider is copied.
        check(unsafe { ffi::nghttp2_submit_response2(self.ptr(), stream_id, nva, len, provider) })
    }

    /// Opens a stream with a request. Returns its number.
    pub fn submit_request(&mut self, slot: u32, head: &[Field<'_>], body: bool) -> Result<i32, Error> {
        let provider = callbacks::provider::<H>(slot);
        let provider = if body { &raw const provider } else { ptr::null() };
        let (nva, len) = as_nva(head);
        let row = callbacks::slot_to_ptr(slot);
        // SAFETY: as in `submit_response`; the user data is a number, never dereferenced.
        let id = unsafe { ffi::nghttp2_submit_request2(self.ptr(), ptr::null(), nva, len, provider, row) };
        check(id.min(0)).map(|()| id)
    }

    /// Ends a stream at once.
    pub fn submit_reset(&mut self, stream_id: i32, code: ErrorCode) -> Result<(), Error> {
        // SAFETY: the session is valid.
        check(unsafe { ffi::nghttp2_submit_rst_stream(self.ptr(), 0, stream_id, code.0) })
    }

    /// Asks for data of a stream that had none.
    pub fn resume(&mut self, stream_id: i32) {
        // SAFETY: the session is valid. It fails only where the stream is gone, which its closing reports.
        unsafe { ffi::nghttp2_session_resume_data(self.ptr(), stream_id) };
    }

    /// Lets other streams of equal urgency in between the frames of this one.
    pub fn make_incremental(&mut self, stream_id: i32) {
        let priority = ffi::nghttp2_extpri { urgency: DEFAULT_URGENCY, inc: 1 };
        // SAFETY: the session is valid and the priority is copied. It fails only where the stream is gone.
        unsafe { ffi::nghttp2_session_change_extpri_stream_priority(self.ptr(), stream_id, &priority, 1) };
    }

    /// Gives the peer credit back for the connection.
    pub fn credit_connection(&mut self, bytes: usize) -> Result<(), Error> {
        // SAFETY: the session is valid.
        check(unsafe { ffi::nghttp2_session_consume_connection(self.ptr(), bytes) })
    }

    /// Gives the peer credit back for a stream.
    pub fn credit_stream(&mut self, stream_id: i32, bytes: usize) -> Result<(), Error> {
        // SAFETY: the session is valid.
        check(unsafe { ffi::nghttp2_session_consume_stream(self.ptr(), stream_id, bytes) })
    }

    /// Sends a PING.
    pub fn submit_ping(&mut self) -> Result<(), Error> {
        // SAFETY: the session is valid; without payload eight zero bytes are sent.
        check(unsafe { ffi::nghttp2_submit_ping(self.ptr(), 0, ptr::null()) })
    }

    /// Announces that the connection will end soon, without refusing any stream yet.
    pub fn submit_shutdown_notice(&mut self) -> Result<(), Error> {
        // SAFETY: the session is valid.
        check(unsafe { ffi::nghttp2_submit_shutdown_notice(self.ptr()) })
    }

    /// Announces that streams after those seen so far are not served.
    pub fn submit_goaway(&mut self, code: ErrorCode, debug: &str) -> Result<(), Error> {
        let last = self.last_stream_id();
        // SAFETY: the session is valid; the debug data is copied.
        check(unsafe { ffi::nghttp2_submit_goaway(self.ptr(), 0, last, code.0, debug.as_ptr(), debug.len()) })
    }

    /// Ends the connection with a GOAWAY; what arrives is not looked at any more. Once: later calls do nothing.
    pub fn terminate(&mut self, code: ErrorCode) -> Result<(), Error> {
        // SAFETY: the session is valid.
        check(unsafe { ffi::nghttp2_session_terminate_session(self.ptr(), code.0) })
    }

    /// The number of the last stream that the peer opened.
    pub fn last_stream_id(&self) -> i32 {
        // SAFETY: the session is valid; the call only reads.
        unsafe { ffi::nghttp2_session_get_last_proc_stream_id(self.ptr()) }
    }

    /// Whether the session still has a use for input.
    pub fn wants_read(&self) -> bool {
        // SAFETY: the session is valid; the call only reads.
        unsafe { ffi::nghttp2_session_want_read(self.ptr()) != 0 }
    }

    /// Whether the session has output.
    pub fn wants_write(&self) -> bool {
        // SAFETY: the session is valid; the call only reads.
        unsafe { ffi::nghttp2_session_want_write(self.ptr()) != 0 }
    }

    fn ptr(&self) -> *mut ffi::nghttp2_session {
        self.session.as_ptr()
    }

    /// Makes the hooks reachable for callbacks. The pointer is good until `self.hooks` is used again.
    fn lend_hooks(&mut self) -> *mut H {
        let hooks: *mut H = &mut *self.hooks;
        // SAFETY: the session is valid; the pointer is stored, not followed.
        unsafe { ffi::nghttp2_session_set_user_data(self.ptr(), hooks.cast::<c_void>()) };
        hooks
    }
}

impl<H: Hooks> Drop for Raw<H> {
    fn drop(&mut self) {
        // SAFETY: the session is valid and not used after this. It makes no callbacks here.
        unsafe { ffi::nghttp2_session_del(self.ptr()) };
    }
}

struct Options(NonNull<ffi::nghttp2_option>);

impl Options {
    fn new(role: Role, settings: &Settings) -> Result<Self, Error> {
        let mut option = ptr::null_mut();
        // SAFETY: the pointer is writable; on success it holds a valid option object.
        check(unsafe { ffi::nghttp2_option_new(&mut option) })?;
        let option = NonNull::new(option).ok_or(Error::OutOfMemory)?;
        let p = option.as_ptr();
        // SAFETY: the option object is valid.
        unsafe {
            ffi::nghttp2_option_set_no_auto_window_update(p, 1);
            // A server's session checks request heads by itself: see `request`.
            ffi::nghttp2_option_set_no_http_messaging(p, i32::from(role == Role::Server));
            ffi::nghttp2_option_set_max_outbound_ack(p, settings.acks_waiting_max);
            ffi::nghttp2_option_set_max_settings(p, settings.settings_entries_max);
            ffi::nghttp2_option_set_max_continuations(p, settings.continuations_max * LOOKS_PER_CONTINUATION);
            // Resets are counted by `State`, together with those that a peer provokes.
            ffi::nghttp2_option_set_stream_reset_rate_limit(p, u64::MAX, 0);
            ffi::nghttp2_option_set_glitch_rate_limit(p, settings.glitches_burst, settings.glitches_per_s);
        }
        Ok(Self(option))
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the option object is valid and not used after this.
        unsafe { ffi::nghttp2_option_del(self.0.as_ptr()) };
    }
}

fn check(rv: i32) -> Result<(), Error> {
    if rv >= 0 {
        return Ok(());
    }
    Err(match rv {
        ffi::NGHTTP2_ERR_BAD_CLIENT_MAGIC => Error::BadPreface,
        ffi::NGHTTP2_ERR_FLOODED
        | ffi::NGHTTP2_ERR_TOO_MANY_SETTINGS
        | ffi::NGHTTP2_ERR_TOO_MANY_CONTINUATIONS => Error::Flooded,
        ffi::NGHTTP2_ERR_NOMEM => Error::OutOfMemory,
        ffi::NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE | ffi::NGHTTP2_ERR_START_STREAM_NOT_ALLOWED => {
            Error::NoMoreStreams
        }
        code => Error::Library(code),
    })
}
