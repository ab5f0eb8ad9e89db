//! Elements of an SVG, written one after the other.

use std::fmt::Write as _;

/// Right and down, in pixels; or a width and a height.
pub type Point = (f64, f64);

/// How wide a letter of size 1 is, a little more than on average: by it, texts are cut to the room that they have.
const LETTER: f64 = 0.56;

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Ink {
    /// Which part of it stands where it is put: `start`, `middle` or `end`.
    pub anchor: &'static str,
    pub weight: &'static str,
    pub size: f64,
    pub colour: &'static str,
    /// A longer text is cut.
    pub room: f64,
}

pub const LABEL: Ink = Ink { anchor: "start", weight: "normal", size: 10.0, colour: "#4b535d", room: f64::INFINITY };

pub const HEADING: Ink = Ink { weight: "bold", size: 12.0, colour: "#1f2328", ..LABEL };

/// A picture that is being drawn.
#[derive(Debug)]
pub struct Svg(String);

impl Svg {
    pub fn new((width, height): Point) -> Self {
        Self(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"#eceff2\"/>\n"
        ))
    }

    /// All of it.
    pub fn end(self) -> String {
        self.0 + "</svg>\n"
    }

    /// A white field with coordinates of its own; nothing that is drawn in it leaves it.
    pub fn field(&mut self, (x, y): Point, (width, height): Point, draw: impl FnOnce(&mut Self)) {
        let _ = writeln!(
            self.0,
            "<svg x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\"><rect width=\"100%\" height=\"100%\" rx=\"3\" \
             fill=\"#ffffff\"/>"
        );
        draw(self);
        self.0.push_str("</svg>\n");
    }

    pub fn text(&mut self, ink: Ink, (x, y): Point, text: &str) {
        let Ink { anchor, weight, size, colour, room } = ink;
        let text = escape(&cut(text, room, size));
        let _ = writeln!(
            self.0,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size:.1}\" font-weight=\"{weight}\" \
             fill=\"{colour}\">{text}</text>"
        );
    }

    pub fn rect(&mut self, colour: &str, (x, y): Point, (width, height): Point) {
        let _ = writeln!(
            self.0,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
        );
    }

    /// A thin line; `dashes` as in `stroke-dasharray`.
    pub fn line(&mut self, colour: &str, dashes: &str, (x1, y1): Point, (x2, y2): Point) {
        let _ = writeln!(
            self.0,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
             stroke-dasharray=\"{dashes}\"/>"
        );
    }

    /// A line through points; of one alone, a dot.
    pub fn polyline(&mut self, colour: &str, points: &[Point]) {
        let mut path = path(points);
        if points.len() == 1 {
            // It has no length, but round ends.
            path = format!("{path} {path}");
        }
        let _ = writeln!(
            self.0,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" \
             stroke-linejoin=\"round\" stroke-linecap=\"round\"/>"
        );
    }

    /// What points enclose, see-through.
    pub fn area(&mut self, colour: &str, points: &[Point]) {
        let path = path(points);
        let _ = writeln!(self.0, "<polygon points=\"{path}\" fill=\"{colour}\" fill-opacity=\"0.3\"/>");
    }
}

fn path(points: &[Point]) -> String {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    points.join(" ")
}

/// How wide a text is, about.
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * LETTER
}

/// As much of a text as there is room for.
fn cut(text: &str, room: f64, size: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let letters = room / (size * LETTER);
    let kept = text.chars().enumerate().take_while(|(index, _)| *index as f64 + 2.0 <= letters);
    let kept: String = kept.map(|(_, letter)| letter).collect();
    format!("{}…", kept.trim_end())
}

/// A text for XML, also within an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // XML has no way to write most of them.
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[test]
fn texts_are_escaped() {
    assert_eq!(escape("<a b=\"c\" d='e'> & ü"), "&lt;a b=&quot;c&quot; d=&apos;e&apos;&gt; &amp; ü");
    assert_eq!(escape("a\0b\nc"), "a b c");
    let mut svg = Svg::new((10.0, 20.0));
    svg.text(LABEL, (1.0, 2.0), "a < b");
    assert!(svg.end().contains(">a &lt; b</text>"));
}

#[test]
fn long_texts_are_cut() {
    let room = width("12345678", 10.0);
    assert_eq!(cut("12345678", room, 10.0), "12345678");
    // What is cut is counted before it is escaped.
    assert_eq!(cut("&&&&&&&&&", room + 0.1, 10.0), "&&&&&&&…");
    assert_eq!(cut("123 56789", width("12345", 10.0) + 0.1, 10.0), "123…");
    assert_eq!(cut("any", 0.0, 10.0), "…");
}

#[test]
fn a_point_alone_is_drawn() {
    let mut svg = Svg::new((10.0, 20.0));
    svg.polyline("#000000", &[(1.0, 2.0)]);
    assert!(svg.end().contains("points=\"1.0,2.0 1.0,2.0\""));
}
