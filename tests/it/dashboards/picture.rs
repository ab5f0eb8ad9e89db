//! A dashboard as one SVG, from its JSON and from what its queries found: for those who have no Grafana at hand. There is no
//! script in it and no request, so it is readable in any browser and on paper.

mod graph;
mod kinds;
mod svg;
mod units;

use std::collections::BTreeMap;

use serde_json::Value;

use svg::{HEADING, Ink, LABEL, Point, Svg};

/// A column and a row of the grid that panels stand in.
const CELL: Point = (50.0, 34.0);

const COLUMNS: f64 = 24.0;

/// Room above the grid for the name of the dashboard.
const HEAD: f64 = 54.0;

/// Between a panel and the end of its cells.
const GAP: f64 = 4.0;

/// Where the content of a panel begins, below its title.
const TOP: f64 = 32.0;

/// What a query found: a name, and a value for each second where there is one.
#[derive(Clone, Debug)]
pub struct Line {
    name: String,
    values: Vec<Option<f64>>,
}

impl Line {
    /// What is no number (0/0, a percentile beyond all buckets) is nowhere in a picture.
    pub fn new(name: String, values: Vec<Option<f64>>) -> Self {
        Self { name, values: values.into_iter().map(|value| value.filter(|value| value.is_finite())).collect() }
    }

    fn now(&self) -> Option<f64> {
        self.values.last().copied().flatten()
    }

    /// Now, or when there last was something.
    fn last(&self) -> Option<f64> {
        self.values.iter().rev().find_map(|value| *value)
    }
}

/// A dashboard with what was found for its panels, by their ids; `note` says what it is about.
pub fn draw(board: &Value, note: &str, found: &BTreeMap<u64, Vec<Line>>) -> String {
    let panels = board["panels"].as_array().expect("panels");
    let bottom = panels.iter().map(place).map(|((_, top), (_, height))| top + height).fold(HEAD, f64::max);
    let mut svg = Svg::new((COLUMNS * CELL.0, bottom + 2.0 * GAP));
    svg.text(Ink { size: 18.0, ..HEADING }, (12.0, 26.0), text(board, "title"));
    svg.text(LABEL, (12.0, 44.0), note);
    for panel in panels {
        let ((left, top), size) = place(panel);
        if panel["type"] == "row" {
            svg.text(Ink { size: 14.0, ..HEADING }, (left + 8.0, top + 18.0), text(panel, "title"));
            continue;
        }
        let lines = panel["id"].as_u64().and_then(|id| found.get(&id)).map(Vec::as_slice).unwrap_or_default();
        svg.field((left, top), size, |svg| Panel::new(panel, lines, size).draw(svg));
    }
    svg.end()
}

/// Where a panel stands, and how large it is.
fn place(panel: &Value) -> (Point, Point) {
    let cells = |name: &str| panel["gridPos"][name].as_f64().expect("a number of cells");
    let corner = (cells("x") * CELL.0 + GAP, HEAD + cells("y") * CELL.1 + GAP);
    (corner, (cells("w") * CELL.0 - 2.0 * GAP, cells("h") * CELL.1 - 2.0 * GAP))
}

/// A member that is a text, or none.
fn text<'a>(json: &'a Value, member: &str) -> &'a str {
    json[member].as_str().unwrap_or_default()
}

/// A panel and what it shows.
struct Panel<'a> {
    json: &'a Value,
    /// Those that have a value, with the one that counts; the highest first.
    lines: Vec<(&'a Line, f64)>,
    size: Point,
}

impl<'a> Panel<'a> {
    fn new(json: &'a Value, lines: &'a [Line], size: Point) -> Self {
        // These say what is, the others also what was.
        let is_of_now = ["stat", "bargauge", "table"].contains(&text(json, "type"));
        let value = |line: &Line| if is_of_now { line.now() } else { line.last() };
        let mut lines: Vec<(&Line, f64)> = lines.iter().filter_map(|line| Some((line, value(line)?))).collect();
        lines.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        Self { json, lines, size }
    }

    fn draw(&self, svg: &mut Svg) {
        let (width, height) = self.size;
        svg.text(Ink { room: width - 16.0, ..HEADING }, (8.0, 19.0), text(self.json, "title"));
        let mut say = |what: &str| {
            let ink = Ink { anchor: "middle", size: 13.0, colour: "#9aa3ad", ..LABEL };
            svg.text(ink, (width / 2.0, height / 2.0 + 10.0), what);
        };
        match text(self.json, "type") {
            _ if self.lines.is_empty() => say("nothing"),
            "timeseries" => graph::draw(svg, self),
            "stat" => kinds::stat(svg, self),
            "bargauge" => kinds::bars(svg, self),
            "table" => kinds::table(svg, self),
            "state-timeline" => kinds::states(svg, self),
            other => say(&format!("no picture of a {other}")),
        }
    }

    fn defaults(&self) -> &'a Value {
        &self.json["fieldConfig"]["defaults"]
    }

    fn unit(&self) -> &'a str {
        text(self.defaults(), "unit")
    }

    /// How long the time is that is shown.
    fn seconds(&self) -> usize {
        let values = self.lines.iter().map(|(line, _)| line.values.len()).max().unwrap_or(0);
        values.saturating_sub(1)
    }

    /// The name and the colour that the panel has for one value.
    fn mapping(&self, value: f64) -> &'a Value {
        &self.defaults()["mappings"][0]["options"][value.to_string()]
    }

    /// A value as the panel writes it.
    fn shown(&self, value: f64) -> String {
        let decimals = self.defaults()["decimals"].as_u64().and_then(|number| usize::try_from(number).ok());
        let name = self.mapping(value)["text"].as_str();
        name.map_or_else(|| units::shown(value, self.unit(), decimals), str::to_owned)
    }

    fn steps(&self) -> impl DoubleEndedIterator<Item = &'a Value> {
        self.defaults()["thresholds"]["steps"].as_array().into_iter().flatten()
    }

    /// The values from which on it looks worse.
    fn thresholds(&self) -> impl Iterator<Item = f64> {
        self.steps().filter_map(|step| step["value"].as_f64())
    }

    /// The colour of a value: of its name, else of the last threshold that it reaches.
    fn colour(&self, value: f64) -> &'static str {
        let reached = self.steps().rev().find(|step| step["value"].as_f64().is_none_or(|least| value >= least));
        let named = self.mapping(value)["color"].as_str().or_else(|| reached?["color"].as_str());
        match named {
            Some("green") => "#1a7f37",
            Some("orange") => "#bc6200",
            Some("red") => "#c4162a",
            _ => HEADING.colour,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn panel(kind: &str, defaults: &Value) -> Value {
        json!({"id": 1, "type": kind, "title": "A < B", "gridPos": {"x": 12, "y": 1, "w": 12, "h": 8},
            "fieldConfig": {"defaults": defaults}})
    }

    fn drawn(panel: &Value, lines: Vec<Line>) -> String {
        let row = json!({"id": 2, "type": "row", "title": "Row", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}});
        let svg = draw(&json!({"title": "T & Co", "panels": [row, panel]}), "note", &BTreeMap::from([(1, lines)]));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<svg ").count(), svg.matches("</svg>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("script"), "{svg}");
        svg
    }

    fn line(name: &str, values: &[f64]) -> Line {
        Line::new(name.to_owned(), values.iter().copied().map(Some).collect())
    }

    #[test]
    fn panels_stand_where_the_grid_says() {
        let svg = drawn(&panel("timeseries", &json!({"unit": "ops"})), Vec::new());
        assert!(svg.contains("viewBox=\"0 0 1200 364\""), "{svg}");
        assert!(svg.contains("<svg x=\"604\" y=\"92\" width=\"592\" height=\"264\">"), "{svg}");
        for text in [">T &amp; Co<", ">note<", ">Row<", ">A &lt; B<", ">nothing<"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
    }

    #[test]
    fn lines_have_names_and_last_values_the_highest_first() {
        let lines = (0..10_u8).map(|n| line(&format!("line {n}"), &[3.0, f64::NAN, f64::from(n)])).collect();
        let svg = drawn(&panel("timeseries", &json!({"unit": "ops", "min": 0})), lines);
        for text in [">line 9<", ">9 ops/s<", ">line 2<", ">+2 more<", ">-2 s<", ">now<", ">0 ops/s<", ">10 ops/s<"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(!svg.contains(">line 1<"), "{svg}");
        // Each has a gap.
        assert_eq!(svg.matches("<polyline").count(), 20);
    }

    #[test]
    fn single_values_are_of_now_and_have_the_names_and_colours_of_the_panel() {
        let defaults = json!({"unit": "s", "mappings": [{"options": {"0": {"text": "CLOSED", "color": "red"}}}],
            "thresholds": {"steps": [{"color": "green", "value": null}, {"color": "orange", "value": 0.5}]}});
        let gone = Line::new("gone".to_owned(), vec![Some(7.0), None]);
        let svg = drawn(&panel("stat", &defaults), vec![line("a", &[9.0, 0.0]), line("b", &[0.0, 0.25]), gone]);
        for text in ["#c4162a\">CLOSED<", "#1a7f37\">250 ms<", ">a<", ">b<"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(!svg.contains("gone"), "{svg}");
        let json = panel("stat", &defaults);
        assert_eq!(Panel::new(&json, &[], (1.0, 1.0)).colour(0.5), "#bc6200");
    }

    #[test]
    fn bars_tables_and_states_show_what_was_found() {
        let lines = || vec![line("a", &[1.0, 2.0]), line("b", &[2.0, 4.0])];
        let svg = drawn(&panel("bargauge", &json!({"unit": "short"})), lines());
        assert!(svg.contains(">a<") && svg.contains(">4<"), "{svg}");
        let many: Vec<Line> = (0..40_u8).map(|n| line(&format!("row {n}"), &[1.0])).collect();
        let svg = drawn(&panel("table", &json!({"unit": "none"})), many);
        assert!(svg.contains(">row 0<") && svg.contains(" more<") && !svg.contains(">row 39<"), "{svg}");
        let svg = drawn(&panel("state-timeline", &json!({"unit": "none"})), lines());
        assert!(svg.contains(">a<") && svg.contains(">now<") && svg.contains(">4<"), "{svg}");
        assert!(drawn(&panel("piechart", &json!({})), lines()).contains("no picture of a piechart"));
    }
}
