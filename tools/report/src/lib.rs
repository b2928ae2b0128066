//! What the measuring tools share: plots as SVG, one self-contained HTML page, tables, and what machine it was.
//!
//! Everything but [`machine`] and [`outlet`] is pure. Nothing here measures, and nothing here refers to anything outside of the page
//! that it writes: a report is one file that can be sent to somebody.

pub mod chart;
pub mod heat;
pub mod machine;
pub mod outlet;
pub mod page;
mod scale;
pub mod table;
pub mod units;

pub use machine::Machine;
pub use page::Page;
pub use scale::Axis;
pub use table::Table;
