//! Whether a member's process is one of this machine's, and which.
//!
//! Its address does not tell: a port of this machine may lead into a container or through a tunnel to anywhere, and the
//! number by which a process knows itself is another one outside of its container. So the member says on which boot of
//! which machine it runs and when it began, and here is looked for a process that fits.

use std::fs;

use serde::Deserialize;

/// What a member says of its process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Said {
    /// Its number, as it knows it itself.
    pub pid: u32,
    /// The running kernel's, by chance anew with each boot; `None` where the member has no `/proc`.
    pub boot_id: Option<String>,
    /// When the process began, in ticks since that boot.
    pub began_ticks: Option<u64>,
}

/// Where a member runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// On this machine, as the process with this number.
    Here(u32),
    /// Not where this process can see it, for this reason.
    Elsewhere(&'static str),
}

/// On another machine.
const AWAY: &str = "the member runs on another machine, and only there can be seen what goes on beside it";
/// In a container beside this one, or where others' processes are hidden.
const HIDDEN: &str = "the member runs on this machine, but its process cannot be seen from here: \
                      look as root, and not from inside a container";
/// Without `/proc`.
const UNKNOWN: &str = "the member does not say on which machine it runs: it sees no /proc";

/// A process of this machine.
struct Process {
    pid: u32,
    /// What it is called in its own namespace.
    own_pid: u32,
    began_ticks: u64,
}

impl Whereabouts {
    /// Of the member that said this.
    pub fn of(said: &Said) -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self::among(said, boot_id.trim(), processes())
    }

    /// The process, if it is here.
    pub fn pid(&self) -> Option<u32> {
        match self {
            Self::Here(pid) => Some(*pid),
            Self::Elsewhere(_) => None,
        }
    }

    fn among(said: &Said, boot_id: &str, mut processes: impl Iterator<Item = Process>) -> Self {
        let Said { pid, boot_id: Some(its_boot_id), began_ticks: Some(began_ticks) } = said else {
            return Self::Elsewhere(UNKNOWN);
        };
        if its_boot_id != boot_id {
            return Self::Elsewhere(AWAY);
        }
        let fits = |one: &Process| (one.own_pid, one.began_ticks) == (*pid, *began_ticks);
        processes.find(fits).map_or(Self::Elsewhere(HIDDEN), |process| Self::Here(process.pid))
    }
}

fn processes() -> impl Iterator<Item = Process> {
    super::world::processes().filter_map(|pid| {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        let (_, _, began_ticks) = super::world::of_stat(&String::from_utf8_lossy(&stat))?;
        Some(Process { pid, own_pid: own_pid(&String::from_utf8_lossy(&status))?, began_ticks })
    })
}

/// Its numbers from the outermost namespace that is seen to its own. Source: proc_pid_status(5).
fn own_pid(status: &str) -> Option<u32> {
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    numbers.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pid: u32, boot_id: &str, began_ticks: u64) -> Said {
        Said { pid, boot_id: Some(boot_id.to_owned()), began_ticks: Some(began_ticks) }
    }

    fn among(said: &Said) -> Whereabouts {
        // The first process of the machine, one in a container, and that container's first.
        let all = [(1, 1, 3), (812, 7, 500), (805, 1, 490)];
        let all = all.map(|(pid, own_pid, began_ticks)| Process { pid, own_pid, began_ticks });
        Whereabouts::among(said, "here", all.into_iter())
    }

    #[test]
    fn a_process_is_known_by_its_own_number_and_its_beginning() {
        assert_eq!(among(&said(1, "here", 3)), Whereabouts::Here(1));
        assert_eq!(among(&said(1, "here", 490)), Whereabouts::Here(805));
        assert_eq!(among(&said(7, "here", 500)), Whereabouts::Here(812));
        assert_eq!(among(&said(812, "here", 500)), Whereabouts::Elsewhere(HIDDEN));
    }

    #[test]
    fn a_number_of_another_machine_is_nobodys_here() {
        assert_eq!(among(&said(1, "there", 3)), Whereabouts::Elsewhere(AWAY));
        assert_eq!(among(&Said { pid: 1, ..Said::default() }), Whereabouts::Elsewhere(UNKNOWN));
    }

    #[test]
    fn numbers_of_namespaces_are_read() {
        assert_eq!(own_pid("Name:\ta\nPid:\t812\nNSpid:\t812\t40\t7\nThreads:\t1\n"), Some(7));
        assert_eq!(own_pid("Pid:\t812\n"), None);
        let own = processes().find(|one| one.pid == std::process::id()).expect("is seen");
        assert!(own.began_ticks > 0);
    }
}
