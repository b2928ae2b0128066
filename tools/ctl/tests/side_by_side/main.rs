//! Runs the same commands through etcdctl and windlassctl, each against an etcd of its own, and compares what they
//! print and how they exit. [`windlass`] does the same with Windlass in place of the second etcd.
//!
//! Needs a real etcd: `WINDLASS_ETCD_DIR` names a folder with `etcd` and `etcdctl` of version 3.5. Without it the tests
//! say so and pass.

mod administration;
mod compare;
mod etcd;
mod keys;
mod leases;
mod protection;
mod recipes;
mod windlass;

use std::path::{Path, PathBuf};

/// The programs that are compared.
struct Programs {
    etcd: PathBuf,
    etcdctl: PathBuf,
    windlassctl: &'static Path,
}

impl Programs {
    /// Where they are; none, with a word about it, if there is no real etcd.
    fn find() -> Option<Self> {
        let Some(folder) = std::env::var_os("WINDLASS_ETCD_DIR").map(PathBuf::from) else {
            eprintln!("skipped: WINDLASS_ETCD_DIR does not name a folder with etcd and etcdctl 3.5");
            return None;
        };
        let windlassctl = Path::new(env!("CARGO_BIN_EXE_windlassctl"));
        Some(Self { etcd: folder.join("etcd"), etcdctl: folder.join("etcdctl"), windlassctl })
    }
}

#[test]
fn a_reader_that_is_gone_ends_both_by_the_same_signal() {
    use std::os::unix::process::ExitStatusExt as _;
    const SIGPIPE: i32 = 13;
    let Some(programs) = Programs::find() else { return };
    for program in [programs.etcdctl.as_path(), programs.windlassctl] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = std::process::Command::new(program);
        let output = command.arg("version").stdout(writer).stderr(std::process::Stdio::piped()).spawn();
        let output = output.expect("runs").wait_with_output().expect("ends");
        assert_eq!(
            (output.status.signal(), &output.stderr[..]),
            (Some(SIGPIPE), &b""[..]),
            "{}",
            program.display()
        );
    }
}
