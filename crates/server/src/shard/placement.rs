//! Which CPU a shard's thread is pinned to.

/// The CPU of each of `shards` shards, or `None` for all of them where pinning would put two busy threads on one CPU
/// while another idles: when the process may not use a CPU for each shard, each of `net_threads`, and one more for the
/// kernel and whatever else runs there. (With h2load as that, on 2 CPUs, 100x10 gave 138 thousand puts/s with a pinned
/// shard and 167 thousand without.)
///
/// Shards take the last CPUs; the kernel's own work mostly runs on the first.
#[must_use]
pub fn place(shards: u16, net_threads: usize) -> Vec<Option<usize>> {
    choose(shards, net_threads, &allowed_cpus())
}

fn choose(shards: u16, net_threads: usize, allowed: &[usize]) -> Vec<Option<usize>> {
    let count = usize::from(shards);
    if allowed.len() <= count + net_threads {
        return vec![None; count];
    }
    allowed[allowed.len() - count..].iter().map(|&cpu| Some(cpu)).collect()
}

/// CPUs that the process may use, ascending; none if the kernel does not say.
fn allowed_cpus() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    list.and_then(parse_list).unwrap_or_default()
}

/// Reads a list as the kernel writes it: `0-3,8`.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_only_where_there_is_a_cpu_for_everyone() {
        assert_eq!(choose(2, 2, &[0, 1, 2, 4, 5]), [Some(4), Some(5)]);
        assert_eq!(choose(2, 2, &[0, 1, 4, 5]), [None, None]);
        assert_eq!(choose(1, 1, &[]), [None]);
    }

    #[test]
    fn reads_the_kernels_lists() {
        assert_eq!(parse_list("\t0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(parse_list("3"), Some(vec![3]));
        assert_eq!(parse_list(""), None);
        assert!(!allowed_cpus().is_empty());
    }
}
