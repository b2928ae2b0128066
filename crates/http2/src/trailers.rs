//! What ends one side of a stream.

use crate::Field;

/// The fields that are sent after the last of a stream's data.
#[derive(Clone, Debug)]
pub enum Trailers {
    /// None: the last data ends the stream.
    None,
    /// Fields known at compile time, which are never copied.
    Constant(&'static [Field<'static>]),
    /// Fields made for this stream. One that HTTP/2 does not allow is left out.
    Owned(Vec<(&'static str, String)>),
}

impl Trailers {
    /// Hands the fields out as a list.
    pub(crate) fn with<R>(&self, submit: impl FnOnce(&[Field<'_>]) -> R) -> R {
        match self {
            Self::None => submit(&[]),
            Self::Constant(fields) => submit(fields),
            Self::Owned(fields) => {
                let valid = fields
                    .iter()
                    .filter_map(|(name, value)| Field::new(name.as_bytes(), value.as_bytes()).ok());
                let fields: Vec<_> = valid.collect();
                submit(&fields)
            }
        }
    }
}
