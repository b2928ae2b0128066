//! Latency of a durable 4 KiB write through the ring, both ways: `cargo run --release -p windlass-io-disk --example
//! flush [folder] [writes]`. Writes over one prepared 64 MiB segment, one write in flight.
#![allow(clippy::print_stdout)] // its whole purpose

use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use windlass_io_disk::preflight;
use windlass_io_disk::uring::{SyncMode, Uring};
use windlass_io_log::buffer::{BLOCK_BYTES, Buffer};
use windlass_io_log::op::{Completion, FileSlot, Op, Ticket};
use windlass_types::ByteOffset;

const FILE_BYTES: usize = 64 << 20;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| ".".into());
    let writes = arguments.next().map_or(Ok(5000), |n| n.parse())?;
    let folder = tempfile::tempdir_in(folder)?;
    preflight::check(folder.path())?;
    let probe_folder = tempfile::tempdir_in(folder.path())?;
    println!("probe: {:?}", windlass_io_disk::probe::probe(probe_folder.path())?);
    drop(probe_folder);
    for (slot, mode) in [(0, SyncMode::Dsync), (1, SyncMode::WriteThenSync)] {
        let mut times = measure(folder.path(), FileSlot(slot), mode, writes)?;
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        println!("{mode}: p50 {:?}, p90 {:?}, p99 {:?}", at(50), at(90), at(99));
    }
    Ok(())
}

fn measure(folder: &Path, slot: FileSlot, mode: SyncMode, writes: usize) -> anyhow::Result<Vec<Duration>> {
    let mut buffer = Some(Buffer::zeroed(BLOCK_BYTES, Some(0)));
    let mut uring = Uring::open(folder, mode, buffer.as_slice())?;
    run(&mut uring, Op::Prepare { ticket: Ticket(0), slot, size: ByteOffset(FILE_BYTES as u64) })?;
    let mut times = Vec::with_capacity(writes);
    for i in 0..writes {
        let mut filled = buffer.take().expect("came back with the completion");
        filled.memory().fill(i as u8);
        filled.set_len(BLOCK_BYTES);
        let offset = ByteOffset((i * BLOCK_BYTES % FILE_BYTES) as u64);
        let start = Instant::now();
        buffer =
            run(&mut uring, Op::WriteDurable { ticket: Ticket(i as u64), slot, offset, buffer: filled })?
                .buffer;
        times.push(start.elapsed());
    }
    Ok(times)
}

fn run(uring: &mut Uring, op: Op) -> anyhow::Result<Completion> {
    uring.submit([op]);
    uring.flush()?;
    let mut out = Vec::new();
    while out.is_empty() {
        {
            let eventfd = uring.eventfd();
            let fd = eventfd.as_fd();
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], None)?;
            rustix::io::read(fd, &mut [0_u8; 8])?;
        }
        uring.reap(&mut out);
    }
    let completion = out.remove(0);
    completion.result.clone()?;
    Ok(completion)
}
