//! `rehearsal.html`: one file, no script, no request to anybody.

use std::fmt::Write as _;

use super::knee::{Bounds, Finding, sentence, spoiled_by_others};
use super::step::Step;
use super::svg::{Line, Plot, escape};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:760px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}
td,th{padding:.25em .6em;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
svg{width:100%;height:auto;margin:1em 0;font:12px system-ui,sans-serif}
svg .title{font-weight:bold;font-size:14px} svg polyline{fill:none;stroke-width:2}
svg .grid{stroke:#ddd} svg .mark{stroke:#222;stroke-dasharray:4 4}
.knee{background:#f3f3e0}";

/// Heads of the table, and what stands below them.
type Column = (&'static str, fn(&Step) -> String);

const COLUMNS: [Column; 16] = [
    ("users", |step| step.users.to_string()),
    ("orders/s", |step| format!("{:.0}", step.accepted_per_s)),
    ("p50 ms", |step| format!("{:.1}", step.p50_ms)),
    ("p95 ms", |step| format!("{:.1}", step.p95_ms)),
    ("p99 ms", |step| format!("{:.1}", step.p99_ms)),
    ("503, 504", |step| step.unavailable.to_string()),
    ("ops per batch", |step| format!("{:.1}", step.batch_mean)),
    ("queue", |step| format!("{:.0}", step.queue_ops_max)),
    ("writer lag s", |step| format!("{:.2}", step.writer_lag_s_max)),
    ("forwarder lag s", |step| format!("{:.2}", step.forward_lag_s_max)),
    ("goose", |step| format!("{:.2}", step.cores.goose)),
    ("service", |step| format!("{:.2}", step.cores.service)),
    ("Redis", |step| format!("{:.2}", step.cores.redis)),
    ("PostgreSQL", |step| format!("{:.2}", step.cores.postgres)),
    ("others", |step| format!("{:.2}", step.cores.others())),
    ("machine", |step| format!("{:.2}", step.cores.machine)),
];

/// The whole page.
pub fn render(steps: &[Step], finding: &Finding, bounds: &Bounds, seconds_per_step: u64) -> String {
    let summary = escape(&sentence(steps, finding));
    let names: Vec<String> = steps.iter().map(|step| format!("{} users", step.users)).collect();
    let plots: String = plots(steps, &names, finding.knee).iter().map(Plot::render).collect();
    let spoiled = spoiled_by_others(steps, finding, bounds).map_or_else(String::new, |others| {
        paragraph(&format!(
            "<strong>Others on this machine took {others:.2} cores meanwhile: the figures mean little. Do it again
             when it is idle.</strong>"
        ))
    });
    let Bounds { p99_ms, lag_s, cores } = bounds;
    let how = paragraph(&format!(
        "Every user orders one unit of one hot product, and the next one as soon as the last one is answered. Each
         step takes {seconds_per_step} s; CPU, rates, queue and lags leave out its first second. A step is sustained
         when nobody was answered 503 or 504, p99 is at most {p99_ms} ms, and neither PostgreSQL nor the data platform
         was more than {lag_s} s behind. The dashed line is the step with the fewest users that gives (nearly) the
         best throughput that is sustained: more users only wait longer."
    ));
    let goose = paragraph(&format!(
        "<strong>Goose shares the {cores} cores of this machine with the shop.</strong> It is the line “goose” below;
         what it takes, the shop does not have. With the users on other machines the shop sustains more."
    ));
    let columns = paragraph(
        "Columns from “goose” on are cores in use. “service” is <code>flashsale dev</code>, with all roles and the
         payment gateway that it plays; “machine” is everybody, “others” is who has no business here. Queue and lags
         are the highest that were seen, four looks a second.",
    );
    let table = table(steps, finding.knee);
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>flashsale: rehearsal</title>\n\
         <style>{STYLE}</style>\n<h1>Rehearsal</h1>\n<p><strong>In short: {summary}.</strong></p>\n\
         {spoiled}{how}{goose}{plots}{table}\n{columns}</html>\n"
    )
}

fn paragraph(text: &str) -> String {
    format!("<p>{text}</p>\n")
}

fn plots<'a>(steps: &[Step], names: &'a [String], mark: Option<usize>) -> [Plot<'a>; 4] {
    let line = |name, value: fn(&Step) -> f64| Line { name, values: steps.iter().map(value).collect() };
    let plot = |title, lines| Plot { title, steps: names, lines, mark };
    [
        plot("Accepted orders per second", vec![line("orders/s", |step| step.accepted_per_s)]),
        plot("Latency, ms", vec![line("p50", |step| step.p50_ms), line("p99", |step| step.p99_ms)]),
        plot(
            "CPU, cores in use",
            vec![
                line("goose", |step| step.cores.goose),
                line("service", |step| step.cores.service),
                line("Redis", |step| step.cores.redis),
                line("PostgreSQL", |step| step.cores.postgres),
                line("platform", |step| step.cores.platform),
                line("machine", |step| step.cores.machine),
            ],
        ),
        plot(
            "Lag, s",
            vec![line("writer", |step| step.writer_lag_s_max), line("forwarder", |step| step.forward_lag_s_max)],
        ),
    ]
}

fn table(steps: &[Step], knee: Option<usize>) -> String {
    let mut table = "<table>\n<tr>".to_owned();
    for (head, _) in COLUMNS {
        let _ = write!(table, "<th>{head}</th>");
    }
    table.push_str("</tr>\n");
    for (index, step) in steps.iter().enumerate() {
        table.push_str(if knee == Some(index) { "<tr class=\"knee\">" } else { "<tr>" });
        for (_, cell) in COLUMNS {
            let _ = write!(table, "<td>{}</td>", cell(step));
        }
        table.push_str("</tr>\n");
    }
    table + "</table>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rehearsal::knee::find;
    use crate::rehearsal::processes::Cores;

    #[test]
    fn the_page_needs_nobody_else() {
        let cores = Cores { machine: 1.95, goose: 0.9, ..Cores::default() };
        let step = |users, accepted_per_s| Step { users, accepted_per_s, p99_ms: 12.5, cores, ..Step::default() };
        let steps = [step(8, 1_000.0), step(16, 1_500.0), step(32, 1_510.0)];
        let bounds = Bounds { p99_ms: 500.0, lag_s: 2.0, cores: 2 };
        let page = render(&steps, &find(&steps, &bounds), &bounds, 10);
        assert_eq!(["<svg", "</svg>", "<tr", "class=\"knee\""].map(|part| page.matches(part).count()), [4, 4, 4, 1]);
        assert!(page.contains("sustains 1500 accepted orders/s with p99 12.5 ms (16 users)"));
        assert!(!page.contains("<script") && !page.contains("http") && !page.contains("NaN"), "{page}");
    }
}
