//! Heat maps: as SVG over two axes, and as characters in a terminal.

use plotters::element::Rectangle;
use plotters::style::{Color, RGBColor};

use crate::chart::{Frame, draw};
use crate::scale::Scale;

/// From nothing to most.
const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
const COLD: (f64, f64, f64) = (222.0, 235.0, 247.0);
const HOT: (f64, f64, f64) = (8.0, 48.0, 107.0);

/// Counts over a grid. `cells[column][row]` lies between `columns[column]` and the next of them, and so for rows.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// Edges from left to right, one more than there are columns.
    pub columns: Vec<f64>,
    /// Edges from below to above, one more than there are rows.
    pub rows: Vec<f64>,
    /// Counts by column, then row.
    pub cells: Vec<Vec<u64>>,
}

impl Grid {
    /// The same without the rows below the first and above the last that has a count.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        let used =
            |row: usize| self.cells.iter().any(|column| column.get(row).is_some_and(|&count| count > 0));
        let rows = self.rows.len().saturating_sub(1);
        let (Some(first), Some(last)) = ((0..rows).find(|&row| used(row)), (0..rows).rfind(|&row| used(row)))
        else {
            return self;
        };
        self.rows = self.rows[first..=last + 1].to_vec();
        for column in &mut self.cells {
            *column =
                column.get(first..=last.min(column.len().saturating_sub(1))).unwrap_or_default().to_vec();
        }
        self
    }

    fn most(&self) -> f64 {
        self.cells.iter().flatten().copied().max().unwrap_or(0) as f64
    }
}

/// As SVG; darker is more, by the logarithm of the count, so that a single slow one can be seen.
#[must_use]
pub fn heat_map(frame: &Frame<'_>, grid: &Grid) -> String {
    let scale = |edges: &[f64], log: bool| match (edges.first(), edges.last()) {
        (Some(&start), Some(&end)) if start < end => Scale { range: start..end, log, binary: false },
        _ => Scale { range: 1.0..2.0, log, binary: false },
    };
    let scales = (scale(&grid.columns, frame.x.log), scale(&grid.rows, frame.y.log));
    let most = grid.most();
    draw(frame, scales, None, &[], |chart| {
        let cells = grid.cells.iter().enumerate().flat_map(|(x, column)| {
            let filled = column.iter().enumerate().filter(|(_, count)| **count > 0);
            filled.filter_map(move |(y, &count)| {
                let (left, right) = (*grid.columns.get(x)?, *grid.columns.get(x + 1)?);
                let (low, high) = (*grid.rows.get(y)?, *grid.rows.get(y + 1)?);
                Some(Rectangle::new([(left, low), (right, high)], shade(strength(count, most)).filled()))
            })
        });
        chart.draw_series(cells).expect("drawing into a string does not fail");
    })
}

/// One character for a count among counts of at most `most`.
#[must_use]
pub fn shade_of(count: u64, most: u64) -> char {
    if count == 0 {
        return SHADES[0];
    }
    let steps = (SHADES.len() - 1) as f64;
    SHADES[1 + ((strength(count, most as f64) * steps) as usize).min(SHADES.len() - 2)]
}

/// 0 for one, 1 for the most.
fn strength(count: u64, most: f64) -> f64 {
    if most <= 1.0 { 1.0 } else { ((count as f64).ln() / most.ln()).clamp(0.0, 1.0) }
}

fn shade(strength: f64) -> RGBColor {
    let mix = |cold: f64, hot: f64| (cold + (hot - cold) * strength) as u8;
    RGBColor(mix(COLD.0, HOT.0), mix(COLD.1, HOT.1), mix(COLD.2, HOT.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::Axis;
    use crate::units::Unit;

    fn grid() -> Grid {
        Grid {
            columns: vec![0.0, 1.0, 2.0],
            rows: vec![1.0, 10.0, 100.0, 1000.0],
            cells: vec![vec![0, 5, 0], vec![0, 1, 0]],
        }
    }

    #[test]
    fn every_filled_cell_is_drawn() {
        let frame = Frame { title: "t", x: Axis::linear("x", Unit::Seconds), y: Axis::log("y", Unit::Ns) };
        let empty = heat_map(&frame, &Grid { cells: vec![], ..grid() });
        let full = heat_map(&frame, &grid());
        assert_eq!(full.matches("<rect").count(), empty.matches("<rect").count() + 2);
    }

    #[test]
    fn empty_rows_at_the_ends_go() {
        let trimmed = grid().trimmed();
        assert_eq!((trimmed.rows, trimmed.cells), (vec![10.0, 100.0], vec![vec![5], vec![1]]));
    }

    #[test]
    fn shades_rise_with_the_count() {
        assert_eq!([0, 1, 10, 100, 1_000].map(|count| shade_of(count, 1_000)), SHADES.map(|s| s));
        assert_eq!(shade_of(1, 1), '█');
    }
}
