//! What an expression of `PromQL` is about.

use promql_parser::label::MatchOp;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};
use promql_parser::util::{ExprVisitor, walk_expr};

/// `metric{label="value"}` in an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    pub metric: String,
    pub matchers: Vec<Matcher>,
}

/// `label="value"` in a selector.
#[derive(Clone, Debug, PartialEq)]
pub struct Matcher {
    pub label: String,
    /// `=`, `!=`, `=~` or `!~`.
    pub op: &'static str,
    pub value: String,
}

impl Matcher {
    /// The values that it names one by one, so that each of them should occur; none for `5..`, `.+` and what it excludes.
    pub fn named_values(&self) -> Vec<&str> {
        let is_plain = |value: &&str| value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_ /-".contains(&b));
        match self.op {
            "=" => vec![self.value.as_str()],
            "=~" if self.value.split('|').all(|value| is_plain(&value)) => self.value.split('|').collect(),
            _ => Vec::new(),
        }
    }
}

/// Labels that an expression groups or joins by, and the metrics that must have them.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    pub labels: Vec<String>,
    pub metrics: Vec<String>,
}

/// Every selector in an expression, and every grouping. An error when it is no `PromQL`.
pub fn analyse(expr: &str) -> Result<(Vec<Selector>, Vec<Grouping>), String> {
    let parsed = parser::parse(expr)?;
    let mut groupings = Groupings::default();
    walk_expr(&mut groupings, &parsed)?;
    Ok((selectors(&parsed), groupings.0))
}

fn selectors(expr: &Expr) -> Vec<Selector> {
    let mut found = Selectors::default();
    walk_expr(&mut found, expr).expect("it never fails");
    found.0
}

#[derive(Default)]
struct Selectors(Vec<Selector>);

impl ExprVisitor for Selectors {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        match expr {
            Expr::VectorSelector(selector) => self.0.push(selector_of(selector)),
            Expr::MatrixSelector(matrix) => self.0.push(selector_of(&matrix.vs)),
            _ => {}
        }
        Ok(true)
    }
}

fn selector_of(selector: &VectorSelector) -> Selector {
    let matchers = selector.matchers.matchers.iter().map(|matcher| {
        let op = match matcher.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Re(_) => "=~",
            MatchOp::NotRe(_) => "!~",
        };
        Matcher { label: matcher.name.clone(), op, value: matcher.value.clone() }
    });
    Selector { metric: selector.name.clone().unwrap_or_default(), matchers: matchers.collect() }
}

#[derive(Default)]
struct Groupings(Vec<Grouping>);

impl ExprVisitor for Groupings {
    type Error = String;

    fn pre_visit(&mut self, expr: &Expr) -> Result<bool, String> {
        let modifier = match expr {
            Expr::Aggregate(aggregate) => aggregate.modifier.as_ref(),
            Expr::Binary(binary) => binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref()),
            _ => None,
        };
        if let Some(LabelModifier::Include(labels) | LabelModifier::Exclude(labels)) = modifier {
            let metrics = selectors(expr).into_iter().map(|selector| selector.metric).collect();
            self.0.push(Grouping { labels: labels.labels.clone(), metrics });
        }
        Ok(true)
    }
}

#[test]
fn selectors_and_groupings_are_found_wherever_they_stand() {
    let expr = "topk(3, sum by (a, le) (rate(m_bucket{x=\"1\",y=~\"p|q\",z!~\"5..\"}[5m]))) / on (b) group_left () (n offset 1h) > 2 or absent(o)";
    let (selectors, groupings) = analyse(expr).expect("PromQL");
    let metrics: Vec<&str> = selectors.iter().map(|selector| selector.metric.as_str()).collect();
    assert_eq!(metrics, ["m_bucket", "n", "o"]);
    let values: Vec<Vec<&str>> = selectors[0].matchers.iter().map(Matcher::named_values).collect();
    assert_eq!(values, [vec!["1"], vec!["p", "q"], vec![]]);
    let by: Vec<(Vec<String>, Vec<String>)> = groupings.into_iter().map(|g| (g.labels, g.metrics)).collect();
    let texts = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
    assert!(by.contains(&(texts(&["a", "le"]), texts(&["m_bucket"]))), "{by:?}");
    assert!(by.contains(&(texts(&["b"]), texts(&["m_bucket", "n"]))), "{by:?}");
    assert!(analyse("sum by (a (b)").is_err());
}
