//! Plots as inline SVG: no script, no request, readable in any browser and on paper.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
/// Half of a step's name.
const RIGHT: f64 = 40.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 40.0;

/// Horizontal lines, 0 not counted.
const GRID: u32 = 4;

/// Of the lines; told apart by most people, on paper by their order in the legend.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#555555"];

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// One value per step.
    pub values: Vec<f64>,
}

/// A plot over the steps.
#[derive(Clone, Debug)]
pub struct Plot<'a> {
    /// What it shows, with the unit.
    pub title: &'a str,
    /// Names of the steps.
    pub steps: &'a [String],
    /// At most as many as there are colours.
    pub lines: Vec<Line<'a>>,
    /// The step that is marked.
    pub mark: Option<usize>,
}

impl Plot<'_> {
    /// As an `svg` element.
    pub fn render(&self) -> String {
        let highest = self.lines.iter().flat_map(|line| &line.values).copied().fold(0.0, f64::max);
        let top = round_up(highest);
        let x = |index: usize| {
            let gaps = self.steps.len().max(2) - 1;
            LEFT + (WIDTH - LEFT - RIGHT) * index as f64 / gaps as f64
        };
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{0}\"><text class=\"title\" x=\"{LEFT}\" \
             y=\"18\">{0}</text>\n",
            escape(self.title)
        );
        for number in 0..=GRID {
            let value = top * f64::from(number) / f64::from(GRID);
            let (at, label) = (y(value), short(value));
            line(&mut svg, "grid", (LEFT, at), (WIDTH - RIGHT, at));
            text(&mut svg, "end", (LEFT - 6.0, at + 4.0), &label);
        }
        for (index, step) in self.steps.iter().enumerate() {
            text(&mut svg, "middle", (x(index), HEIGHT - BOTTOM + 18.0), step);
        }
        if let Some(mark) = self.mark {
            line(&mut svg, "mark", (x(mark), TOP), (x(mark), HEIGHT - BOTTOM));
        }
        let mut legend = LEFT;
        for (Line { name, values }, colour) in self.lines.iter().zip(COLOURS) {
            let points: Vec<(f64, f64)> =
                values.iter().enumerate().map(|(index, value)| (x(index), y(*value))).collect();
            let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(svg, "<polyline points=\"{}\" stroke=\"{colour}\"/>", path.join(" "));
            for ((x, y), value) in points.iter().zip(values) {
                let tip = format!("{}: {}", escape(name), short(*value));
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"><title>{tip}</title></circle>"
                );
            }
            let _ = writeln!(svg, "<rect x=\"{legend:.0}\" y=\"27\" width=\"10\" height=\"10\" fill=\"{colour}\"/>");
            text(&mut svg, "start", (legend + 14.0, 36.0), name);
            legend += 34.0 + 7.0 * name.chars().count() as f64;
        }
        svg + "</svg>\n"
    }
}

fn line(svg: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let _ = writeln!(svg, "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>");
}

fn text(svg: &mut String, anchor: &str, (x, y): (f64, f64), text: &str) {
    let text = escape(text);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

/// The next of 1, 2, 4 or 5 times a power of ten: an axis with round numbers on it.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let factors = [1.0, 2.0, 4.0, 5.0, 10.0];
    // Rounding errors of the logarithm must not take an axis that is too short.
    factors.iter().map(|factor| factor * power).find(|top| *top >= value).unwrap_or(10.0 * power)
}

/// As many digits as mean something.
fn short(value: f64) -> String {
    match value {
        _ if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Text for HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let near = |value: f64, expected: f64| assert!((round_up(value) - expected).abs() < 1e-9, "{value}");
        near(0.0, 1.0);
        near(1.0, 1.0);
        near(1_000.0, 1_000.0);
        near(3_900.0, 4_000.0);
        near(0.031, 0.04);
        near(6.0, 10.0);
        near(4.2, 5.0);
    }

    #[test]
    fn the_highest_value_is_at_the_top_and_nothing_outside() {
        let steps = ["8".to_owned(), "16".to_owned(), "32".to_owned()];
        let lines =
            vec![Line { name: "a & b", values: vec![0.0, 2.0, 4.0] }, Line { name: "c", values: vec![1.0, 1.0, 1.0] }];
        let svg = Plot { title: "Orders/s", steps: &steps, lines, mark: Some(1) }.render();
        assert!(svg.contains("points=\"64.0,260.0 372.0,154.0 680.0,48.0\""), "{svg}");
        assert_eq!([svg.matches("<polyline").count(), svg.matches("<circle").count()], [2, 6]);
        assert!(svg.contains("a &amp; b") && !svg.contains("a & b") && svg.contains("class=\"mark\" x1=\"372.0\""));
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn one_step_alone_is_a_plot_too() {
        let steps = ["8".to_owned()];
        let lines = vec![Line { name: "a", values: vec![0.0] }];
        let svg = Plot { title: "t", steps: &steps, lines, mark: None }.render();
        assert!(svg.contains("points=\"64.0,260.0\"") && !svg.contains("NaN"), "{svg}");
    }
}
