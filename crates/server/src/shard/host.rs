//! What a shard's thread keeps beside the shard: the folders' files, operations under way, and what ended.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use glommio::{Latency, Shares, TaskQueueHandle};
use windlass_io_disk::glommio::Disk;
use windlass_io_disk::uring::SyncMode;
use windlass_io_log::op::{Completion, Failure, Op};
use windlass_io_log::stream::{Priority, Request};

/// How long a task that can run may wait: with `Latency::NotImportant` a wake from another thread may take 100 ms.
const LATENCY: Duration = Duration::from_micros(500);

/// Shares of the queue for flushes and of the one for everything that has time.
const FLUSH_SHARES: usize = 1000;
const BACKGROUND_SHARES: usize = 50;

/// The task queues of a shard's executor; made once.
#[derive(Clone, Copy)]
pub(super) struct Queues {
    /// The shard itself, and its flushes.
    pub main: TaskQueueHandle,
    background: TaskQueueHandle,
}

impl Queues {
    /// On the executor that runs now.
    pub fn create() -> Self {
        let executor = glommio::executor();
        let main =
            executor.create_task_queue(Shares::Static(FLUSH_SHARES), Latency::Matters(LATENCY), "shard");
        let shares = Shares::Static(BACKGROUND_SHARES);
        let background = executor.create_task_queue(shares, Latency::NotImportant, "checkpoint");
        Self { main, background }
    }
}

/// One stream's files, and its operations under way.
pub(super) struct Host {
    disk: Rc<Disk>,
    queues: Queues,
    ended: Rc<Ended>,
    under_way: usize,
}

/// Operations that ended since the last look.
#[derive(Default)]
struct Ended {
    completions: RefCell<Vec<Completion>>,
    /// How long those of them took that made the stream durable.
    flushes: RefCell<Vec<Duration>>,
    waker: Cell<Option<Waker>>,
}

impl Host {
    pub fn open(folder: PathBuf, mode: SyncMode, queues: Queues) -> std::io::Result<Self> {
        let disk = Rc::new(Disk::open(folder, mode)?);
        Ok(Self { disk, queues, ended: Rc::default(), under_way: 0 })
    }

    /// Starts an operation.
    pub fn start(&mut self, request: Request) {
        let queue = match request.priority {
            Priority::Flush => self.queues.main,
            Priority::Background => self.queues.background,
        };
        let is_flush = request.priority == Priority::Flush && matches!(request.op, Op::WriteDurable { .. });
        if is_flush {
            failpoint!("beforeCommit");
        }
        let (disk, ended) = (Rc::clone(&self.disk), Rc::clone(&self.ended));
        let task = glommio::spawn_local_into(
            async move {
                let begun = Instant::now();
                let completion = disk.execute(request.op).await;
                if is_flush {
                    failpoint!("afterCommit");
                    ended.flushes.borrow_mut().push(begun.elapsed());
                }
                ended.completions.borrow_mut().push(completion);
                if let Some(waker) = ended.waker.take() {
                    waker.wake();
                }
            },
            queue,
        );
        // Dropping a task would cancel it.
        task.expect("the queues live as long as the executor").detach();
        self.under_way += 1;
    }

    /// Whether no operation is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Ready when some operation ended.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.ended.completions.borrow().is_empty() {
            return Poll::Ready(());
        }
        self.ended.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// The operations that ended.
    pub fn take(&mut self) -> Vec<Completion> {
        let ended = self.ended.completions.take();
        self.under_way -= ended.len();
        ended
    }

    /// How long flushes took that ended since the last look.
    pub fn take_flushes(&mut self) -> impl Iterator<Item = Duration> + use<> {
        self.ended.flushes.take().into_iter()
    }

    /// Closes the files; nothing is under way.
    pub async fn close(self) -> Result<(), Failure> {
        assert!(self.is_idle(), "operations end before their files");
        self.disk.close().await
    }
}
