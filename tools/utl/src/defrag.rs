//! `defrag`: nothing to do. etcd's files only grow until they are written anew; Windlass reclaims space while it runs.

use std::path::Path;

use crate::exit::{ERROR, Failure};

/// Says so of a data folder.
///
/// # Errors
/// If it is none.
pub fn defrag(data_dir: &Path) -> Result<String, Failure> {
    if !data_dir.join("identity").is_file() {
        let text = format!("{} is no data folder of Windlass", data_dir.display());
        return Err(Failure::new(ERROR, text));
    }
    Ok(format!("{} needs no defragmentation: a member gives space back while it runs\n", data_dir.display()))
}
