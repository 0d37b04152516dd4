//! Percentiles. Pure.

/// The smallest value that at least `percent` of the values don't exceed (nearest rank).
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

/// `p50 21.0 ms, p99 40.0 ms, most 45.0 ms (50 moves)`.
pub fn spread(values: &[f64], what: &str) -> Option<String> {
    let [half, most, all] = [50.0, 99.0, 100.0].map(|percent| percentile(values, percent));
    let count = values.len();
    Some(format!("p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms ({count} {what})", half?, most?, all?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let fifty: Vec<f64> = (1..=50).rev().map(f64::from).collect();
        let at = |percent| percentile(&fifty, percent).unwrap();
        assert_eq!((at(0.0), at(50.0), at(98.0), at(99.0), at(100.0)), (1.0, 25.0, 49.0, 50.0, 50.0));
        assert_eq!(percentile(&[7.0], 50.0), Some(7.0));
        assert_eq!(percentile(&[], 50.0), None);
    }

    #[test]
    fn a_spread_has_its_count_and_needs_a_value() {
        assert_eq!(spread(&[3.0, 1.0], "moves").unwrap(), "p50 1.0 ms, p99 3.0 ms, most 3.0 ms (2 moves)");
        assert_eq!(spread(&[], "moves"), None);
    }
}
