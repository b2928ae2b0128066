//! Header fields to send, laid out as nghttp2 wants them, so that a constant list is handed over as it is.
#![allow(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

use libnghttp2_sys as ffi;

/// A header field to send: name and value, borrowed for `'a`.
///
/// A [`Field::constant`] is never copied, neither here nor in nghttp2; a [`Field::new`] is copied once when it is
/// submitted.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Field<'a>(ffi::nghttp2_nv, PhantomData<&'a [u8]>);

// SAFETY: the pointers in a `Field` are read-only borrows of bytes that live for `'a`, which are `Send` and `Sync`.
unsafe impl Send for Field<'_> {}
// SAFETY: as above; a `Field` has no interior mutability.
unsafe impl Sync for Field<'_> {}

/// A name or value that HTTP/2 does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidField;

impl fmt::Display for InvalidField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("header name or value has a character that HTTP/2 does not allow")
    }
}

impl std::error::Error for InvalidField {}

impl<'a> Field<'a> {
    /// A field known at compile time.
    ///
    /// # Panics
    /// If the name or value is not valid in HTTP/2: a bug at the call, found at compile time in a `const`.
    #[must_use]
    pub const fn constant(name: &'static str, value: &'static str) -> Field<'static> {
        assert!(
            valid_name(name.as_bytes()) && valid_value(value.as_bytes()),
            "invalid constant header field"
        );
        let flags = ffi::NGHTTP2_NV_FLAG_NO_COPY_NAME | ffi::NGHTTP2_NV_FLAG_NO_COPY_VALUE;
        Field(nv(name.as_bytes(), value.as_bytes(), flags as u8), PhantomData)
    }

    /// A field that is copied when it is submitted.
    ///
    /// # Errors
    /// [`InvalidField`] if the name is not lower-case token characters or the value has a control character.
    pub const fn new(name: &'a [u8], value: &'a [u8]) -> Result<Self, InvalidField> {
        if valid_name(name) && valid_value(value) {
            Ok(Self(nv(name, value, 0), PhantomData))
        } else {
            Err(InvalidField)
        }
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Field")
            .field("name_len", &self.0.namelen)
            .field("value_len", &self.0.valuelen)
            .finish()
    }
}

/// The list as nghttp2's pointer and length. The pointers in it are borrows that end with the fields' `'a`.
pub(crate) fn as_nva(fields: &[Field<'_>]) -> (*const ffi::nghttp2_nv, usize) {
    (fields.as_ptr().cast(), fields.len())
}

const fn nv(name: &[u8], value: &[u8], flags: u8) -> ffi::nghttp2_nv {
    ffi::nghttp2_nv {
        name: name.as_ptr().cast_mut(),
        value: value.as_ptr().cast_mut(),
        namelen: name.len(),
        valuelen: value.len(),
        flags,
    }
}

/// RFC 9113 section 8.2.1: token characters without upper case; a pseudo header's colon only at the front.
pub(crate) const fn valid_name(name: &[u8]) -> bool {
    let mut i = 0;
    while i < name.len() {
        let ok = match name[i] {
            b'a'..=b'z' | b'0'..=b'9' => true,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
            | b'|' | b'~' => true,
            b':' => i == 0 && name.len() > 1,
            _ => false,
        };
        if !ok {
            return false;
        }
        i += 1;
    }
    !name.is_empty()
}

/// RFC 9110 section 5.5: no control characters but tab, no white space at either end.
pub(crate) const fn valid_value(value: &[u8]) -> bool {
    let mut i = 0;
    while i < value.len() {
        if value[i] == 0x7f || (value[i] < 0x20 && value[i] != b'\t') {
            return false;
        }
        i += 1;
    }
    match value {
        [] => true,
        [first, .., last] => !is_blank(*first) && !is_blank(*last),
        [only] => !is_blank(*only),
    }
}

const fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_http2_does_not_allow() {
        for name in ["", "A", "a b", "a:", ":", "a\0", "a\r\n"] {
            assert_eq!(Field::new(name.as_bytes(), b"x").err(), Some(InvalidField), "{name:?}");
        }
        for value in ["a\r\nb", "\0", " a", "a ", "\t", "\x7f"] {
            assert_eq!(Field::new(b"x", value.as_bytes()).err(), Some(InvalidField), "{value:?}");
        }
        for (name, value) in [(":path", "/a b"), ("token", ""), ("x-y.z_1", "caf\u{e9}\ta")] {
            assert!(Field::new(name.as_bytes(), value.as_bytes()).is_ok(), "{name:?}");
        }
    }
}
