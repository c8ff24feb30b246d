//! Figures over the rounds of a long run: whether they stay what they are, and a picture of them.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use plotters::prelude::*;
use serde_json::{Map, Value};

/// The figures of one round, by name.
type Sample = Map<String, Value>;

/// One of the figures.
pub(super) struct Figure {
    name: &'static str,
    /// What it is, for people.
    title: &'static str,
    /// By which part it may be more at the end.
    margin: f64,
}

impl Figure {
    pub(super) const fn new(name: &'static str, title: &'static str, margin: f64) -> Self {
        Self {
            name,
            title,
            margin,
        }
    }

    fn of(&self, sample: &Sample) -> Result<f64> {
        let figure = sample.get(self.name).and_then(Value::as_f64);
        figure.with_context(|| format!("there is no figure {}", self.name))
    }

    fn all(&self, samples: &[Sample]) -> Result<Vec<f64>> {
        samples.iter().map(|sample| self.of(sample)).collect()
    }
}

/// The second tenth of so many rounds, in which all that is done once has been done, and the last.
fn tenths(count: usize) -> [Range<usize>; 2] {
    let tenth = count / 10;
    [tenth..2 * tenth, count - tenth..count]
}

fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Holds the last tenth of all figures to the second.
pub(super) fn is_flat(figures: &[Figure], samples: &[Sample]) -> Result<()> {
    ensure!(
        samples.len() >= 10,
        "{} rounds have no tenths",
        samples.len()
    );
    let [second, last] = tenths(samples.len());
    for figure in figures {
        let all = figure.all(samples)?;
        let [before, after] = [&all[second.clone()], &all[last.clone()]].map(median);
        ensure!(
            after <= before * (1.0 + figure.margin),
            "{}: {before} in the second tenth of the rounds, {after} in the last",
            figure.title
        );
    }
    Ok(())
}

/// The size of a panel, of which there are two beside each other.
const PANEL: (u32, u32) = (520, 210);

/// The room for the title.
const TITLE: u32 = 40;

/// Draws each figure over the containers that were started, with the two tenths that are compared
/// in grey.
pub(super) fn draw(path: &Path, title: &str, figures: &[Figure], samples: &[Sample]) -> Result<()> {
    let rows = figures.len().div_ceil(2);
    let size = (2 * PANEL.0, TITLE + rows as u32 * PANEL.1);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let area = area.titled(title, ("sans-serif", 22))?;
    let started = Figure::new("started", "", 0.0).all(samples)?;
    let first = 0.0;
    let end = started.last().copied().unwrap_or_default();
    for (panel, figure) in area.split_evenly((rows, 2)).iter().zip(figures) {
        let all = figure.all(samples)?;
        // From nothing on: what is flat is to look flat, and what is not, not.
        let most = all.iter().copied().fold(1.0, f64::max) * 1.25;
        let mut chart = ChartBuilder::on(panel)
            .caption(figure.title, ("sans-serif", 19))
            .margin(8)
            .x_label_area_size(40)
            .y_label_area_size(72)
            .build_cartesian_2d(first..end, 0.0..most)?;
        let tenths = tenths(samples.len());
        let grey = tenths.into_iter().filter_map(|rounds| {
            let begin = started.get(rounds.start.checked_sub(1)?)?;
            let end = started.get(rounds.end.checked_sub(1)?)?;
            Some(Rectangle::new(
                [(*begin, 0.0), (*end, most)],
                BLACK.mix(0.08).filled(),
            ))
        });
        chart.draw_series(grey)?;
        let whole = |number: &f64| format!("{number:.0}");
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .y_labels(5)
            .x_labels(6)
            .x_label_formatter(&whole)
            .y_label_formatter(&whole)
            .x_desc("containers started")
            .label_style(("sans-serif", 15))
            .draw()?;
        let points = started.iter().copied().zip(all);
        chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    }
    area.present()?;
    Ok(())
}
