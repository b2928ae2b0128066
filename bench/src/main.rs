//! `windlass-bench`: reads the flags, runs, prints the report. Exit code 1 when anything failed, 2 for wrong flags.
#![allow(clippy::print_stdout)] // the report is what this program is for

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use clap::error::ErrorKind;
use windlass_bench::compare::compare;
use windlass_bench::flags::{Asked, CompareFlags, Flags, Output};
use windlass_bench::{Report, plots_of};
use windlass_report::{Machine, Page};

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Err(error) = windlass_bench::undo::on_signals() {
        eprintln!("windlass-bench: signals cannot be caught: {error}");
        return ExitCode::FAILURE;
    }
    let output = flags.output();
    let asked = match flags.asked() {
        Ok(asked) => asked,
        Err(why) => Flags::refuse(ErrorKind::ValueValidation, &why).exit(),
    };
    let done = match asked {
        Asked::Load(plan) => windlass_bench::run(&plan).and_then(|report| show(&report, &output)),
        Asked::Compare(flags) => side_by_side(&flags, &output),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("windlass-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints and writes a report; says whether all went well.
fn show(report: &Report, output: &Output) -> Result<bool> {
    if output.is_json() {
        println!("{}", report.to_json());
    } else {
        print!("{}", report.with(output.figures()));
    }
    write_page(output, || report.to_page(), &report.machine)?;
    write_plots(output, plots_of(report).into_iter().map(|plot| (plot.name, plot.svg)))?;
    Ok(report.is_clean())
}

/// Compares, prints and writes the outcome; says whether all went well.
fn side_by_side(flags: &CompareFlags, output: &Output) -> Result<bool> {
    let comparison = compare(flags)?;
    if output.is_json() {
        println!("{}", comparison.to_json());
    } else {
        print!("{}\n{}", comparison.table().to_text(), comparison.resources().to_text());
        comparison.failures.iter().for_each(|failure| println!("FAILED: {failure}"));
    }
    if let Some(path) = &flags.markdown {
        write(path, &comparison.to_markdown())?;
    }
    write_page(output, || comparison.to_page(), &comparison.machine)?;
    write_plots(output, comparison.plots().into_iter())?;
    Ok(comparison.is_clean())
}

fn write_page(output: &Output, page: impl FnOnce() -> Page, machine: &Machine) -> Result<()> {
    output.html.as_ref().map_or(Ok(()), |path| write(path, &page().to_html(machine)))
}

fn write_plots(output: &Output, plots: impl Iterator<Item = (String, String)>) -> Result<()> {
    let Some(folder) = &output.svg else { return Ok(()) };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (name, svg) in plots {
        write(&folder.join(name).with_extension("svg"), &svg)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
