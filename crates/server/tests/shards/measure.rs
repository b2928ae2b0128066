//! What the shards' runtime costs: asleep, woken, and for a durable write. The first is a test, the others are figures
//! for `docs/adr/0001-glommio.md`: `cargo test --release -p windlass --test shards measure -- --ignored --nocapture`.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use glommio::{Latency, LocalExecutorBuilder, Shares, executor};
use windlass::mailbox::{Receiver, channel};
use windlass_io_disk::glommio::Disk;
use windlass_io_disk::uring::SyncMode;
use windlass_io_log::buffer::{BLOCK_BYTES, Buffer};
use windlass_io_log::op::{FileSlot, Op, Ticket};
use windlass_types::{ByteOffset, LogIndex};

use crate::member::Member;

/// Share of a CPU that an idle shard may take: measured is a hundredth of that, a thread that polls takes all of it.
const IDLE_SHARE_MAX: f64 = 0.02;

/// Longer than all other tests here together.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_idle_shard_sleeps() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut member) = Member::start(folder.path(), 1) else { return };
    crate::fill(&mut member, 1..=3);
    member.wait_until_stable(LogIndex(3));
    // The shards of tests that run beside this one count too, so it takes the first window in which all are idle.
    let deadline = Instant::now() + PATIENCE;
    while busy_share(Duration::from_millis(200)) > IDLE_SHARE_MAX {
        assert!(Instant::now() < deadline, "an idle shard does not sleep");
    }
    member.stop();
}

/// Share of a CPU that shards take during `window`.
fn busy_share(window: Duration) -> f64 {
    let (before, start) = (shard_cpu_time(), Instant::now());
    // Not to wait for anything: this is the time over which idleness is measured.
    std::thread::sleep(window);
    shard_cpu_time().saturating_sub(before).as_secs_f64() / start.elapsed().as_secs_f64()
}

/// Time on a CPU of all threads of this process that run shards.
fn shard_cpu_time() -> Duration {
    let mut time = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        // A thread of another test may end meanwhile.
        let read = |name| std::fs::read_to_string(path.join(name)).unwrap_or_default();
        if read("comm").starts_with("shard-") {
            let nanos = read("schedstat").split(' ').next().and_then(|n| n.parse().ok());
            time += Duration::from_nanos(nanos.unwrap_or_default());
        }
    }
    time
}

#[test]
#[ignore = "prints figures"]
fn measure_wakes_from_another_thread() {
    const WAKES: usize = 5000;
    let (tx, rx) = channel::<Instant>(16);
    let (seen, was_seen) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let executor = LocalExecutorBuilder::default().make().expect("an executor");
        executor.run(async move {
            let latency = Latency::Matters(Duration::from_micros(500));
            let queue = executor_queue(latency);
            glommio::spawn_local_into(receive(rx, seen), queue).expect("the queue is there").await
        })
    });
    for _ in 0..WAKES {
        tx.try_send(Instant::now()).unwrap();
        was_seen.recv().unwrap();
        // Until the executor sleeps again.
        std::thread::sleep(Duration::from_micros(200));
    }
    drop(tx);
    report("wake from another thread", thread.join().unwrap());
}

fn executor_queue(latency: Latency) -> glommio::TaskQueueHandle {
    executor().create_task_queue(Shares::Static(1000), latency, "measure")
}

async fn receive(mut rx: Receiver<Instant>, seen: mpsc::Sender<()>) -> Vec<Duration> {
    let (mut times, mut sent) = (Vec::new(), Vec::new());
    while rx.recv_all(&mut sent).await.is_ok() {
        times.extend(sent.drain(..).map(|at: Instant| at.elapsed()));
        seen.send(()).expect("the sender waits for it");
    }
    times
}

#[test]
#[ignore = "prints figures"]
fn measure_durable_writes() {
    const WRITES: u64 = 1000;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (mode, bytes) in
        [SyncMode::Dsync, SyncMode::WriteThenSync].into_iter().flat_map(|m| [(m, 4 << 10), (m, 1 << 20)])
    {
        let path = folder.path().to_owned();
        let executor = LocalExecutorBuilder::default().make().expect("an executor");
        let times = executor.run(async move {
            let disk = Disk::open(path, mode).unwrap();
            let (ticket, slot) = (Ticket(1), FileSlot(0));
            let size = ByteOffset(16 << 20);
            disk.execute(Op::Prepare { ticket, slot, size }).await.result.unwrap();
            let mut times = Vec::new();
            for i in 0..WRITES {
                let mut buffer = Buffer::zeroed(bytes, None);
                buffer.memory().fill(i as u8);
                buffer.set_len(bytes);
                let offset = ByteOffset(i * bytes.max(BLOCK_BYTES) as u64 % size.0);
                let start = Instant::now();
                disk.execute(Op::WriteDurable { ticket, slot, offset, buffer }).await.result.unwrap();
                times.push(start.elapsed());
            }
            disk.execute(Op::Remove { ticket, slot }).await.result.unwrap();
            times
        });
        report(&format!("durable write of {bytes} bytes, {mode}"), times);
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[(times.len() as f64 * share) as usize];
    eprintln!("{what}: p50 {:?}, p90 {:?}, p99 {:?}", at(0.5), at(0.9), at(0.99));
}
