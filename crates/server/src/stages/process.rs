//! By what a tool finds this process among those of its machine, whatever namespaces it is in.

use std::fs;
use std::sync::LazyLock;

/// This process.
pub static OWN: LazyLock<Process> = LazyLock::new(Process::read);

/// What does not change while a process runs. A part is missing where `/proc` is not mounted.
#[derive(Clone, Debug)]
pub struct Process {
    /// The running kernel's name for this boot, by chance.
    pub boot_id: Option<String>,
    /// When the process began, in ticks since then.
    pub began_ticks: Option<u64>,
}

impl Process {
    fn read() -> Self {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let stat = fs::read_to_string("/proc/self/stat").ok();
        Self {
            boot_id: boot_id.map(|id| id.trim().to_owned()),
            began_ticks: stat.and_then(|stat| began_ticks(&stat)),
        }
    }
}

/// Field 22 of proc_pid_stat(5). The command's name, in parentheses, may hold anything; after it comes field 3.
fn began_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_began_once_on_some_boot() {
        let Process { boot_id, began_ticks: Some(began) } = Process::read() else { panic!("no /proc") };
        assert!(boot_id.is_some_and(|id| id.len() == 36) && began > 0);
        assert_eq!(
            began_ticks("7 (a) b) S 1 7 7 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 5 0 1234 1 2"),
            Some(1234)
        );
        assert_eq!(began_ticks("7 (a) S"), None);
    }
}
