//! How threads wait for what a lone client does next, whose requests wait for every wake on the way.

mod awake;
mod cpu_latency;
mod habit;

pub use awake::Awake;
pub use cpu_latency::CpuLatency;
pub use habit::Habit;
