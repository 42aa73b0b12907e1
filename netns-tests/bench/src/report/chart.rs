//! Charts, as SVG elements for the page.

use anyhow::{Result, anyhow};
use plotters::{
    coord::ranged1d::IntoSegmentedCoord,
    prelude::{
        BLACK, ChartBuilder, Color, IntoDrawingArea, IntoLogRange, LineSeries, Palette99, PaletteColor, PathElement,
        Rectangle, SVGBackend, SegmentValue, SeriesLabelPosition, WHITE,
    },
};

const SIZE: (u32, u32) = (900, 380);

/// A line or a group of bars: its name and its points.
pub type Series<X> = (String, Vec<(X, f64)>);

/// Bars in groups: a group for each name of `groups`, in it a bar for each series that has a value there.
pub fn bars(title: &str, unit: &str, groups: &[String], series: &[Series<usize>]) -> Result<String> {
    let most = series.iter().flat_map(|(_, points)| points).map(|(_, value)| *value).fold(0.0, f64::max);
    // Differences may all be below zero. An axis that hardly differs from zero overflows in plotters.
    let most = if most > 0.0 { most } else { 1.0 };
    drawn(|area| {
        let names = groups.to_vec();
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(90)
            .build_cartesian_2d((0..groups.len().max(1)).into_segmented(), 0.0..most * 1.25)?;
        let label = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(i) => names.get(*i).cloned().unwrap_or_default(),
            _ => String::new(),
        };
        let values = |value: &f64| super::text::number(*value);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .y_desc(unit)
            .x_label_formatter(&label)
            .y_label_formatter(&values)
            .draw()?;
        // Within a group the bars stand side by side: the axis knows segments only, so pixels are counted.
        let segment = f64::from(chart.plotting_area().dim_in_pixel().0) / groups.len().max(1) as f64;
        let width = (segment * 0.9 / series.len().max(1) as f64).max(1.0);
        for (n, (name, points)) in series.iter().enumerate() {
            let color = PaletteColor::<Palette99>::pick(n).to_rgba();
            for (group, value) in points {
                let (left, bottom) = chart.backend_coord(&(SegmentValue::Exact(*group), 0.0));
                let (_, top) = chart.backend_coord(&(SegmentValue::Exact(*group), *value));
                let from = f64::from(left) + segment * 0.05 + width * n as f64;
                area.draw(&Rectangle::new(
                    [(from as i32, top), ((from + width - 1.0) as i32, bottom)],
                    color.filled(),
                ))?;
            }
            // An empty series brings the name into the legend.
            chart
                .draw_series(std::iter::empty::<Rectangle<(SegmentValue<usize>, f64)>>())?
                .label(name.clone())
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
        }
        legend(&mut chart)
    })
}

/// Lines; `x` is logarithmic where it is delays.
pub fn lines(title: &str, (x, y): (&str, &str), is_logarithmic: bool, series: &[Series<f64>]) -> Result<String> {
    let points = || series.iter().flat_map(|(_, points)| points.iter().copied());
    // Without points any axis will do, if it ends.
    let least = points().map(|(x, _)| x).reduce(f64::min).unwrap_or(1.0).max(0.1);
    let most = points().map(|(x, _)| x).fold(0.0, f64::max).max(least * 1.01);
    let top = points().map(|(_, y)| y).fold(0.0, f64::max).max(1e-9) * 1.1;
    drawn(|area| {
        let mut builder = ChartBuilder::on(area);
        builder.caption(title, ("sans-serif", 18)).margin(10).x_label_area_size(40).y_label_area_size(90);
        let (across, up) = (|value: &f64| super::text::number(*value), |value: &f64| super::text::number(*value));
        // The two kinds of axis are two types: the same is done with each.
        macro_rules! draw {
            ($chart:expr) => {{
                let mut chart = $chart;
                chart.configure_mesh().x_desc(x).y_desc(y).x_label_formatter(&across).y_label_formatter(&up).draw()?;
                for (n, (name, points)) in series.iter().enumerate() {
                    let color = PaletteColor::<Palette99>::pick(n).to_rgba();
                    chart
                        .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
                        .label(name.clone())
                        .legend(move |(x, y)| PathElement::new([(x, y), (x + 12, y)], color.stroke_width(3)));
                }
                legend(&mut chart)
            }};
        }
        if is_logarithmic {
            draw!(builder.build_cartesian_2d((least..most).log_scale(), 0.0..top)?)
        } else {
            draw!(builder.build_cartesian_2d(0.0..most, 0.0..top)?)
        }
    })
}

type Area<'a> = plotters::prelude::DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Whatever plotters finds wrong, as text: its errors borrow what they are of.
type Drawn = std::result::Result<(), Box<dyn std::error::Error>>;

fn drawn(draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let done = area.fill(&WHITE).map_err(Into::into).and_then(|()| draw(&area)).and_then(|()| Ok(area.present()?));
    done.map_err(|error| anyhow!("a chart: {error}"))?;
    drop(area);
    Ok(svg)
}

fn legend<'a, 'b: 'a, C>(chart: &mut plotters::prelude::ChartContext<'a, SVGBackend<'b>, C>) -> Drawn
where
    C: plotters::coord::CoordTranslate,
{
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_drawn_and_named() {
        let series = vec![("one".to_owned(), vec![(0, 1.0), (1, 2.0)]), ("two".to_owned(), vec![(1, 3.0)])];
        let svg = bars("Bars", "packets/s", &["64 B".into(), "1024 B".into()], &series).unwrap();
        for text in ["Bars", "packets/s", "64 B", "1024 B", "one", "two", "<svg"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }

    #[test]
    fn bars_below_zero_are_no_failure() {
        let series = vec![("one".to_owned(), vec![(0, -0.25)]), ("two".to_owned(), vec![(0, 0.0)])];
        assert!(bars("Differences", "us", &["50 streams".into()], &series).unwrap().contains("two"));
    }

    #[test]
    fn lines_without_points_are_no_failure() {
        for is_logarithmic in [true, false] {
            lines("Empty", ("us", "part"), is_logarithmic, &[]).unwrap();
            let series = [("a".to_owned(), vec![(2.0, 0.5), (90.0, 1.0)]), ("b".to_owned(), vec![(1.0, 1.0)])];
            assert!(lines("Two", ("us", "part"), is_logarithmic, &series).unwrap().contains("polyline"));
        }
    }
}
