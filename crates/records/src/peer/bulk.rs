//! Records of a bulk stream.

use flatbuffers::FlatBufferBuilder;

use super::{Record, finish, root, wire};
use crate::Error;

/// A record whose fields are numbers only.
macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident($args:ident) { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Record for $name {
            fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
                fbb.reset();
                let table = wire::$name::create(fbb, &wire::$args { $($field: self.$field,)* });
                finish(fbb, table);
            }

            fn parse(data: &[u8]) -> Result<Self, Error> {
                let record = root::<wire::$name<'_>>(data)?;
                Ok(Self { $($field: record.$field(),)* })
            }
        }
    };
}

numbers!(
    /// Begins or continues a bulk stream; the sender's description of it follows the record.
    BulkOpen(BulkOpenArgs) {
        /// Names the stream among those from its sender.
        id: u64,
    }
);
numbers!(
    /// From the receiver: where to continue.
    BulkOpened(BulkOpenedArgs) {
        /// So many bytes the receiver has.
        offset: u64,
        /// CRC-32 of these bytes.
        crc: u32,
    }
);
numbers!(
    /// A piece of the stream, whose bytes follow the record.
    BulkChunk(BulkChunkArgs) {
        /// From 0 on each connection.
        sequence: u64,
        /// Of the first byte.
        offset: u64,
    }
);
numbers!(
    /// From the receiver: the bytes below are consumed, so many more may be sent.
    BulkCredit(BulkCreditArgs) {
        /// End of what is consumed.
        offset: u64,
    }
);
numbers!(
    /// The stream is complete.
    BulkEnd(BulkEndArgs) {
        /// Of the whole stream.
        length: u64,
        /// CRC-32 of all bytes.
        crc: u32,
    }
);
numbers!(
    /// From the receiver: it has everything and keeps it.
    BulkDone(BulkDoneArgs) {
        /// Of the whole stream.
        length: u64,
    }
);

/// From either side: the stream will not be continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkAbort {
    /// Why, for people.
    pub text: String,
}

impl Record for BulkAbort {
    fn encode(&self, fbb: &mut FlatBufferBuilder<'_>) {
        fbb.reset();
        let text = fbb.create_string(&self.text);
        let table = wire::BulkAbort::create(fbb, &wire::BulkAbortArgs { text: Some(text) });
        finish(fbb, table);
    }

    fn parse(data: &[u8]) -> Result<Self, Error> {
        let abort = root::<wire::BulkAbort<'_>>(data)?;
        Ok(Self { text: abort.text().unwrap_or_default().to_owned() })
    }
}
