//! Figures of this process, read from `/proc` when somebody scrapes.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};

/// The process's own metrics.
#[derive(Default)]
pub(super) struct Gauges {
    resident_bytes: Gauge<u64, AtomicU64>,
    virtual_bytes: Gauge<u64, AtomicU64>,
    virtual_bytes_max: Gauge<f64, AtomicU64>,
    cpu_seconds: Gauge<f64, AtomicU64>,
    started_at: Gauge<f64, AtomicU64>,
    open_fds: Gauge<u64, AtomicU64>,
    fds_max: Gauge<u64, AtomicU64>,
    threads: Gauge<u64, AtomicU64>,
}

impl Gauges {
    pub fn register(&self, r: &mut Registry) {
        r.register("process_resident_memory_bytes", "Resident memory", self.resident_bytes.clone());
        r.register("process_virtual_memory_bytes", "Virtual memory", self.virtual_bytes.clone());
        let help = "Most virtual memory that the process may have";
        r.register("process_virtual_memory_max_bytes", help, self.virtual_bytes_max.clone());
        // A gauge only because the library's counters cannot be set; the name is the usual one.
        r.register("process_cpu_seconds_total", "User and system CPU time", self.cpu_seconds.clone());
        let help = "Start of the process in seconds since 1970";
        r.register("process_start_time_seconds", help, self.started_at.clone());
        r.register("process_open_fds", "Open file descriptors", self.open_fds.clone());
        r.register("process_max_fds", "Most file descriptors that may be open", self.fds_max.clone());
        // What runs beside each other in a Go process are goroutines on threads; here it is threads alone.
        r.register("go_threads", "Threads of the process", self.threads.clone());
        r.register("go_goroutines", "Threads of the process", self.threads.clone());
        // etcd's own names for the same.
        r.register("os_fd_used", "Open file descriptors", self.open_fds.clone());
        r.register("os_fd_limit", "Most file descriptors that may be open", self.fds_max.clone());
    }

    /// Reads all figures.
    pub fn look(&self) {
        let Some(process) = Process::read() else { return };
        self.resident_bytes.set(process.resident_bytes);
        self.virtual_bytes.set(process.virtual_bytes);
        self.cpu_seconds.set(process.cpu_seconds);
        self.started_at.set(process.started_at);
        self.open_fds.set(process.open_fds);
        self.threads.set(process.threads);
        // No limit is the largest number, as in Go's client.
        let limit = |resource| getrlimit(resource).current.unwrap_or(u64::MAX);
        self.fds_max.set(limit(Resource::Nofile));
        self.virtual_bytes_max.set(limit(Resource::As) as f64);
    }
}

/// Figures of this process from `/proc`.
pub struct Process {
    /// Resident memory.
    pub resident_bytes: u64,
    /// Virtual memory.
    pub virtual_bytes: u64,
    /// User and system CPU time.
    pub cpu_seconds: f64,
    /// When it started, in seconds since 1970.
    pub started_at: f64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
}

impl Process {
    /// `None` where `/proc` is not mounted.
    #[must_use]
    pub fn read() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name, in parentheses, may hold spaces; the rest is plain.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        let machine = std::fs::read_to_string("/proc/stat").ok()?;
        let booted_at: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
        Some(Self {
            cpu_seconds: seconds(number(11)? + number(12)?),
            threads: number(17)?,
            started_at: booted_at + seconds(number(19)?),
            virtual_bytes: number(20)?,
            resident_bytes: number(21)? * rustix::param::page_size() as u64,
            open_fds: std::fs::read_dir("/proc/self/fd").ok()?.count() as u64,
        })
    }
}
