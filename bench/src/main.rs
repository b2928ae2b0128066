//! `windlass-bench`: reads the flags, runs, prints the report. Exit code 1 when anything failed, 2 for wrong flags.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use windlass_bench::compare::compare;
use windlass_bench::flags::{Asked, CompareFlags, Flags, Output};
use windlass_bench::{Report, plots_of};
use windlass_report::{Machine, Page, outlet};

fn main() -> ExitCode {
    let flags = Flags::of(std::env::args_os()).unwrap_or_else(|refusal| refusal.exit());
    if let Err(error) = windlass_bench::undo::on_signals() {
        eprintln!("windlass-bench: signals cannot be caught: {error}");
        return ExitCode::FAILURE;
    }
    let output = flags.output();
    let asked = match flags.asked() {
        Ok(asked) => asked,
        Err(why) => Flags::refuse(ErrorKind::ValueValidation, &why).exit(),
    };
    match check(&output, &asked).and_then(|()| perform(&asked, &output)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("windlass-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(asked: &Asked, output: &Output) -> Result<bool> {
    match asked {
        Asked::Load(plan) => show(&windlass_bench::run(plan)?, output),
        Asked::Compare(flags) => side_by_side(flags, output),
    }
}

/// Whether what is to be written can be.
fn check(output: &Output, asked: &Asked) -> Result<()> {
    let markdown = match asked {
        Asked::Compare(flags) => flags.markdown.as_ref(),
        Asked::Load(_) => None,
    };
    let files = output.html.iter().chain(markdown).map(|path| outlet::check_file(path));
    let folders = output.svg.iter().map(|path| outlet::check_folder(path));
    files.chain(folders).collect::<Result<(), _>>().map_err(anyhow::Error::msg)
}

fn print(text: &str) -> Result<()> {
    outlet::print(text).context("cannot print the report")
}

/// Prints and writes a report; says whether all went well.
fn show(report: &Report, output: &Output) -> Result<bool> {
    if output.is_json() {
        print(&format!("{}\n", report.to_json()))?;
    } else {
        print(&report.with(output.figures()).to_string())?;
    }
    write_page(output, || report.to_page(), &report.machine)?;
    write_plots(output, plots_of(report).into_iter().map(|plot| (plot.name, plot.svg)))?;
    Ok(report.is_clean())
}

/// Compares, prints and writes the outcome; says whether all went well.
fn side_by_side(flags: &CompareFlags, output: &Output) -> Result<bool> {
    let comparison = compare(flags)?;
    if output.is_json() {
        print(&format!("{}\n", comparison.to_json()))?;
    } else {
        let failures: String = comparison.failures.iter().map(|why| format!("FAILED: {why}\n")).collect();
        print(&format!("{}\n{}{failures}", comparison.table().to_text(), comparison.resources().to_text()))?;
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
    for (name, svg) in plots {
        write(&folder.join(name).with_extension("svg"), &svg)?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
