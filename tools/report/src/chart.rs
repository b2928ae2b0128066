//! Plots as SVG.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::element::{Circle, Polygon, Rectangle, Text};
use plotters::prelude::{DrawingArea, IntoDrawingArea, SVGBackend};
use plotters::series::LineSeries;
use plotters::style::{Color, IntoTextStyle, RGBColor, ShapeStyle, WHITE};

use crate::scale::{Axis, Scale};
use crate::units::Unit;

/// Width and height of a plot in its own units; a page scales it.
const SIZE: (u32, u32) = (860, 380);
/// Colours that people with the common forms of colour blindness can tell apart (Okabe and Ito), strongest first.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(120, 120, 120),
    RGBColor(200, 190, 50),
];
const INK: RGBColor = RGBColor(40, 44, 52);
/// Height of a legend's row, and about the width of a letter there.
const LEGEND_ROW: i32 = 20;
const LEGEND_LETTER: i32 = 7;
const GRID: RGBColor = RGBColor(228, 231, 236);
/// SVG into a string does not fail.
const DRAWS: &str = "drawing into a string does not fail";

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
pub(crate) type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// A title and two axes.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Above the plot.
    pub title: &'a str,
    /// From left to right.
    pub x: Axis<'a>,
    /// From below to above.
    pub y: Axis<'a>,
}

/// Named points.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// From left to right, where they are joined.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// Points by the name `name`.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points }
    }
}

/// Lines through points.
#[must_use]
pub fn lines(frame: &Frame<'_>, series: &[Series]) -> String {
    plot(frame, series, |chart, series, style| {
        let line = LineSeries::new(series.points.iter().copied(), style.stroke_width(2));
        chart.draw_series(line).expect(DRAWS);
    })
}

/// Points.
#[must_use]
pub fn scatter(frame: &Frame<'_>, series: &[Series]) -> String {
    plot(frame, series, |chart, series, style| {
        let points = series.points.iter().map(|point| Circle::new(*point, 3, style.filled()));
        chart.draw_series(points).expect(DRAWS);
    })
}

/// Points, and of the first series those joined that no other point of it beats in both directions: lower and further
/// right. Later series are drawn over it.
#[must_use]
pub fn frontier(frame: &Frame<'_>, series: &[Series]) -> String {
    let mut is_first = true;
    plot(frame, series, |chart, series, style| {
        if std::mem::take(&mut is_first) {
            let best = undominated(&series.points);
            chart.draw_series(LineSeries::new(best, style.stroke_width(2))).expect(DRAWS);
        }
        let points = series.points.iter().map(|point| Circle::new(*point, 4, style.filled()));
        chart.draw_series(points).expect(DRAWS);
    })
}

/// Of points (benefit, cost) those that none other beats, by benefit.
#[must_use]
pub fn undominated(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let beats = |a: &(f64, f64), b: &(f64, f64)| a.0 >= b.0 && a.1 <= b.1 && a != b;
    let mut best: Vec<_> = points.iter().filter(|b| !points.iter().any(|a| beats(a, b))).copied().collect();
    best.sort_by(|a, b| a.0.total_cmp(&b.0));
    best
}

/// Layers on top of each other: `layers[i].points` are (x, thickness) at the same x in each.
#[must_use]
pub fn stacked(frame: &Frame<'_>, layers: &[Series]) -> String {
    let count = layers.iter().map(|layer| layer.points.len()).min().unwrap_or(0);
    let mut tops = vec![0.0; count];
    let mut drawn = Vec::new();
    for layer in layers {
        let lower: Vec<_> = tops.iter().zip(&layer.points).map(|(&top, &(x, _))| (x, top)).collect();
        tops.iter_mut().zip(&layer.points).for_each(|(top, (_, y))| *top += y.max(0.0));
        let mut outline: Vec<_> = layer.points.iter().zip(&tops).map(|(&(x, _), &top)| (x, top)).collect();
        outline.extend(lower.into_iter().rev());
        drawn.push(Series::new(layer.name.clone(), outline));
    }
    plot(frame, &drawn, |chart, series, style| {
        chart.draw_series([Polygon::new(series.points.clone(), style.filled())]).expect(DRAWS);
    })
}

/// Groups of bars: one group a category, in it one bar a series, whose points' x are the categories' places.
#[must_use]
pub fn bars(title: &str, y: Axis<'_>, categories: &[String], series: &[(String, Vec<f64>)]) -> String {
    let width = 0.8 / series.len().max(1) as f64;
    let floor = y.over(series.iter().flat_map(|(_, values)| values.iter().copied())).range.start;
    let boxes = series.iter().enumerate().map(|(place, (name, values))| {
        let left = |category: usize| category as f64 + 0.1 + width * place as f64;
        let corners = values.iter().enumerate().flat_map(|(category, value)| {
            [(left(category), value.max(floor)), (left(category) + width * 0.94, floor)]
        });
        Series::new(name.clone(), corners.collect())
    });
    let boxes: Vec<_> = boxes.collect();
    let frame = Frame { title, x: Axis::linear("", Unit::Count), y };
    let x = Scale { range: 0.0..categories.len().max(1) as f64, log: false, binary: false };
    let y = y.over(boxes.iter().flat_map(|series| &series.points).map(|point| point.1));
    draw(&frame, (x, y), Some(categories), &names(&boxes), |chart| {
        for (place, series) in boxes.iter().enumerate() {
            let style = ShapeStyle::from(colour(place)).filled();
            let bars =
                series.points.chunks_exact(2).map(|corners| Rectangle::new([corners[0], corners[1]], style));
            chart.draw_series(bars).expect(DRAWS);
        }
    })
}

fn plot(
    frame: &Frame<'_>,
    series: &[Series],
    mut each: impl FnMut(&mut Chart<'_, '_>, &Series, ShapeStyle),
) -> String {
    let points = || series.iter().flat_map(|series| &series.points);
    let scales = (frame.x.over(points().map(|p| p.0)), frame.y.over(points().map(|p| p.1)));
    draw(frame, scales, None, &names(series), |chart| {
        for (place, series) in series.iter().enumerate() {
            each(chart, series, ShapeStyle::from(colour(place)));
        }
    })
}

fn names(series: &[Series]) -> Vec<&str> {
    series.iter().map(|series| series.name.as_str()).collect()
}

pub(crate) fn colour(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

/// Axes, what `body` draws, and above it a legend of the names, in the order of the colours.
pub(crate) fn draw(
    frame: &Frame<'_>,
    (x, y): (Scale, Scale),
    categories: Option<&[String]>,
    names: &[&str],
    body: impl FnOnce(&mut Chart<'_, '_>),
) -> String {
    let mut svg = String::new();
    {
        let root: Area<'_> = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&WHITE).expect(DRAWS);
        let below = root.titled(frame.title, ("sans-serif", 17, &INK).into_text_style(&root)).expect(DRAWS);
        let rows = legend_rows(names);
        let (legend, below) = below.split_vertically(rows.len() as i32 * LEGEND_ROW);
        draw_legend(&legend, &rows);
        let mut builder = ChartBuilder::on(&below);
        builder.margin(12).x_label_area_size(44).y_label_area_size(76);
        let mut chart = builder.build_cartesian_2d(x, y).expect(DRAWS);
        mesh(&mut chart, frame, categories);
        body(&mut chart);
        root.present().expect(DRAWS);
    }
    svg
}

/// Names with the places of their colours, in rows that are as wide as a plot.
fn legend_rows<'a>(names: &[&'a str]) -> Vec<Vec<(usize, &'a str)>> {
    let mut rows: Vec<Vec<(usize, &str)>> = Vec::new();
    let mut width = i32::MAX;
    for (place, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        width = width.saturating_add(legend_width(name));
        if width > SIZE.0 as i32 {
            rows.push(Vec::new());
            width = legend_width(name);
        }
        rows.last_mut().expect("one was begun").push((place, name));
    }
    rows
}

/// Of a name with its square and a gap; how wide letters are is only known to who shows the plot.
fn legend_width(name: &str) -> i32 {
    name.chars().count() as i32 * LEGEND_LETTER + 40
}

fn draw_legend(area: &Area<'_>, rows: &[Vec<(usize, &str)>]) {
    let font = ("sans-serif", 13, &INK).into_text_style(area);
    for (row, names) in rows.iter().enumerate() {
        let whole: i32 = names.iter().map(|(_, name)| legend_width(name)).sum();
        let (mut x, y) = ((SIZE.0 as i32 - whole) / 2, row as i32 * LEGEND_ROW);
        for &(place, name) in names {
            let square = Rectangle::new([(x, y + 4), (x + 12, y + 12)], colour(place).filled());
            area.draw(&square).expect(DRAWS);
            area.draw(&Text::new(name.to_owned(), (x + 18, y + 2), font.clone())).expect(DRAWS);
            x += legend_width(name);
        }
    }
}

fn mesh(chart: &mut Chart<'_, '_>, frame: &Frame<'_>, categories: Option<&[String]>) {
    let (x, y) = (frame.x.unit, frame.y.unit);
    let at = |value: &f64| match categories {
        Some(names) => names.get(*value as usize).cloned().unwrap_or_default(),
        None => x.format(*value),
    };
    let height = move |value: &f64| y.format(*value);
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(frame.x.label)
        .y_desc(frame.y.label)
        .y_label_formatter(&height)
        .x_label_formatter(&at)
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(GRID)
        .axis_style(INK.mix(0.4))
        .label_style(("sans-serif", 12, &INK))
        .axis_desc_style(("sans-serif", 13, &INK));
    if let Some(names) = categories {
        mesh.disable_x_mesh()
            .x_labels(names.len() + 1)
            .x_label_offset(SIZE.0 as i32 / (2 * names.len().max(1) as i32) - 20);
    }
    mesh.draw().expect(DRAWS);
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Frame<'_> =
        Frame { title: "A < B", x: Axis::linear("time", Unit::Seconds), y: Axis::log("latency", Unit::Ns) };

    #[test]
    fn a_plot_is_one_svg_with_its_words() {
        let svg = lines(&FRAME, &[Series::new("p99", vec![(0.0, 1e3), (1.0, 1e6)])]);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for word in ["A &lt; B", "latency", "p99", "10 us"] {
            assert!(svg.contains(word), "{word}: {svg}");
        }
    }

    #[test]
    fn a_legend_stands_above_the_plot_and_begins_rows_where_it_must() {
        assert!(legend_rows(&[]).is_empty() && legend_rows(&[""]).is_empty());
        assert_eq!(legend_rows(&["a", "", "c"]), [[(0, "a"), (2, "c")]]);
        let long = "a name that takes half of the width of a plot or more, as some do";
        assert_eq!(legend_rows(&[long, "b", long]), [vec![(0, long), (1, "b")], vec![(2, long)]]);
    }

    #[test]
    fn nothing_to_show_is_no_reason_to_fail() {
        assert!(lines(&FRAME, &[]).contains("</svg>"));
        assert!(stacked(&FRAME, &[Series::default()]).contains("</svg>"));
        assert!(scatter(&FRAME, &[Series::new("x", vec![(f64::NAN, 0.0)])]).contains("</svg>"));
        assert!(bars("b", Axis::linear("", Unit::Count), &[], &[]).contains("</svg>"));
    }

    #[test]
    fn the_frontier_is_what_nothing_beats() {
        let points = [(1.0, 5.0), (2.0, 4.0), (3.0, 9.0), (2.5, 9.5), (0.5, 6.0)];
        assert_eq!(undominated(&points), [(2.0, 4.0), (3.0, 9.0)]);
    }
}
