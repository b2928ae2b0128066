//! One durable write without the ring: the caller sleeps until it has ended.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;

use rustix::io::{ReadWriteFlags, pwritev2};
use windlass_types::ByteOffset;

use super::SyncMode;

/// Writes all of `bytes` at `offset` and makes it durable.
pub(super) fn write_durable(
    file: &OwnedFd,
    offset: ByteOffset,
    bytes: &[u8],
    mode: SyncMode,
) -> io::Result<()> {
    let flags = match mode {
        SyncMode::Dsync => ReadWriteFlags::DSYNC,
        SyncMode::WriteThenSync => ReadWriteFlags::empty(),
    };
    let written = pwritev2(file, &[IoSlice::new(bytes)], offset.0, flags)?;
    if written != bytes.len() {
        let what = format!("wrote {written} of {} bytes", bytes.len());
        return Err(io::Error::new(io::ErrorKind::WriteZero, what));
    }
    match mode {
        SyncMode::Dsync => Ok(()),
        SyncMode::WriteThenSync => Ok(rustix::fs::fdatasync(file)?),
    }
}
