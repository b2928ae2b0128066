//! What happens before a member serves: flags, configuration, identity, logging, the data folder, and every check
//! that can refuse the start.
//!
//! The order is fixed: everything that can be refused is refused before anything is written.

pub mod config;
pub mod data_folder;
pub mod fatal;
pub mod flags;
pub mod identity;
pub mod logging;
pub(crate) mod named_file;
pub mod preflight;
pub mod rotation;
mod settings;

pub use config::{Config, HttpRules, Waiting};
pub use fatal::{Reason, fatal};

use std::{
    env,
    io::{self, Write},
    process,
    thread::available_parallelism,
};

/// Bytes of a configuration file; a larger one is something else, and refused.
const CONFIG_FILE_BYTES_MAX: u64 = 1 << 20;

/// The configuration of this process from its arguments and its environment. Prints and ends the process where these
/// ask for a text or cannot be honoured.
pub fn configure() -> Config {
    let arguments: Vec<String> =
        env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    // What is not UTF-8 belongs to no flag.
    let environment: Vec<(String, String)> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let cores = available_parallelism().map_or(1, usize::from);
    let config = match flags::parse(&arguments, &environment) {
        Ok(flags::Command::Start(values)) => {
            settings::add(values).and_then(|values| Config::from_values(&values, cores))
        }
        Ok(flags::Command::File(path)) => read_file(&path)
            .and_then(|text| flags::parse_file(&path, &text))
            .and_then(settings::add)
            .and_then(|values| Config::from_values(&values, cores)),
        Ok(flags::Command::Generated(text)) => print_and_exit(&text),
        Ok(flags::Command::Help) => print_and_exit(&flags::help()),
        Ok(flags::Command::Version) => print_and_exit(&flags::version()),
        Err(error) => Err(error),
    };
    config.unwrap_or_else(|error| match error {
        flags::Error::Usage(text) => {
            let _ = write!(io::stderr(), "{text}\n{}", flags::USAGE);
            process::exit(Reason::Usage.code().into());
        }
        flags::Error::Configuration(text) => fatal(Reason::Failure, text),
    })
}

/// Go's words for a file that is not there.
fn read_file(path: &str) -> Result<String, flags::Error> {
    named_file::text(path.as_ref(), CONFIG_FILE_BYTES_MAX).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            _ => error.to_string(),
        };
        flags::Error::Configuration(format!("open {path}: {why}"))
    })
}

/// A closed pipe behind `--help | head` is no failure.
fn print_and_exit(text: &str) -> ! {
    let _ = io::stdout().write_all(text.as_bytes());
    process::exit(0)
}
