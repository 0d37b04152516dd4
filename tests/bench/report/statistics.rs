//! Medians, extremes and rounding.

/// The middle value, or the mean of the two middle values.
pub fn median(values: &[f64]) -> Option<f64> {
    let sorted = sorted(values);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

pub fn least(values: &[f64]) -> Option<f64> {
    sorted(values).first().copied()
}

pub fn greatest(values: &[f64]) -> Option<f64> {
    sorted(values).last().copied()
}

/// The smallest value that is at least as great as `percent` of all.
pub fn percentile(values: &[f64], percent: usize) -> Option<f64> {
    let sorted = sorted(values);
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

/// In ascending order.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

/// Rounds to three significant digits.
pub fn figure(value: f64) -> String {
    match value.abs() {
        v if v < 0.9995 => format!("{value:.3}"),
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_extremes_are_found_in_any_order() {
        assert_eq!((least(&[2.0, 9.0, 1.0]), greatest(&[2.0, 9.0, 1.0])), (Some(1.0), Some(9.0)));
        assert_eq!(least(&[]), None);
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&values, percent)), [100.0, 198.0, 200.0].map(Some));
        assert_eq!((percentile(&[3.0], 99), percentile(&[], 99)), (Some(3.0), None));
    }

    #[test]
    fn figures_have_three_digits_that_count() {
        let shown = [0.01234, 0.9996, 9.994, 9.996, 12.34, 99.96, 1234.5].map(figure);
        assert_eq!(shown, ["0.012", "1.00", "9.99", "10.0", "12.3", "100", "1234"]);
    }
}
