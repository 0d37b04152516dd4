//! Plots as SVG on a white background, readable without the text around them.

use anyhow::{Result, anyhow};
use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::prelude::IntoLogRange;
use plotters::series::LineSeries;
use plotters::style::{BLACK, Color, RGBColor, WHITE};

use super::statistics::median;

pub type Colour = RGBColor;
/// Elbow.
pub const BLUE: Colour = RGBColor(25, 95, 170);
/// The original.
pub const ORANGE: Colour = RGBColor(205, 105, 15);
/// The resource agent.
pub const PURPLE: Colour = RGBColor(150, 50, 125);
/// The floor.
pub const GREY: Colour = RGBColor(125, 125, 125);

const FONT: &str = "sans-serif";
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub struct Series {
    pub name: String,
    pub colour: Colour,
    pub points: Vec<(f64, f64)>,
}

/// One of several plots beside each other.
pub struct Panel {
    pub title: String,
    pub series: Vec<Series>,
}

/// Seconds over counts, both on a logarithmic scale, so that equal factors have equal distances.
pub fn log_log(panels: &[Panel], (x, y): (&str, &str)) -> Result<String> {
    let size = (120 + 400 * u32::try_from(panels.len())?, 420);
    draw(size, |root| {
        for (panel, area) in panels.iter().zip(root.split_evenly((1, panels.len()))) {
            log_panel(panel, &area, x, y)?;
        }
        Ok(())
    })
}

fn log_panel(panel: &Panel, area: &Area, x: &str, y: &str) -> Result<()> {
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, (FONT, 18))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(66)
        .build_cartesian_2d((0.8..250f64).log_scale(), (0.005..1000f64).log_scale())?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|count| format!("{count:.0}"))
        .y_label_formatter(&|seconds| duration(*seconds))
        .label_style((FONT, 14))
        .light_line_style(BLACK.mix(0.04))
        .bold_line_style(BLACK.mix(0.14))
        .draw()
        .map_err(failed)?;
    for series in &panel.series {
        let colour = series.colour;
        chart
            .draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))
            .map_err(failed)?
            .label(&series.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3)));
        chart.draw_series(series.points.iter().map(|point| Circle::new(*point, 4, colour.filled()))).map_err(failed)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.25))
        .label_font((FONT, 14))
        .draw()
        .map_err(failed)
}

/// A row of dots for each series, at their `x`; a bar marks the median.
pub fn dots(series: &[Series], x: &str) -> Result<String> {
    let most = series.iter().flat_map(|s| &s.points).map(|point| point.0).fold(0.0, f64::max);
    let rows = series.len() as f64;
    draw((860, 120 + 70 * u32::try_from(series.len())?), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(14)
            .set_label_area_size(plotters::chart::LabelAreaPosition::Left, 160)
            .x_label_area_size(46)
            .build_cartesian_2d(0.0..most * 1.05, 0.0..rows)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_desc(x)
            .x_labels(12)
            .label_style((FONT, 14))
            .bold_line_style(BLACK.mix(0.14))
            .light_line_style(BLACK.mix(0.04))
            .draw()
            .map_err(failed)?;
        for (row, one) in series.iter().enumerate() {
            let y = rows - row as f64 - 0.5;
            let values: Vec<f64> = one.points.iter().map(|point| point.0).collect();
            if let Some(middle) = median(&values) {
                let half = most / 700.0;
                let bar = Rectangle::new([(middle - half, y - 0.38), (middle + half, y + 0.38)], BLACK.filled());
                chart.draw_series([bar]).map_err(failed)?;
            }
            // Shifted, so that equal values don't hide each other.
            let apart = |n: usize| y + 0.09 * ((n % 5) as f64 - 2.0);
            let dots = values.iter().enumerate();
            chart
                .draw_series(dots.map(|(n, value)| Circle::new((*value, apart(n)), 5, one.colour.mix(0.75).filled())))
                .map_err(failed)?;
            let (_, pixel) = chart.backend_coord(&(0.0, y));
            root.draw(&Text::new(one.name.clone(), (16, pixel - 9), (FONT, 16))).map_err(failed)?;
        }
        Ok(())
    })
}

/// Lines with a dot at each point, from zero, on plain scales.
pub fn lines(series: &[Series], (x, y): (&str, &str)) -> Result<String> {
    let points = || series.iter().flat_map(|s| &s.points);
    let (right, top) = (points().map(|p| p.0).fold(1.0, f64::max), points().map(|p| p.1).fold(0.0, f64::max));
    draw((760, 380), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(62)
            .build_cartesian_2d(0.5..right + 0.5, 0.0..top * 1.1)?;
        chart
            .configure_mesh()
            .x_desc(x)
            .y_desc(y)
            .x_labels(right as usize + 1)
            .x_label_formatter(&|count| format!("{count:.0}"))
            .label_style((FONT, 14))
            .bold_line_style(BLACK.mix(0.14))
            .light_line_style(BLACK.mix(0.04))
            .draw()
            .map_err(failed)?;
        for one in series {
            let colour = one.colour;
            chart
                .draw_series(LineSeries::new(one.points.iter().copied(), colour.stroke_width(2)))
                .map_err(failed)?
                .label(&one.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(3)));
            chart.draw_series(one.points.iter().map(|p| Circle::new(*p, 4, colour.filled()))).map_err(failed)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.25))
            .label_font((FONT, 14))
            .draw()
            .map_err(failed)
    })
}

fn draw(size: (u32, u32), work: impl FnOnce(&Area) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        root.fill(&WHITE).map_err(failed)?;
        work(&root)?;
        root.present().map_err(failed)?;
    }
    Ok(svg)
}

/// `50 ms`, `2 s`.
fn duration(seconds: f64) -> String {
    if seconds < 0.999 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.0} s") }
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing a plot: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(f64, f64)]) -> Series {
        Series { name: "ours & theirs".into(), colour: BLUE, points: points.to_vec() }
    }

    #[test]
    fn a_plot_has_its_labels_and_a_dot_for_each_point() {
        let panel = Panel { title: "50 ms".into(), series: vec![series(&[(1.0, 0.05), (20.0, 0.15)])] };
        let svg = log_log(&[panel], ("route tables", "takeover")).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        for label in ["route tables", "takeover", "50 ms", "100 ms", "1 s", "ours &amp; theirs"] {
            assert!(svg.contains(label), "{label}: {svg}");
        }
    }

    #[test]
    fn equal_losses_are_dots_of_their_own() {
        let svg = dots(&[series(&[(0.8, 0.0), (0.8, 0.0), (0.8, 0.0)])], "seconds").unwrap();
        let mut dots: Vec<&str> = svg.lines().filter(|line| line.contains("<circle")).collect();
        dots.sort_unstable();
        dots.dedup();
        assert_eq!(dots.len(), 3);
    }

    #[test]
    fn a_line_starts_at_zero_and_names_every_balancer() {
        let svg = lines(&[series(&[(1.0, 1.0), (2.0, 30.0)])], ("balancers", "seconds")).unwrap();
        assert!(svg.contains("balancers") && svg.contains("seconds"));
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
