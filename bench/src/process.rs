//! What a process has used, from `/proc`. The files are read here; what they say is parsed by pure functions.

use std::fs;

use anyhow::{Context, Result};

const BYTES_PER_KIB: u64 = 1024;
const US_PER_S: u64 = 1_000_000;

/// A process's use of the machine since it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The program's name, as the kernel keeps it: at most 15 bytes.
    pub name: String,
    /// CPU time of all threads, user and system, in microseconds. The kernel counts in ticks, mostly 10 ms.
    pub cpu_us: u64,
    /// Resident memory in bytes, now.
    pub resident_bytes: u64,
    /// The most of it so far, or since [`forget_peak`].
    pub peak_bytes: u64,
    /// Bytes that it caused to be sent to the disk.
    pub written_bytes: u64,
}

/// Lets the peak of a process's memory begin anew. Where that is not allowed it stays what it was since the process began.
pub fn forget_peak(pid: u32) {
    // proc_pid_clear_refs(5): 5 resets the peak.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}

impl Usage {
    /// Of the process `pid`, now.
    ///
    /// # Errors
    /// There is no such process, or it belongs to someone else.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("process {pid}: cannot read {path}"))
        };
        let (stat, status, io) = (read("stat")?, read("status")?, read("io")?);
        let ticks_per_s = rustix::param::clock_ticks_per_second();
        let (name, ticks) = parse_stat(&stat).with_context(|| format!("process {pid}: odd stat"))?;
        Ok(Self {
            name: name.to_owned(),
            cpu_us: ticks * US_PER_S / ticks_per_s,
            resident_bytes: field(&status, "VmRSS:").unwrap_or(0) * BYTES_PER_KIB,
            peak_bytes: field(&status, "VmHWM:").unwrap_or(0) * BYTES_PER_KIB,
            written_bytes: field(&io, "write_bytes:").with_context(|| format!("process {pid}: odd io"))?,
        })
    }
}

/// The name and the CPU time in ticks. The name may hold blanks and brackets: the last `)` ends it.
fn parse_stat(stat: &str) -> Option<(&str, u64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    // proc_pid_stat(5): utime and stime are fields 14 and 15; after the name comes field 3.
    let mut times = after.split_whitespace().skip(11).map(str::parse::<u64>);
    Some((name, times.next()?.ok()? + times.next()?.ok()?))
}

/// The number in the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_stat_with_an_odd_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 5 0 100 1 2 3";
        assert_eq!(parse_stat(stat), Some(("a) b (c", 300)));
        assert_eq!(parse_stat("7 (a) S 1"), None);
    }

    #[test]
    fn reads_fields() {
        let io = "rchar: 1\nwrite_bytes: 42\ncancelled_write_bytes: 7\n";
        assert_eq!(field(io, "write_bytes:"), Some(42));
        assert_eq!(field(io, "none:"), None);
    }

    #[test]
    fn finds_this_process_and_not_another() {
        let usage = Usage::of(std::process::id()).expect("this process is there");
        assert!(usage.resident_bytes > 0 && !usage.name.is_empty());
        assert!(usage.peak_bytes >= usage.resident_bytes);
        assert!(Usage::of(u32::MAX).is_err());
    }
}
