//! Lines over the last seconds, with their axes and their names.

use super::svg::{self, HEADING, Ink, LABEL, Point, Svg};
use super::{Line, Panel, TOP, units};

/// Of the lines that are named, the highest first.
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a4fbf", "#4d4d4d"];

/// Of the lines that are only counted.
const OTHERS: &str = "#c8cdd2";

const GRID: &str = "#e4e8ec";

/// Height of an entry of the legend.
const ENTRY: f64 = 14.0;

/// From where to where a line reaches at one second.
type Reach = (f64, f64);

/// Where values and seconds are within a panel.
struct Plot {
    left: f64,
    right: f64,
    bottom: f64,
    /// The values that the axis begins and ends with.
    low: f64,
    high: f64,
    /// How long the time is.
    seconds: usize,
}

impl Plot {
    fn point(&self, second: usize, value: f64) -> Point {
        let share = second as f64 / self.seconds.max(1) as f64;
        (self.left + (self.right - self.left) * share, self.height(value))
    }

    /// What the axis does not reach is drawn at its end.
    fn height(&self, value: f64) -> f64 {
        let share = (value - self.low) / (self.high - self.low);
        self.bottom - (self.bottom - TOP) * share.clamp(0.0, 1.0)
    }
}

pub fn draw(svg: &mut Svg, panel: &Panel<'_>) {
    let custom = &panel.defaults()["custom"];
    let is_stacked = custom["stacking"]["mode"] == "normal";
    let reaches = reaches(&panel.lines, is_stacked);
    let axis = axis(panel, &reaches);
    let labels: Vec<String> = axis.iter().map(|tick| units::shown(*tick, panel.unit(), None)).collect();
    let (width, height) = panel.size;
    let plot = Plot {
        left: 16.0 + labels.iter().map(|label| svg::width(label, LABEL.size)).fold(0.0, f64::max),
        right: width - 12.0,
        bottom: height - 26.0 - ENTRY * legend_rows(panel.lines.len()) as f64,
        low: axis[0],
        high: axis[axis.len() - 1],
        seconds: panel.seconds(),
    };
    for (tick, label) in axis.iter().zip(&labels) {
        let at = plot.height(*tick);
        svg.line(GRID, "none", (plot.left, at), (plot.right, at));
        svg.text(Ink { anchor: "end", ..LABEL }, (plot.left - 6.0, at + 3.5), label);
    }
    seconds_axis(svg, (plot.left, plot.right), plot.bottom + 14.0, plot.seconds);
    // The highest is drawn last, and so is seen where lines meet.
    for (index, reach) in reaches.iter().enumerate().rev() {
        for stretch in stretches(reach) {
            let tops: Vec<Point> = stretch.iter().map(|(second, (_, to))| plot.point(*second, *to)).collect();
            if is_stacked {
                let feet = stretch.iter().rev().map(|(second, (from, _))| plot.point(*second, *from));
                svg.area(colour(index), &tops.iter().copied().chain(feet).collect::<Vec<_>>());
            }
            svg.polyline(colour(index), &tops);
        }
    }
    if custom["thresholdsStyle"]["mode"] == "line" {
        for value in panel.thresholds().filter(|value| (plot.low..=plot.high).contains(value)) {
            let at = plot.height(value);
            svg.line(panel.colour(value), "4 3", (plot.left, at), (plot.right, at));
        }
    }
    legend(svg, panel);
}

fn colour(index: usize) -> &'static str {
    COLOURS.get(index).copied().unwrap_or(OTHERS)
}

/// How far each line reaches at each second: from 0, or from the line before it when they are stacked.
fn reaches(lines: &[(&Line, f64)], is_stacked: bool) -> Vec<Vec<Option<Reach>>> {
    let seconds = lines.iter().map(|(line, _)| line.values.len()).max().unwrap_or(0);
    let mut below = vec![0.0; seconds];
    let mut reach = |line: &Line| -> Vec<Option<Reach>> {
        let values = line.values.iter().copied().zip(below.iter_mut());
        let of_value = |(value, below): (Option<f64>, &mut f64)| {
            let (from, to) = (*below, *below + value?);
            if is_stacked {
                *below = to;
            }
            Some((from, to))
        };
        values.map(of_value).collect()
    };
    lines.iter().map(|&(line, _)| reach(line)).collect()
}

/// The stretches between gaps, with the numbers of their seconds.
fn stretches(reach: &[Option<Reach>]) -> Vec<Vec<(usize, Reach)>> {
    let mut stretches = vec![Vec::new()];
    for (second, reach) in reach.iter().enumerate() {
        match (reach, stretches.last_mut()) {
            (Some(reach), Some(stretch)) => stretch.push((second, *reach)),
            _ => stretches.push(Vec::new()),
        }
    }
    stretches.retain(|stretch| !stretch.is_empty());
    stretches
}

/// The values at the axis: as far as the lines reach, or as the panel says.
fn axis(panel: &Panel<'_>, reaches: &[Vec<Option<Reach>>]) -> Vec<f64> {
    let tops = || reaches.iter().flatten().flatten().map(|(_, to)| *to);
    let low = panel.defaults()["min"].as_f64().unwrap_or_else(|| tops().fold(f64::INFINITY, f64::min));
    let high = panel.defaults()["max"].as_f64().unwrap_or_else(|| tops().fold(f64::NEG_INFINITY, f64::max));
    units::ticks(low, high, panel.unit())
}

/// How long ago it was, below a plot from `left` to `right`.
pub fn seconds_axis(svg: &mut Svg, (left, right): (f64, f64), foot: f64, seconds: usize) {
    for (third, anchor) in [(0.0, "start"), (1.0, "middle"), (2.0, "middle"), (3.0, "end")] {
        let share = third / 3.0;
        let ago = seconds as f64 * (1.0 - share);
        let label = if ago > 0.0 { format!("-{ago:.0} s") } else { "now".to_owned() };
        svg.text(Ink { anchor, ..LABEL }, (left + (right - left) * share, foot), &label);
    }
}

/// The named lines, and one entry for how many there are beside them.
fn entries(lines: usize) -> usize {
    lines.min(COLOURS.len() + 1)
}

/// In one column when there is room for it, for names are long.
fn columns(lines: usize) -> usize {
    if entries(lines) > 3 { 2 } else { 1 }
}

fn legend_rows(lines: usize) -> usize {
    entries(lines).div_ceil(columns(lines))
}

/// Name and last value of each line.
fn legend(svg: &mut Svg, panel: &Panel<'_>) {
    let (width, height) = panel.size;
    let (count, rows) = (panel.lines.len(), legend_rows(panel.lines.len()));
    let column_width = (width - 16.0) / columns(count) as f64;
    let first = height - ENTRY * rows as f64 + 4.0;
    for (index, (line, value)) in panel.lines.iter().take(entries(count)).enumerate() {
        let left = 8.0 + column_width * (index / rows) as f64;
        let foot = first + ENTRY * (index % rows) as f64;
        svg.rect(colour(index), (left, foot - 8.0), (8.0, 8.0));
        if index == COLOURS.len() {
            svg.text(LABEL, (left + 12.0, foot), &format!("+{} more", count - index));
            continue;
        }
        let last = panel.shown(*value);
        let room = column_width - svg::width(&last, LABEL.size) - 30.0;
        svg.text(Ink { room, ..LABEL }, (left + 12.0, foot), &line.name);
        let ink = Ink { anchor: "end", size: LABEL.size, ..HEADING };
        svg.text(ink, (left + column_width - 8.0, foot), &last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[Option<f64>]) -> Line {
        Line::new("a line".to_owned(), values.to_vec())
    }

    #[test]
    fn stacked_lines_stand_on_each_other() {
        let (first, second) = (line(&[Some(1.0), None, Some(3.0)]), line(&[Some(10.0), Some(20.0), None]));
        let lines = [(&first, 3.0), (&second, 20.0)];
        let of_second = |is_stacked| reaches(&lines, is_stacked)[1].clone();
        assert_eq!(of_second(true), [Some((1.0, 11.0)), Some((0.0, 20.0)), None]);
        assert_eq!(of_second(false), [Some((0.0, 10.0)), Some((0.0, 20.0)), None]);
    }

    #[test]
    fn a_gap_is_not_bridged() {
        let (one, two) = (Some((0.0, 1.0)), Some((0.0, 2.0)));
        let found = stretches(&[None, one, two, None, None, one]);
        assert_eq!(found, [vec![(1, (0.0, 1.0)), (2, (0.0, 2.0))], vec![(5, (0.0, 1.0))]]);
        assert_eq!(stretches(&[None, None]), Vec::<Vec<(usize, Reach)>>::new());
    }

    #[test]
    fn a_legend_has_room_for_what_it_names() {
        let shape = |lines| (entries(lines), columns(lines), legend_rows(lines));
        assert_eq!([1, 3, 4, 8, 9, 40].map(shape), [(1, 1, 1), (3, 1, 3), (4, 2, 2), (8, 2, 4), (9, 2, 5), (9, 2, 5)]);
    }
}
