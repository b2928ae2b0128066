//! Keeps the CPUs from sleeping deeply while a lone client sends request after request.
//!
//! Such a client leaves all CPUs idle several times a request: while the disk writes, while it flushes, while the client
//! thinks. Leaving an idle state takes from a microsecond to a tenth of a millisecond, and on a virtual CPU a trip
//! through the hypervisor, and the request waits for each. The kernel lets a process say how long that may take, for as
//! long as it holds `/dev/cpu_dma_latency` open. It is held from a quick request until none came for [`REST`]. See
//! `docs/adr/0015-cpu-latency.md`.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// The kernel's device for it. Source: Linux `Documentation/power/pm_qos_interface.rst`.
const DEVICE: &str = "/dev/cpu_dma_latency";

/// What the kernel says of its idle states.
const SYSFS: &str = "/sys/devices/system/cpu";

/// For how long after the last quick request the CPUs are held: long enough that taking and giving back cost nothing
/// beside the requests between, short enough that nobody pays for a client that has left.
const REST: Duration = Duration::from_millis(20);

/// One thread's hold on the CPUs. The kernel follows the strictest of all.
#[derive(Debug)]
pub struct CpuLatency {
    /// None if nobody may hold them.
    hold: Option<Rc<Hold>>,
}

impl CpuLatency {
    /// Nothing is wanted yet. With `--cpu-latency=off` nothing ever is.
    pub fn new(may_hold: bool) -> Self {
        Self { hold: may_hold.then(Rc::default) }
    }

    /// Runs what holds the CPUs beside the caller, on its thread, for as long as that lives.
    pub fn spawn(&self) {
        if let Some(hold) = &self.hold {
            actix_rt::spawn(Rc::clone(hold).keep());
        }
    }

    /// A quick client was served.
    pub fn want(&self, now: Instant) {
        if let Some(hold) = &self.hold {
            hold.want(now);
        }
    }
}

/// What a thread and its task share.
#[derive(Debug, Default)]
struct Hold {
    /// Until when it is wanted.
    until: Cell<Option<Instant>>,
    wanted: Notify,
}

impl Hold {
    fn want(&self, now: Instant) {
        if self.until.replace(Some(now + REST)).is_none() {
            self.wanted.notify_one();
        }
    }

    /// Holds the CPUs while that is wanted. For as long as its thread lives, or until it turns out that this machine or
    /// this user cannot.
    async fn keep(self: Rc<Self>) {
        let Some(bound_us) = bound_us(Path::new(SYSFS)) else {
            return tracing::debug!("no idle state of the CPUs takes long to leave, or none is known");
        };
        loop {
            self.wanted.notified().await;
            let held = match bound(Path::new(DEVICE), bound_us) {
                Ok(device) => device,
                Err(error) => {
                    return tracing::info!(
                        %error,
                        "a lone client waits for CPUs to wake, as {DEVICE} cannot be written: root may, or whom it is given to"
                    );
                }
            };
            while let Some(rest) = self.rest(Instant::now()) {
                tokio::time::sleep(rest).await;
            }
            drop(held);
        }
    }

    /// How long it is wanted yet. None ends it.
    fn rest(&self, now: Instant) -> Option<Duration> {
        let rest = self.until.get()?.checked_duration_since(now).filter(|rest| !rest.is_zero());
        if rest.is_none() {
            self.until.set(None);
        }
        rest
    }
}

/// Asks that no CPU take longer than this to wake, until the file is dropped.
fn bound(device: &Path, bound_us: i32) -> io::Result<File> {
    let mut file = File::options().write(true).open(device)?;
    file.write_all(&bound_us.to_ne_bytes())?;
    Ok(file)
}

/// The bound in microseconds that leaves the shallowest sleep allowed and forbids those below it. None where there is nothing
/// to forbid.
fn bound_us(sysfs: &Path) -> Option<i32> {
    let driver = fs::read_to_string(sysfs.join("cpuidle/current_driver")).ok()?;
    // In a virtual machine even the shallowest sleep goes through the hypervisor, and the governor that comes with this driver
    // knows only the bound of zero. Source: Linux `drivers/cpuidle/governors/haltpoll.c`.
    if driver.trim() == "haltpoll" {
        return Some(0);
    }
    let mut latencies: Vec<i32> = fs::read_dir(sysfs.join("cpu0/cpuidle"))
        .ok()?
        .filter_map(|state| fs::read_to_string(state.ok()?.path().join("latency")).ok()?.trim().parse().ok())
        // Zero is the loop that waits without sleeping.
        .filter(|latency| *latency > 0)
        .collect();
    latencies.sort_unstable();
    let deeper = latencies.last()? > latencies.first()?;
    deeper.then(|| latencies[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with this driver and these idle states.
    fn machine(driver: &str, latencies: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cpuidle")).unwrap();
        fs::write(folder.path().join("cpuidle/current_driver"), format!("{driver}\n")).unwrap();
        for (number, latency) in latencies.iter().enumerate() {
            let state = folder.path().join(format!("cpu0/cpuidle/state{number}"));
            fs::create_dir_all(&state).unwrap();
            fs::write(state.join("latency"), format!("{latency}\n")).unwrap();
        }
        folder
    }

    #[test]
    fn the_shallowest_sleep_stays_allowed_on_bare_metal_and_none_in_a_virtual_machine() {
        assert_eq!(bound_us(machine("intel_idle", &["0", "2", "10", "133"]).path()), Some(2));
        assert_eq!(bound_us(machine("acpi_idle", &["0", "400", "1", "18"]).path()), Some(1));
        assert_eq!(bound_us(machine("haltpoll", &["0", "1"]).path()), Some(0));
    }

    #[test]
    fn where_nothing_sleeps_deeply_nothing_is_asked() {
        assert_eq!(bound_us(machine("none", &[]).path()), None);
        assert_eq!(bound_us(machine("acpi_idle", &["0", "1"]).path()), None);
        assert_eq!(bound_us(machine("acpi_idle", &["0", "words"]).path()), None);
        assert_eq!(bound_us(Path::new("/nowhere")), None);
    }

    #[test]
    fn the_device_gets_the_bound_as_a_machine_integer() {
        let device = tempfile::NamedTempFile::new().unwrap();
        drop(bound(device.path(), 2).unwrap());
        assert_eq!(fs::read(device.path()).unwrap(), 2i32.to_ne_bytes());
        assert!(bound(Path::new("/nowhere"), 2).is_err());
    }

    #[test]
    fn it_is_wanted_for_a_while_after_the_last_quick_request() {
        let latency = Hold::default();
        let start = Instant::now();
        assert_eq!(latency.rest(start), None);
        latency.want(start);
        latency.want(start + REST / 2);
        assert_eq!(latency.rest(start + REST), Some(REST / 2));
        assert_eq!(latency.rest(start + REST * 3 / 2), None);
        assert_eq!(latency.rest(start), None, "it has ended");
    }
}
