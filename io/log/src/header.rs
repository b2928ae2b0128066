//! What the headers of frames and of segments have in common: 64 bytes that begin with a magic number and a version and end
//! with a checksum of all before it. Integers are little-endian.

use crate::frame::Fault;

/// Size in bytes.
pub const HEADER_BYTES: usize = 64;
const VERSION_AT: usize = 4;
const CHECKSUM_AT: usize = HEADER_BYTES - 4;

// One sector holds the header, so a power failure leaves all of it or nothing of it.
const _: () = assert!(HEADER_BYTES <= 512 && HEADER_BYTES.is_multiple_of(16));

/// The first bytes of a header.
pub fn begin(magic: [u8; 4], version: u16) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..VERSION_AT].copy_from_slice(&magic);
    bytes[VERSION_AT..6].copy_from_slice(&version.to_le_bytes());
    bytes
}

/// Writes the checksum of a header that is complete.
pub fn seal(bytes: &mut [u8; HEADER_BYTES]) {
    let checksum = crc32fast::hash(&bytes[..CHECKSUM_AT]);
    bytes[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
}

/// The sealed header of this magic number and version at the start of `block`.
///
/// # Errors
/// See [`Fault`], but for the last; a block shorter than a header is [`Fault::NotAHeader`].
pub fn open(block: &[u8], magic: [u8; 4], version: u16) -> Result<&[u8; HEADER_BYTES], Fault> {
    let bytes = block.first_chunk().ok_or(Fault::NotAHeader)?;
    if bytes[..VERSION_AT] != magic {
        return Err(Fault::NotAHeader);
    }
    if u32_at(bytes, CHECKSUM_AT) != crc32fast::hash(&bytes[..CHECKSUM_AT]) {
        return Err(Fault::Checksum);
    }
    match u16_at(bytes, VERSION_AT) {
        known if known == version => Ok(bytes),
        other => Err(Fault::Version(other)),
    }
}

/// The integer at `at`, which the caller knows to lie within `bytes`.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// As [`u64_at`].
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// As [`u64_at`].
pub fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}
