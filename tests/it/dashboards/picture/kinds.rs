//! Panels that are no lines: single values, bars, tables, states.

use super::graph::seconds_axis;
use super::svg::{self, HEADING, Ink, LABEL, Svg};
use super::{Line, Panel, TOP};

/// The values of now, as large as they fit.
pub fn stat(svg: &mut Svg, panel: &Panel<'_>) {
    let (width, height) = panel.size;
    let is_alone = panel.lines.len() == 1;
    let band = (height - TOP) / panel.lines.len() as f64;
    for (index, (line, value)) in panel.lines.iter().enumerate() {
        let (foot, shown) = (TOP + band * (index as f64 + 0.6), panel.shown(*value));
        // Half a number is another number: it is made smaller, not cut.
        let size = 32_f64.min(band * 0.45).min((width - 16.0) / svg::width(&shown, 1.0));
        let ink = Ink { anchor: "middle", size, colour: panel.colour(*value), ..HEADING };
        svg.text(ink, (width / 2.0, foot), &shown);
        if !is_alone {
            svg.text(Ink { anchor: "middle", room: width - 16.0, ..LABEL }, (width / 2.0, foot + 12.0), &line.name);
        }
    }
}

/// The values of now, as bars beside their names.
pub fn bars(svg: &mut Svg, panel: &Panel<'_>) {
    let (width, height) = panel.size;
    let (left, right) = (width * 0.42, width - 64.0);
    let band = 24_f64.min((height - TOP - 8.0) / panel.lines.len() as f64);
    let highest = panel.lines.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    for (index, (line, value)) in panel.lines.iter().enumerate() {
        let top = TOP + band * index as f64;
        let foot = top + band / 2.0 + 3.5;
        let thick = 1_f64.max(band - 6.0);
        let share = if highest > 0.0 { value.max(0.0) / highest } else { 0.0 };
        svg.text(Ink { anchor: "end", room: left - 16.0, ..LABEL }, (left - 8.0, foot), &line.name);
        svg.rect("#eceff2", (left, top + 3.0), (right - left, thick));
        svg.rect(panel.colour(*value), (left, top + 3.0), ((right - left) * share, thick));
        svg.text(LABEL, (right + 6.0, foot), &panel.shown(*value));
    }
}

/// The names alone, for a table is asked for labels.
pub fn table(svg: &mut Svg, panel: &Panel<'_>) {
    let (width, height) = panel.size;
    let foot = |row: usize| TOP + 12.0 + 16.0 * row as f64;
    let count = panel.lines.len();
    // One row is left for how many there are beside them.
    let fitting = (0..count).take_while(|row| foot(row + 1) < height - 4.0).count();
    for (row, (line, _)) in panel.lines.iter().take(fitting).enumerate() {
        svg.text(Ink { room: width - 16.0, ..LABEL }, (8.0, foot(row)), &line.name);
    }
    if count > fitting {
        svg.text(LABEL, (8.0, foot(fitting)), &format!("+{} more", count - fitting));
    }
}

/// What each line was at each second, as a band of colours with the names of the states.
pub fn states(svg: &mut Svg, panel: &Panel<'_>) {
    let (width, height) = panel.size;
    let (left, right) = (8.0, width - 8.0);
    let seconds = panel.seconds() + 1;
    let band = 48_f64.min((height - TOP - 24.0) / panel.lines.len() as f64);
    for (index, (line, _)) in panel.lines.iter().enumerate() {
        let top = TOP + band * index as f64;
        svg.text(Ink { room: right - left, ..LABEL }, (left, top + 8.0), &line.name);
        for Span { first, length, value } in spans(line) {
            let place = |second: usize| left + (right - left) * second as f64 / seconds as f64;
            let (from, to) = (place(first), place(first + length));
            svg.rect(panel.colour(value), (from, top + 12.0), (to - from, 1_f64.max(band - 18.0)));
            if to - from > 24.0 {
                let ink = Ink { colour: "#ffffff", room: to - from - 8.0, ..LABEL };
                svg.text(ink, (from + 4.0, top + band / 2.0 + 6.5), &panel.shown(value));
            }
        }
    }
    seconds_axis(svg, (left, right), height - 8.0, panel.seconds());
}

/// Seconds with one value.
#[derive(Clone, Debug, PartialEq)]
struct Span {
    first: usize,
    length: usize,
    value: f64,
}

fn spans(line: &Line) -> Vec<Span> {
    let mut first = 0;
    let mut spans = Vec::new();
    for same in line.values.chunk_by(|a, b| a == b) {
        spans.extend(same[0].map(|value| Span { first, length: same.len(), value }));
        first += same.len();
    }
    spans
}

#[test]
fn equal_seconds_are_one_span() {
    let values = [None, Some(1.0), Some(1.0), None, Some(0.0), Some(1.0)];
    let found = spans(&Line::new("gate".to_owned(), values.to_vec()));
    let span = |first, length, value| Span { first, length, value };
    assert_eq!(found, [span(1, 2, 1.0), span(4, 1, 0.0), span(5, 1, 1.0)]);
}
