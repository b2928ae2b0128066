//! `windlass-disk`: reads the flags, runs one of the three tools, prints what it found. Exit code 1 when it failed, 2 for
//! wrong flags.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use windlass_bench::undo;
use windlass_disk::flags::{Command, Flags, Output};
use windlass_disk::{probe, profile, settings, tune};
use windlass_report::{Machine, Page, outlet};

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Command::Tune(tune) = &flags.command
        && let Err(why) = tune.check()
    {
        Flags::command().error(ErrorKind::ArgumentConflict, why).exit();
    }
    let caught = undo::on_signals().context("signals cannot be caught");
    match caught.and_then(|()| run(flags)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("windlass-disk: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a tool; says whether its report is whole.
fn run(flags: Flags) -> Result<bool> {
    let Flags { command, output } = flags;
    check(&output, &command)?;
    match command {
        Command::Probe(flags) => {
            let report = probe::run(&flags)?;
            show(&output, &report.to_json(), &report.to_string())?;
            page(&output, &report.to_page(), &report.machine)?;
            wrote(&output, flags.write_settings.as_deref(), &report.settings())?;
            Ok(true)
        }
        Command::Profile(flags) => {
            let report = profile::run(&flags)?;
            show(&output, &report.to_json(), &report.to_string())?;
            page(&output, &report.to_page(), &report.machine)?;
            Ok(report.lost.is_none())
        }
        Command::Tune(flags) => {
            let report = tune::run(&flags)?;
            show(&output, &report.to_json(), &report.to_string())?;
            page(&output, &report.to_page(), &report.machine)?;
            wrote(&output, flags.write_settings.as_deref(), &report.settings())?;
            Ok(true)
        }
    }
}

/// Whether what is to be written can be.
fn check(output: &Output, command: &Command) -> Result<()> {
    let settings = match command {
        Command::Probe(flags) => flags.write_settings.as_deref(),
        Command::Tune(flags) => flags.write_settings.as_deref(),
        Command::Profile(_) => None,
    };
    let settings = settings.map(settings::file_of);
    let mut files = output.html.iter().chain(&settings);
    files.try_for_each(|path| outlet::check_file(path)).map_err(anyhow::Error::msg)
}

fn show(output: &Output, json: &str, text: &str) -> Result<()> {
    let shown = if output.json { outlet::print(&format!("{json}\n")) } else { outlet::print(text) };
    shown.context("cannot print the report")
}

fn page(output: &Output, page: &Page, machine: &Machine) -> Result<()> {
    let Some(path) = &output.html else { return Ok(()) };
    page.write(path, machine).with_context(|| format!("cannot write {}", path.display()))
}

fn wrote(output: &Output, path: Option<&Path>, settings: &settings::Settings) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let path = settings.write(path)?;
    if !output.json {
        outlet::print(&format!("\nwrote {}\n", path.display())).context("cannot print the report")?;
    }
    Ok(())
}
