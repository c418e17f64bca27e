//! Pictures for the README.

use std::path::{Path, PathBuf};

use plotters::coord::ranged1d::{KeyPointHint, Ranged};
use plotters::prelude::*;

use super::rows::Row;
use super::samples::{Metric, bytes};
use super::table::{count, number};
use crate::failure::{Context, Result};
use crate::systems::System;

/// One picture: how a number changes with another.
struct Picture {
    file: &'static str,
    title: &'static str,
    work: &'static str,
    metric: Metric,
    along: Along,
}

/// What is drawn from left to right.
#[derive(Clone, Copy)]
enum Along {
    /// Payloads, to so many receivers.
    Payload(usize),
    /// Receivers, clients or subscriptions, at whatever payload.
    Count(&'static str),
}

const PICTURES: [Picture; 11] = [
    picture("throughput-1", "Throughput to 1 receiver", "throughput", Metric::Rate, Along::Payload(1)),
    picture("throughput-4", "Throughput to 4 receivers", "throughput", Metric::Rate, Along::Payload(4)),
    picture(
        "touched-1",
        "Written and read in full, to 1 receiver",
        "throughput_touched",
        Metric::Rate,
        Along::Payload(1),
    ),
    picture("broker-cpu-1", "CPU time of the broker, 1 receiver", "throughput", Metric::BrokerCpu, Along::Payload(1)),
    picture("peak-rss-1", "Peak memory of the broker, 1 receiver", "throughput", Metric::PeakRss, Along::Payload(1)),
    picture("round-trip", "Round trip, median", "round_trip", Metric::P50, Along::Payload(1)),
    picture("idle-memory", "Memory for each idle client", "idle_clients", Metric::MemoryEach, Along::Count("clients")),
    picture("fan-out", "One publisher, many receivers", "fan_out", Metric::Rate, Along::Count("receivers")),
    picture("fan-in", "Many publishers, one receiver", "fan_in", Metric::Rate, Along::Count("publishers")),
    picture(
        "subscriptions",
        "CPU time of the broker beside many subscriptions",
        "subscriptions_exact",
        Metric::BrokerCpu,
        Along::Count("subscriptions"),
    ),
    picture("connects", "A storm of connects", "idle_clients", Metric::ConnectRate, Along::Count("clients")),
];

const fn picture(file: &'static str, title: &'static str, work: &'static str, metric: Metric, along: Along) -> Picture {
    Picture { file, title, work, metric, along }
}

const SIZE: (u32, u32) = (760, 440);
const FONT: &str = "sans-serif";
/// Room above the greatest and below the least value.
const MARGIN: f64 = 1.4;

/// Told apart by people who see few colours, too.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0x99, 0x99, 0x99),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x00, 0x00, 0x00),
];

type Line = (System, Vec<(f64, f64)>);

/// Draws every picture that there are rows for; returns the files.
pub(super) fn draw(rows: &[Row], folder: &Path) -> Result<Vec<PathBuf>> {
    let mut drawn = Vec::new();
    for picture in &PICTURES {
        let lines = lines(rows, picture);
        if lines.is_empty() {
            continue;
        }
        let path = folder.join(format!("{}.svg", picture.file));
        draw_one(picture, &lines, &path).context(|| format!("cannot draw {}", path.display()))?;
        drawn.push(path);
    }
    Ok(drawn)
}

fn lines(rows: &[Row], picture: &Picture) -> Vec<Line> {
    let place = |row: &Row| match picture.along {
        Along::Payload(receivers) => (row.receivers == receivers).then_some(row.payload as f64),
        Along::Count(_) => Some(row.receivers as f64),
    };
    let mut lines = Vec::new();
    for system in System::ALL {
        let of_it = rows.iter().filter(|row| {
            row.system == system && row.work == picture.work && row.metric == picture.metric && row.median > 0.0
        });
        let mut points: Vec<(f64, f64)> = of_it.filter_map(|row| Some((place(row)?, row.median))).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        if !points.is_empty() {
            lines.push((system, points));
        }
    }
    lines
}

fn draw_one(picture: &Picture, lines: &[Line], path: &Path) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let range = |coordinate: fn(&(f64, f64)) -> f64| {
        let values = || points().map(coordinate);
        let least = values().fold(f64::INFINITY, f64::min);
        least / MARGIN..values().fold(least, f64::max) * MARGIN
    };
    let mut across: Vec<f64> = points().map(|point| point.0).collect();
    across.sort_by(f64::total_cmp);
    across.dedup();

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let horizontal = Marked { range: range(|point| point.0), marks: across };
    let mut chart = ChartBuilder::on(&area)
        .caption(picture.title, (FONT, 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(horizontal, range(|point| point.1).log_scale())?;
    let (below, name): (&str, fn(&f64) -> String) = match picture.along {
        Along::Payload(_) => ("payload", |place| bytes(*place as usize)),
        Along::Count(what) => (what, |place| count(*place as usize)),
    };
    chart
        .configure_mesh()
        .x_desc(below)
        .y_desc(picture.metric.unit())
        .x_label_formatter(&name)
        .y_label_formatter(&|value| number(*value))
        .light_line_style(WHITE)
        .label_style((FONT, 13))
        .draw()?;
    for (system, points) in lines {
        let colour = System::ALL.iter().position(|other| other == system).map_or(BLACK, |number| COLOURS[number]);
        let style = ShapeStyle { color: colour.to_rgba(), filled: true, stroke_width: 2 };
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(system.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, style)))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font((FONT, 13))
        .position(SeriesLabelPosition::UpperRight)
        .draw()?;
    area.present()?;
    Ok(())
}

/// A logarithmic axis with marks where something was measured.
#[derive(Clone)]
struct Marked {
    range: std::ops::Range<f64>,
    marks: Vec<f64>,
}

impl Ranged for Marked {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let part = (value / self.range.start).ln() / (self.range.end / self.range.start).ln();
        start + (f64::from(end - start) * part).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let _ = hint;
        self.marks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range.clone()
    }
}

impl plotters::coord::ranged1d::ValueFormatter<f64> for Marked {
    fn format(value: &f64) -> String {
        number(*value)
    }
}
