//! A JSON tree that prints like Go's `encoding/json`.

use std::fmt::{self, Display, Formatter, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One JSON value, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A field that is not there: a nil pointer with `omitempty`.
    Absent,
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// Any 64-bit integer, signed or not.
    Integer(i128),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// Fields in the order of the Go struct.
    Object(Vec<(&'static str, Value)>),
}

impl Value {
    /// A signed integer.
    pub fn signed(value: i64) -> Self {
        Self::Integer(value.into())
    }

    /// An unsigned integer.
    pub fn unsigned(value: u64) -> Self {
        Self::Integer(value.into())
    }

    /// A string.
    pub fn string(text: &str) -> Self {
        Self::String(text.to_owned())
    }

    /// Bytes, in base64.
    pub fn bytes(bytes: &[u8]) -> Self {
        Self::String(STANDARD.encode(bytes))
    }

    /// An array of what `convert` makes of the items.
    pub fn array<T>(items: &[T], convert: impl Fn(&T) -> Self) -> Self {
        Self::Array(items.iter().map(convert).collect())
    }

    /// A struct whose fields all have `omitempty`.
    pub fn object<const N: usize>(fields: [(&'static str, Self); N]) -> Self {
        Self::Object(fields.into_iter().filter(|(_, value)| !value.is_empty()).collect())
    }

    /// A struct whose fields are shown even when they are zero.
    pub fn whole_object<const N: usize>(fields: [(&'static str, Self); N]) -> Self {
        Self::Object(fields.into_iter().filter(|(_, value)| *value != Self::Absent).collect())
    }

    /// What `omitempty` leaves out; a pointer to an empty struct is not empty.
    fn is_empty(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Bool(value) => !value,
            Self::Integer(value) => *value == 0,
            Self::String(text) => text.is_empty(),
            Self::Array(items) => items.is_empty(),
            Self::Null | Self::Object(_) => false,
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent | Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::String(text) => write_string(f, text),
            Self::Array(items) => write_list(f, ['[', ']'], items, |f, item| item.fmt(f)),
            Self::Object(fields) => write_list(f, ['{', '}'], fields, |f, (name, value)| {
                write_string(f, name)?;
                write!(f, ":{value}")
            }),
        }
    }
}

fn write_list<T>(
    f: &mut Formatter<'_>,
    [open, close]: [char; 2],
    items: &[T],
    write_item: impl Fn(&mut Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_char(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_char(',')?;
        }
        write_item(f, item)?;
    }
    f.write_char(close)
}

fn write_string(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                write!(f, "\\u{:04x}", u32::from(c))?
            }
            _ => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let text = "a\"\\\n\u{1}<>&\u{2028}ä/'";
        assert_eq!(Value::string(text).to_string(), r#""a\"\\\n\u0001\u003c\u003e\u0026\u2028ä/'""#);
    }

    #[test]
    fn empty_fields_and_whole_objects() {
        let fields = || [("a", Value::signed(0)), ("b", Value::Absent), ("c", Value::object([]))];
        assert_eq!(Value::object(fields()).to_string(), "{\"c\":{}}");
        assert_eq!(Value::whole_object(fields()).to_string(), "{\"a\":0,\"c\":{}}");
    }
}
