//! What was measured, as a table or as lines of JSON.

use serde::Serialize;

/// One thing that was measured in every run.
pub(crate) struct Measurement {
    /// What, such as `sqlite.512.accepted`.
    pub(crate) name: String,
    /// In what: `changes/s` (more is better) or `ns` (less is).
    pub(crate) unit: &'static str,
    /// Ours, a value per run.
    pub(crate) ours: Vec<f64>,
    /// What it is compared with, a value per run.
    pub(crate) peer: Option<(&'static str, Vec<f64>)>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    unit: &'a str,
    ours: f64,
    peer: Option<&'a str>,
    peer_value: Option<f64>,
    ratio: Option<f64>,
    runs: usize,
    min: f64,
    max: f64,
}

impl Measurement {
    fn line(&self) -> Line<'_> {
        let ours = median(&self.ours);
        let peer_value = self.peer.as_ref().map(|(_, values)| median(values));
        Line {
            name: &self.name,
            unit: self.unit,
            ours: rounded(ours),
            peer: self.peer.as_ref().map(|(name, _)| *name),
            peer_value: peer_value.map(rounded),
            ratio: peer_value.map(|value| rounded(ours / value)),
            runs: self.ours.len(),
            min: rounded(self.ours.iter().copied().fold(f64::INFINITY, f64::min)),
            max: rounded(self.ours.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        }
    }
}

/// Values by name, in the order in which the names first came.
#[derive(Default)]
pub(crate) struct Values(pub(crate) Vec<(String, &'static str, Vec<f64>)>);

impl Values {
    pub(crate) fn push(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, ..)| *known == name) {
            Some((.., values)) => values.push(value),
            None => self.0.push((name, unit, vec![value])),
        }
    }

    /// Those of all runs so far.
    pub(crate) fn all(&self, name: &str) -> &[f64] {
        let found = self.0.iter().find(|(known, ..)| known == name);
        &found.expect("every run measures everything").2
    }

    /// That of the last run.
    pub(crate) fn last(&self, name: &str) -> f64 {
        *self.all(name).last().expect("pushed with a value")
    }

    /// Those of all runs, taken out.
    pub(crate) fn take(&mut self, name: &str) -> Vec<f64> {
        let place = self.0.iter().position(|(known, ..)| known == name).expect("every run measures everything");
        self.0.remove(place).2
    }
}

/// More is better.
pub(crate) const RATE: &str = "changes/s";

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + sorted[middle]) / 2.0 } else { sorted[middle] }
}

/// Two decimals below 100, none above: no more than the noise allows.
fn rounded(value: f64) -> f64 {
    if value.abs() < 100.0 { (value * 100.0).round() / 100.0 } else { value.round() }
}

/// One object per line.
pub(crate) fn json(measurements: &[Measurement]) {
    for measurement in measurements {
        println!("{}", serde_json::to_string(&measurement.line()).expect("texts and numbers have a JSON form"));
    }
}

/// One measurement per row, columns aligned.
pub(crate) fn table(measurements: &[Measurement]) {
    let header = ["name", "unit", "ours", "min", "max", "runs", "ratio", "peer's", "peer"].map(String::from);
    let mut rows = vec![header];
    for measurement in measurements {
        let line = measurement.line();
        let or_none = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| value.to_string());
        rows.push([
            line.name.into(),
            line.unit.into(),
            line.ours.to_string(),
            line.min.to_string(),
            line.max.to_string(),
            line.runs.to_string(),
            or_none(line.ratio),
            or_none(line.peer_value),
            line.peer.unwrap_or("-").into(),
        ]);
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    for row in rows {
        let is_text = |column: usize| column < 2 || column + 1 == widths.len();
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if is_text(column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_nine_fields_and_the_peers_are_null_without_one() {
        let mut measurement = Measurement { name: "a".into(), unit: "ns", ours: vec![4.0, 1.0, 2.0], peer: None };
        let alone = r#"{"name":"a","unit":"ns","ours":2.0,"peer":null,"peer_value":null,"ratio":null,"runs":3,"min":1.0,"max":4.0}"#;
        assert_eq!(serde_json::to_string(&measurement.line()).unwrap(), alone);
        measurement.peer = Some(("other", vec![8.0, 2.0]));
        let line = measurement.line();
        assert_eq!((line.peer_value, line.ratio), (Some(5.0), Some(0.4)));
    }
}
