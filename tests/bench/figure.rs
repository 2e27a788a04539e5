//! Numbers with their spread. Owns what counts as too noisy to rely on; it never drops a measurement.

use serde_json::{Value, json};

/// Measurements whose middle half spreads over more than this part of their median are called noisy.
const NOISY: f64 = 0.15;

/// One measured number: the median of its rounds, and how far their middle half spreads, as a part of the median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) value: f64,
    /// `None` if it was measured once.
    pub(crate) spread: Option<f64>,
}

impl Figure {
    /// A number that was measured once, or counted.
    pub(crate) fn once(value: f64) -> Self {
        Self { value, spread: None }
    }

    /// The median of several rounds.
    pub(crate) fn of(rounds: &[f64]) -> Self {
        let value = quantile(rounds, 0.5);
        let width = quantile(rounds, 0.75) - quantile(rounds, 0.25);
        Self { value, spread: (rounds.len() > 1 && value != 0.0).then_some((width / value).abs()) }
    }

    /// The median of what `both` makes of each round of two that were measured side by side.
    pub(crate) fn of_pairs(one: &[f64], two: &[f64], both: impl Fn(f64, f64) -> f64) -> Self {
        Self::of(&one.iter().zip(two).map(|(one, two)| both(*one, *two)).collect::<Vec<_>>())
    }

    /// Which part it is of a number that was measured once.
    pub(crate) fn part_of(self, number: f64) -> Self {
        Self { value: self.value / number, ..self }
    }

    /// Whether its rounds differ too much to be relied on.
    pub(crate) fn is_noisy(&self) -> bool {
        self.spread.is_some_and(|spread| spread > NOISY)
    }

    /// As text: three digits, the spread, and a word if that is too much.
    pub(crate) fn text(&self) -> String {
        let value = digits(self.value);
        match self.spread {
            None => value,
            Some(spread) if self.is_noisy() => format!("{value} ±{:.0}% NOISY", spread * 50.0),
            Some(spread) => format!("{value} ±{:.0}%", spread * 50.0),
        }
    }

    /// As JSON.
    pub(crate) fn json(&self) -> Value {
        json!({ "value": self.value, "spread": self.spread, "noisy": self.is_noisy() })
    }
}

/// The value below which this part of all lies; not a number if there are none.
pub(crate) fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * (sorted.len().saturating_sub(1)) as f64;
    let at = |index: f64| sorted.get(index as usize).copied().unwrap_or(f64::NAN);
    let (below, above) = (at(place.floor()), at(place.ceil()));
    below + (above - below) * place.fract()
}

fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
